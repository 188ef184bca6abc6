//! `icecore snapshot copy`.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::Repository;
use icecore::snapshot::CopyOptions;
use icecore::snapshot::CopyReport;
use icecore::snapshot::Snapshot;
use icecore_host::keys::sources::Sources;

use crate::app::App;
use crate::app::Place;
use crate::app::open_at;
use crate::app::warn_if_plain;
use crate::commands::find_all;
use crate::commands::if_interrupted;
use crate::commands::title;
use crate::exit::Verdict;
use crate::host;
use crate::host::Stopwatch;
use crate::json;
use crate::ui;
use crate::units;

/// Copy snapshots to another repository
///
/// Each copy keeps its id and what was chosen for it, but for its protection. If both repositories
/// have a snapshot of the same resource, only the difference from it is read. Only data that is
/// missing there is written, and all data that is read is verified. A snapshot that is already
/// there stays unchanged. The repositories may have different keys and compression levels, and
/// either may be sealed: what is read is opened, and what is written is sealed again.
///
/// The password of the other repository comes from ICECORE_TO_PASSWORD_FILE,
/// ICECORE_TO_PASSWORD_COMMAND, ICECORE_TO_PASSWORD or ICECORE_TO_IDENTITY. Without these, it is the
/// same as that of the repository.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  ICECORE_TO_PASSWORD_FILE=offsite.password icecore snapshot copy web-1@latest --to /mnt/offsite"
)]
pub(crate) struct CopyArgs {
    /// Ids, unique prefixes of ids, names, or RESOURCE@latest
    #[arg(required = true, value_name = "SNAP")]
    snapshots: Vec<String>,
    /// The other repository, which must exist: as for --repo
    #[arg(long, value_name = "REPO", value_hint = clap::ValueHint::DirPath)]
    to: OsString,
}

/// A snapshot that was copied, or was already there.
struct Copied {
    snapshot: Snapshot,
    /// None if there was nothing to do.
    report: Option<(CopyReport, Duration)>,
}

impl CopyArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let sources = host::key_sources();
        let repo = Arc::new(app.open_with(&sources)?);
        let mut found = find_all(&repo, &self.snapshots)?;
        // Data of an older snapshot need not be read again for a newer one.
        found.sort_by_key(|snapshot| (snapshot.created_unix_ms, snapshot.id));
        let target = self.open_target(app, &repo, &sources)?;
        let mut copied = Vec::with_capacity(found.len());
        for snapshot in &found {
            let one = copy(app, &repo, snapshot, &target);
            copied.push(one.map_err(|error| error.in_context(so_far(&copied)))?);
        }
        let text: String = copied.iter().map(summary).collect();
        app.ui.result(
            &json::CopyResult { copied: copied.iter().map(Copied::json).collect() },
            text.trim_end(),
        )?;
        Ok(Verdict::Clean)
    }

    fn open_target(&self, app: &App, repo: &Repository, sources: &Sources) -> Result<Repository> {
        let own = sources.clone().named("ICECORE_TO");
        if own.are_set() {
            warn_if_plain(app.ui, repo, &app.place()?.at, sources);
        }
        let of_target = if own.are_set() { &own } else { sources };
        let place = Place::at(&self.to)?;
        let target = open_at(app.ui, &place, of_target)?;
        warn_if_plain(app.ui, &target, &place.at, of_target);
        Ok(target)
    }
}

fn copy(app: &App, repo: &Arc<Repository>, snapshot: &Snapshot, target: &Repository) -> Result<Copied> {
    match icecore::snapshot::find(target, &snapshot.id.to_string()) {
        Ok(snapshot) => return Ok(Copied { snapshot, report: None }),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let options = CopyOptions::default();
    let watch = Stopwatch::start();
    let progress = app.ui.progress(&format!("copying {}", ui::printable_name(&snapshot.name)));
    let report =
        icecore::snapshot::copy(repo, snapshot.id, target, &options, &progress).map_err(if_interrupted(
            "the next copy reuses what was stored so far; `icecore gc` on the other repository removes it",
        ))?;
    let elapsed = watch.elapsed();
    drop(progress);
    Ok(Copied { snapshot: report.snapshot.clone(), report: Some((report, elapsed)) })
}

fn so_far(copied: &[Copied]) -> String {
    match copied {
        [] => "nothing was copied".to_owned(),
        copied => {
            let names: Vec<String> = copied.iter().map(|copied| title(&copied.snapshot)).collect();
            format!("copied only {}", names.join(", "))
        }
    }
}

impl Copied {
    fn json(&self) -> json::CopiedSnapshot {
        json::CopiedSnapshot::new(&self.snapshot, self.report.as_ref())
    }
}

/// Returns a summary of a copy.
fn summary(copied: &Copied) -> String {
    let snapshot = &copied.snapshot;
    let Some((report, elapsed)) = &copied.report else {
        return format!("{} is already there\n", title(snapshot));
    };
    let stats = &report.snapshot.stats;
    let of = report.parent.map_or_else(String::new, |id| format!(", the difference from {id}"));
    let time = units::duration(*elapsed);
    let lines = ui::pairs(
        2,
        &[
            (
                "read",
                format!(
                    "{} of {} in {time}{of}",
                    units::bytes(report.read_bytes),
                    units::bytes(stats.data_bytes)
                ),
            ),
            ("new", units::bytes(stats.new_bytes)),
            (
                "stored",
                format!(
                    "{} and {} of manifest",
                    units::bytes(stats.stored_bytes),
                    units::bytes(stats.manifest_bytes)
                ),
            ),
        ],
    );
    format!("copied {}\n{lines}", title(snapshot))
}
