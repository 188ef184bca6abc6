//! `icecore gc`.

use std::time::Duration;

use icecore::Result;
use icecore::maintenance::gc::GcOptions;
use icecore::maintenance::gc::GcTotals;

use crate::app::App;
use crate::commands::if_interrupted;
use crate::exit::Verdict;
use crate::json;
use crate::ui;
use crate::units;

/// Free the space that no snapshot needs
///
/// Deletes nothing if data that a snapshot needs is missing. Once it has freed space, deleted
/// snapshots can no longer be restored.
#[derive(Debug, clap::Args)]
pub(crate) struct GcArgs {
    /// Change nothing, only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// How much of the packs may stay unused, because rewriting them costs more than it frees
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = units::parse_percent)]
    max_unused: f64,
    /// Rewrite all packs of a sealed repository that were sealed before the last `icecore key rotate`
    #[arg(long)]
    reseal: bool,
    /// How long to keep packs that nothing needs in a bucket, where other machines may be reading them, or have just
    /// written them
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_grace)]
    grace: Duration,
}

/// Parses a duration, which may be none.
fn parse_grace(text: &str) -> std::result::Result<Duration, String> {
    match text.trim() {
        "0" | "0s" | "0min" | "0h" => Ok(Duration::ZERO),
        text => units::parse_duration(text),
    }
}

impl GcArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        if self.reseal {
            icecore::keys::master_key(&repo).map_err(|error| error.in_context("--reseal"))?;
        }
        let options = GcOptions {
            max_unused: self.max_unused,
            reseal: self.reseal,
            grace_ms: u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX),
        };
        let interrupted = "no snapshot was changed; the next gc finishes the work";
        let progress = app.ui.progress("finding used data");
        let plan = icecore::maintenance::gc::plan(&repo, &options, &progress)
            .map_err(if_interrupted("nothing was changed"))?;
        drop(progress);
        let totals = if self.dry_run {
            plan.totals
        } else {
            let progress = app.ui.progress("freeing space");
            icecore::maintenance::gc::apply(&repo, plan, &progress).map_err(if_interrupted(interrupted))?
        };
        app.ui.result(&json::GcResult::new(&totals, self.dry_run), &summary(&totals, self.dry_run))?;
        Ok(Verdict::Clean)
    }
}

fn summary(totals: &GcTotals, dry_run: bool) -> String {
    let head = match (dry_run, totals.freed_bytes) {
        (false, freed) => format!("freed {}", units::bytes(freed)),
        (true, freed) => {
            format!("dry run: nothing was changed; would free about {}", units::bytes(freed))
        }
    };
    let used = units::percent(totals.used_bytes, totals.pack_bytes);
    let mut lines = vec![
        ("packs", format!("{} before, {}, {used} of it used", totals.packs, units::bytes(totals.pack_bytes))),
        ("removed", units::count(totals.packs_removed, "pack")),
        ("rewritten", units::count(totals.packs_rewritten, "pack")),
        ("punched", units::count(totals.chunks_punched, "chunk")),
        ("still unused", still_unused(totals)),
        ("leftovers", units::count(totals.leftovers_removed, "file")),
    ];
    if totals.packs_condemned > 0 {
        let condemned = units::count(totals.packs_condemned, "pack");
        lines.insert(2, ("condemned", format!("{condemned}, which a gc after --grace removes")));
    }
    if totals.packs_retained > 0 {
        let packs = units::count(totals.packs_retained, "pack");
        let bytes = units::bytes(totals.retained_bytes);
        let retained =
            format!("{packs}, {bytes}, until the store's retention ends; a gc after that removes them");
        lines.push(("retained", retained));
    }
    format!("{head}\n{}", ui::pairs(2, &lines))
}

fn still_unused(totals: &GcTotals) -> String {
    let bytes = units::bytes(totals.unused_bytes_kept);
    match totals.unused_bytes_kept {
        0 => bytes,
        _ => format!("{bytes}, within --max-unused; a smaller value frees more"),
    }
}
