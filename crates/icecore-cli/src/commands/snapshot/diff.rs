//! `icecore snapshot diff`.

use std::io::Write;

use icecore::Result;
use icecore::repository::Repository;
use icecore::snapshot::ChangedRange;
use icecore::snapshot::DiffTotals;
use icecore::snapshot::Snapshot;
use serde::Serialize;

use crate::app::App;
use crate::exit;
use crate::exit::Verdict;
use crate::json;
use crate::ui::Out;
use crate::ui::failed;
use crate::units;

/// Show which bytes differ between two snapshots
///
/// Shows each range that differs, in steps of 4 KiB: its start, its length, and what the second
/// snapshot has there: different data, zeros (zero), or nothing because it is shorter (gone). Then
/// shows the totals.
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// The first snapshot: an id, a unique prefix of an id, a name, or RESOURCE@latest
    #[arg(value_name = "A")]
    from: String,
    /// The second snapshot
    #[arg(value_name = "B")]
    to: String,
    /// Show only the totals
    #[arg(long)]
    summary: bool,
}

impl DiffArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        let from = icecore::snapshot::find(&repo, &self.from)?;
        let to = icecore::snapshot::find(&repo, &self.to)?;
        let mut out = Out::new();
        let done = if app.ui.is_json() {
            self.write_json(app, &mut out, &repo, (&from, &to))
        } else {
            self.write_text(&mut out, &repo, (&from, &to)).map(|()| Verdict::Clean)
        };
        done.or_else(|error| out.unless_closed(error).map(|()| Verdict::Clean))
    }

    fn write_text(&self, out: &mut Out, repo: &Repository, (from, to): (&Snapshot, &Snapshot)) -> Result<()> {
        if !self.summary {
            out.line(&format!("{:>20}   {:>20}   Change", "Offset", "Bytes")).map_err(failed)?;
        }
        let totals = icecore::snapshot::diff(repo, from.id, to.id, &mut |range: ChangedRange| {
            let change = json::change_name(range.change);
            let line = format!("{:>20}   {:>20}   {change}", range.offset, range.bytes);
            if self.summary { Ok(()) } else { out.line(&line).map_err(failed) }
        })?;
        out.line(&sums(&totals)).and_then(|()| out.flush()).map_err(failed)
    }

    /// Writes the ranges as they come. An error after the first of them follows the result so far,
    /// so that the output is always JSON.
    fn write_json(
        &self,
        app: &App,
        out: &mut Out,
        repo: &Repository,
        (from, to): (&Snapshot, &Snapshot),
    ) -> Result<Verdict> {
        let head = [
            format!("{{\"icecore\":{},\"command\":{}", json::SCHEMA, text(&app.ui.command)?),
            format!(",\"result\":{{\"from\":{}", text(&json::Snapshot::from(from))?),
            format!(",\"to\":{},\"ranges\":[", text(&json::Snapshot::from(to))?),
        ];
        out.write_all(head.concat().as_bytes()).map_err(failed)?;
        let mut comma = "";
        let totals = icecore::snapshot::diff(repo, from.id, to.id, &mut |range: ChangedRange| {
            if self.summary {
                return Ok(());
            }
            let range = text(&json::ChangedRange::from(range))?;
            write!(out, "{comma}{range}").map_err(failed)?;
            comma = ",";
            Ok(())
        });
        match totals {
            Ok(totals) => {
                let totals = text(&json::DiffTotals::from(totals))?;
                writeln!(out, "],\"totals\":{totals}}}}}").and_then(|()| out.flush()).map_err(failed)?;
                Ok(Verdict::Clean)
            }
            Err(error) => {
                let body = text(&json::ErrorBody::new(&error))?;
                writeln!(out, "],\"totals\":null}},\"error\":{body}}}")
                    .and_then(|()| out.flush())
                    .map_err(failed)?;
                Ok(Verdict::Told(exit::exit_code(error.kind())))
            }
        }
    }
}

fn text<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| failed(error.into()))
}

fn sums(totals: &DiffTotals) -> String {
    if totals.ranges == 0 {
        return "the images are equal".into();
    }
    format!(
        "{}: {} of different data, {} became zero, {} gone",
        units::count(totals.ranges, "range"),
        units::bytes(totals.data_bytes),
        units::bytes(totals.zero_bytes),
        units::bytes(totals.gone_bytes),
    )
}
