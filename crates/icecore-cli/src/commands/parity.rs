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

/// Keep parity to recover lost or damaged packs, or show the current parity
///
/// With 10+2, up to ten packs share two parity files, and any two lost or damaged packs of them can
/// be recovered: by `icecore repair packs`, or by a restore that needs them. Parity takes another
/// fifth to a third of the packs' size. Each `snapshot create` writes it before it ends, and gc
/// keeps it up to date.
///
/// Without SCHEME, shows the current parity. Exits with 1 if a damaged pack cannot get parity.
#[derive(Debug, clap::Args)]
pub(crate) struct ParityArgs {
    /// How many packs share how many parity files, such as 10+2; `off` removes all parity
    #[arg(value_name = "SCHEME", value_parser = parse_scheme)]
    scheme: Option<Wanted>,
}

/// A scheme, or none.
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
                let progress = app.ui.progress("computing parity");
                icecore::maintenance::set_parity(&repo, scheme, &progress).map_err(if_interrupted(
                    "parity is on, but some packs have none yet; the next capture or gc continues",
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
