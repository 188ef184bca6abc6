//! `icecore parity`.

use icecore::Result;
use icecore::maintenance::ParityReport;
use icecore::repository::ParityScheme;

use crate::app::App;
use crate::commands::if_interrupted;
use crate::exit::Verdict;
use crate::json;
use crate::ui;
use crate::units;

/// Keep parity of packs, so that lost or damaged ones can be brought back, or show what there is
///
/// With 10+2, up to ten packs share two parity files, and any two of them that are lost or damaged come back: `icecore
/// repair packs` puts them back, and so does a restore that meets them. Parity takes a fifth to a third of the packs' size
/// more, is written by each `snapshot create` before it ends, and is kept right by gc.
///
/// Without SCHEME, shows what parity there is. Exits with 1 if a pack cannot be given parity because it is damaged.
#[derive(Debug, clap::Args)]
pub(crate) struct ParityArgs {
    /// How many packs share how many parity files, such as 10+2; `off` for none, and what there is is removed
    #[arg(value_name = "SCHEME", value_parser = parse_scheme)]
    scheme: Option<Wanted>,
}

/// A scheme, or that there is to be none.
#[derive(Debug, Clone, Copy)]
struct Wanted(Option<ParityScheme>);

fn parse_scheme(text: &str) -> std::result::Result<Wanted, icecore::repository::BadScheme> {
    if text == "off" { Ok(Wanted(None)) } else { text.parse().map(|scheme| Wanted(Some(scheme))) }
}

impl ParityArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        let report = match self.scheme {
            None => icecore::maintenance::parity_report(&repo)?,
            Some(Wanted(scheme)) => {
                let progress = app.ui.progress("making parity");
                icecore::maintenance::set_parity(&repo, scheme, &progress).map_err(if_interrupted(
                    "parity is on, and some packs have none yet; the next capture or gc goes on with it",
                ))?
            }
        };
        app.ui.result(&json::ParityResult::from(&report), &summary(&report))?;
        Ok(Verdict::from_findings(!report.refused.is_empty()))
    }
}

fn summary(report: &ParityReport) -> String {
    let scheme = report.scheme.map_or("off".to_owned(), |scheme| scheme.to_string());
    let mut text = ui::pairs(
        0,
        &[
            ("Parity", scheme),
            ("Packs", report.packs.to_string()),
            ("Without parity", report.packs_without.to_string()),
            ("Groups", report.groups.to_string()),
            ("Parity files", units::bytes(report.parity_bytes)),
        ],
    );
    for (pack, problem) in &report.refused {
        text += &format!("pack {pack} gets no parity: {problem}\n");
    }
    text
}
