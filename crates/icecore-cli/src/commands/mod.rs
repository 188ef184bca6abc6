//! The commands, one file each: the arguments, whose comments are the help, and a `run` that calls
//! one verb of the engine.

pub(crate) mod bench;
#[cfg(feature = "bucket")]
pub(crate) mod cache;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod gc;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod log;
pub(crate) mod man;
pub(crate) mod markdown;
pub(crate) mod parity;
pub(crate) mod repair;
pub(crate) mod repo;
pub(crate) mod restore;
#[cfg(feature = "server")]
pub(crate) mod serve;
pub(crate) mod snapshot;
pub(crate) mod stats;
#[cfg(feature = "server")]
pub(crate) mod token;
pub(crate) mod verify;
pub(crate) mod volume;

use std::collections::BTreeMap;
use std::path::Path;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::maintenance::LostRange;
use icecore::repository::Repository;
use icecore::snapshot::Snapshot;
use icecore::snapshot::SnapshotId;

use crate::app::App;
use crate::host;
use crate::ui::printable_name;
use crate::units;

/// Returns the snapshots that `specs` name, in that order, without duplicates.
fn find_all(repo: &Repository, specs: &[String]) -> Result<Vec<Snapshot>> {
    let mut found: Vec<Snapshot> = Vec::with_capacity(specs.len());
    for spec in specs {
        let snapshot = icecore::snapshot::find(repo, spec)?;
        if !found.iter().any(|other| other.id == snapshot.id) {
            found.push(snapshot);
        }
    }
    Ok(found)
}

/// Returns the name and the id of a snapshot, for messages in which snapshots must not be confused.
fn title(snapshot: &Snapshot) -> String {
    format!("{} ({})", printable_name(&snapshot.name), snapshot.id)
}

/// Warns if a new snapshot had to be dated later than now, and returns by how much.
fn warn_if_clock_is_behind(app: &App, snapshot: &Snapshot) -> Option<u64> {
    let now = host::now_unix_ms();
    let behind_ms = icecore::snapshot::clock_behind_ms(snapshot, now)?;
    app.ui.warn(&format!(
        "{} is dated {}, after the newest snapshot of {}, and the clock shows {}\n  \
         hint: set the clock if it is behind; if it is right, `icecore snapshot list` shows which snapshots a wrong clock has dated",
        title(snapshot),
        units::time_for_people(snapshot.created_unix_ms),
        printable_name(&snapshot.resource),
        units::time_for_people(now),
    ));
    Some(behind_ms)
}

/// Warns of snapshots dated later than now, and returns their ids.
fn warn_of_future<'a>(app: &App, snapshots: impl IntoIterator<Item = &'a Snapshot>) -> Vec<SnapshotId> {
    let now = host::now_unix_ms();
    let future: Vec<&Snapshot> =
        snapshots.into_iter().filter(|snapshot| snapshot.is_from_the_future(now)).collect();
    if let Some(first) = future.first() {
        let others = match future.len() {
            1 => String::new(),
            count => format!(
                ", and so {} more",
                if count == 2 { "is 1".into() } else { format!("are {}", count - 1) }
            ),
        };
        app.ui.warn(&format!(
            "{} is dated {}, later than now{others}\n  \
             hint: set the clock if it is behind; if it is right, a wrong clock has dated them: they stay the newest \
             until you delete them, and prune keeps them in addition to the others",
            title(first),
            units::time_for_people(first.created_unix_ms),
        ));
    }
    future.iter().map(|snapshot| snapshot.id).collect()
}

/// Returns lines for labels, if there are any.
fn label_pairs(labels: &BTreeMap<String, String>) -> Vec<(&'static str, String)> {
    let names = std::iter::once("Labels").chain(std::iter::repeat(""));
    let line =
        |(key, value): (&String, &String)| format!("{}={}", printable_name(key), printable_name(value));
    names.zip(labels.iter().map(line)).collect()
}

/// Returns the directory for a new file.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Adds a hint that says which disk is full: not the repository's.
fn if_full(error: Error, what: &str) -> Error {
    match error.kind() {
        ErrorKind::NoSpace => {
            error.with_hint(format!("free some space where {what} is, or choose another place"))
        }
        _ => error,
    }
}

/// The format of an image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ImageFormat {
    /// A raw disk, whatever its content looks like
    Raw,
}

/// Adds to an interruption the state that it leaves.
fn if_interrupted(state: &str) -> impl FnOnce(Error) -> Error {
    move |error| if error.kind() == ErrorKind::Interrupted { error.with_hint(state) } else { error }
}

/// Returns lines that name ranges that cannot be restored.
fn lost_lines(indent: usize, ranges: &[LostRange]) -> String {
    let line = |range: &LostRange| {
        let LostRange { snapshot, name, offset, bytes } = range;
        let name = printable_name(name);
        format!("{:indent$}lost: {} at byte {offset} of {name} ({snapshot})\n", "", units::bytes(*bytes))
    };
    ranges.iter().map(line).collect()
}
