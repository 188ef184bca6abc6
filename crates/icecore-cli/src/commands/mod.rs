//! The commands, one file each: arguments, whose comments are the help, and a `run` that calls one verb of the engine.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod gc;
pub(crate) mod init;
pub(crate) mod man;
pub(crate) mod markdown;
pub(crate) mod parity;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod serve;
pub(crate) mod snapshot;
pub(crate) mod stats;
pub(crate) mod token;
pub(crate) mod verify;
pub(crate) mod volume;

use std::collections::BTreeMap;

use icecore::Error;
use icecore::ErrorKind;
use icecore::LostRange;
use icecore::Repository;
use icecore::Result;
use icecore::Snapshot;

use crate::ui::printable_name;
use crate::units;

/// Returns the snapshots that `specs` name, in that order, each once.
fn find_all(repo: &Repository, specs: &[String]) -> Result<Vec<Snapshot>> {
    let mut found: Vec<Snapshot> = Vec::with_capacity(specs.len());
    for spec in specs {
        let snapshot = icecore::find(repo, spec)?;
        if !found.iter().any(|other| other.id == snapshot.id) {
            found.push(snapshot);
        }
    }
    Ok(found)
}

/// Returns how a snapshot is called where one must not be taken for another.
fn title(snapshot: &Snapshot) -> String {
    format!("{} ({})", printable_name(&snapshot.name), snapshot.id)
}

/// Returns lines for what programs have noted, if they have.
fn label_pairs(labels: &BTreeMap<String, String>) -> Vec<(&'static str, String)> {
    let names = std::iter::once("Labels").chain(std::iter::repeat(""));
    let line =
        |(key, value): (&String, &String)| format!("{}={}", printable_name(key), printable_name(value));
    names.zip(labels.iter().map(line)).collect()
}

/// Adds to an interruption in what state it leaves things.
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
