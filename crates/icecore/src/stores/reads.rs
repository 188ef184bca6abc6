//! Records of reads: what clients of a volume read of its snapshot, so that it can be fetched first
//! for the next volume. Anybody adds one, nobody replaces one, and gc removes those that are of no
//! use any more.

use std::collections::BTreeMap;
use std::collections::HashSet;

use crate::format::layout;
use crate::format::reads::READS_BYTES_MAX;
use crate::format::reads::Reads;
use crate::format::record::Record;
use crate::pure::record_cipher::Kind;
use crate::stores::files::RepositoryFiles;
use crate::stores::journal::catalog::Catalog;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::world::objects::Put;
use crate::world::objects::Told;
use crate::world::storage::read_all;

/// How often a name that another machine has just taken is given up for the next one.
const NAMES_MAX: u64 = 64;
/// The most records that are tried until one can be used.
const TRIED_MAX: usize = 8;

/// Adds a record.
///
/// # Errors
/// `InUse` if others add records all the time; what keeps it from being written.
pub(crate) fn add(files: &RepositoryFiles, reads: &Reads) -> Result<()> {
    let key = key(files, reads.snapshot);
    let newest = numbers(files)?.get(&key).and_then(|numbers| numbers.last().copied()).unwrap_or(0);
    let first = newest.saturating_add(1);
    for number in first..first.saturating_add(NAMES_MAX) {
        let sealed = files.seal(Kind::Reads, number, reads.encode(&files.hasher))?;
        if files.put_new(&layout::reads(&key, number), &sealed)? == Put::Made {
            return Ok(());
        }
    }
    Err(Error::new(ErrorKind::InUse, "other machines add records of reads all the time"))
}

/// Returns what was read of a snapshot or, if that is not known, of another one of the same
/// resource: the newest that anything is known of. A record that cannot be used counts as none.
pub(crate) fn find(files: &RepositoryFiles, catalog: &Catalog, record: &Record) -> Result<Option<Reads>> {
    let numbers = numbers(files)?;
    if numbers.is_empty() {
        return Ok(None);
    }
    let mut tried = 0;
    let mut of = |id: SnapshotId| {
        let key = key(files, id);
        let newest_first = numbers.get(&key).into_iter().flatten().rev();
        newest_first
            .take_while(|_| {
                tried += 1;
                tried <= TRIED_MAX
            })
            .find_map(|number| load(files, &key, *number, id))
    };
    if let Some(reads) = of(record.id) {
        return Ok(Some(reads));
    }
    let others = catalog.all_of(record.kind, &record.resource)?;
    Ok(others.iter().rev().filter(|other| other.id != record.id).find_map(|other| of(other.id)))
}

/// Returns the records of these that no snapshot needs: it is gone, or has a newer one.
pub(crate) fn useless(
    files: &RepositoryFiles,
    kept: impl Iterator<Item = SnapshotId>,
    mut told: Vec<Told>,
) -> Vec<Told> {
    let kept: HashSet<String> = kept.map(|id| key(files, id)).collect();
    let newest = by_key(told.iter().map(|told| &told.name));
    told.retain(|told| {
        layout::key_of_reads(&told.name).is_some_and(|(key, number)| {
            let is_newest = newest.get(key).and_then(|numbers| numbers.last()) == Some(&number);
            !is_newest || !kept.contains(key)
        })
    });
    told
}

/// Returns what stands for a snapshot in the names of its records: in a sealed repository nobody sees
/// its id there.
fn key(files: &RepositoryFiles, snapshot: SnapshotId) -> String {
    match files.seals.are_used() {
        true => files.hasher.reads(snapshot).to_string(),
        false => snapshot.to_string(),
    }
}

fn load(files: &RepositoryFiles, key: &str, number: u64, snapshot: SnapshotId) -> Option<Reads> {
    let stored = read_all(files.open(&layout::reads(key, number)), READS_BYTES_MAX).ok()?;
    let bytes = files.seals.open(Kind::Reads, number, stored).ok()?;
    Reads::decode(&bytes, &files.hasher).ok().filter(|reads| reads.snapshot == snapshot)
}

/// Returns the numbers of the records there are, sorted, by what stands for their snapshots.
fn numbers(files: &RepositoryFiles) -> Result<BTreeMap<String, Vec<u64>>> {
    let names = files.list(layout::READS)?;
    Ok(by_key(names.iter()))
}

fn by_key<'a>(names: impl Iterator<Item = &'a String>) -> BTreeMap<String, Vec<u64>> {
    let mut numbers = BTreeMap::<String, Vec<u64>>::new();
    for (key, number) in names.filter_map(|name| layout::key_of_reads(name)) {
        numbers.entry(key.to_owned()).or_default().push(number);
    }
    numbers.values_mut().for_each(|numbers| numbers.sort_unstable());
    numbers
}
