//! The files of the journal: entries, a second copy of each, and checkpoints.

use std::io;
use std::ops::RangeInclusive;

use crate::format::bytes::DecodeError;
use crate::format::checkpoint::Checkpoint;
use crate::format::checkpoint::config_in;
use crate::format::journal::ENTRY_BYTES_MAX;
use crate::format::journal::Entry;
use crate::format::layout;
use crate::pure::record_cipher::Kind;
use crate::stores::config;
use crate::stores::files::RepositoryFiles;
use crate::stores::journal::catalog::Catalog;
use crate::stores::journal::catalog::damaged;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::Digest;
use crate::words::next_step::NextStep;
use crate::world::objects::Put;
use crate::world::storage::Mapped;
use crate::world::storage::read_all;

/// The longest file of an entry: the envelope takes a few bytes.
const FILE_BYTES_MAX: u64 = ENTRY_BYTES_MAX as u64 + 1024;
/// The most bytes of the first checkpoint, which has nothing but the config.
const FIRST_BYTES_MAX: u64 = 1 << 20;
/// The longest checkpoint.
pub(crate) const CHECKPOINT_BYTES_MAX: u64 = 16 << 30;
/// The longest checkpoint that is read; a longer one is mapped.
const LOADED: u64 = 4 << 20;

/// The numbers of entries or checkpoints, in order.
#[derive(Debug, Default)]
pub(crate) struct Numbers(pub(crate) Vec<u64>);

impl Numbers {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn newest(&self) -> Option<u64> {
        self.0.last().copied()
    }

    pub(crate) fn newest_first(&self) -> impl Iterator<Item = u64> {
        self.0.iter().rev().copied()
    }

    /// Returns the older of the last two checkpoints: entries up to it may be gone.
    pub(crate) fn kept_from(&self) -> Option<u64> {
        self.0.iter().rev().nth(1).copied()
    }
}

/// Returns the numbers of the entries, their copies, or the checkpoints: the files in a directory.
pub(crate) fn numbers(files: &RepositoryFiles, dir: &str) -> Result<Numbers> {
    let mut numbers: Vec<u64> = files.list(dir)?.iter().filter_map(|file| layout::number_of(file)).collect();
    numbers.sort_unstable();
    Ok(Numbers(numbers))
}

/// Returns the numbers that come after a number.
fn numbers_after(files: &RepositoryFiles, dir: &str, number: u64) -> Result<Numbers> {
    let names = files.list_after(dir, &layout::number_name(number))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|file| layout::number_of(file)).collect();
    numbers.sort_unstable();
    Ok(Numbers(numbers))
}

/// Returns the numbers of the checkpoints.
pub(crate) fn checkpoints(files: &RepositoryFiles) -> Result<Numbers> {
    numbers(files, layout::CHECKPOINTS)
}

/// Returns the number of the last entry after `number` of which anything is left, or zero.
pub(crate) fn last_entry(files: &RepositoryFiles, number: u64) -> Result<u64> {
    let entries = numbers_after(files, layout::JOURNAL, number)?.newest();
    // A copy is made once the entry is durable: one without its entry tells that the entry is lost.
    let copies = numbers_after(files, layout::COPIES, number)?.newest();
    Ok(entries.max(copies).unwrap_or(0))
}

/// Tells whether there is an entry of this number, or a copy of it.
pub(crate) fn has_entry(files: &RepositoryFiles, number: u64) -> Result<bool> {
    let has = |dir| Ok(numbers(files, dir)?.0.contains(&number));
    Ok(has(layout::JOURNAL)? || has(layout::COPIES)?)
}

/// Tells whether anything is under the name of an entry, or of its copy.
pub(crate) fn may_be_there(files: &RepositoryFiles, number: u64) -> bool {
    for dir in [layout::JOURNAL, layout::COPIES] {
        match files.open(&layout::numbered(dir, number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // What cannot be opened is read, and told of, as any other entry.
            _ => return true,
        }
    }
    false
}

/// Entries that are read together: at once, where each request takes a while. An entry has a few
/// hundred bytes.
const READ_TOGETHER: usize = 64;

/// Calls `each` with entries, in order, as [`read_entry`] returns them.
pub(crate) fn each_entry(
    files: &RepositoryFiles,
    numbers: RangeInclusive<u64>,
    mut each: impl FnMut(Entry, Digest, u16) -> Result<()>,
) -> Result<()> {
    let numbers: Vec<u64> = numbers.collect();
    for numbers in numbers.chunks(READ_TOGETHER) {
        let names: Vec<String> =
            numbers.iter().map(|number| layout::numbered(layout::JOURNAL, *number)).collect();
        let stored = files.place.objects.read_many(&names, FILE_BYTES_MAX);
        for (number, stored) in numbers.iter().zip(stored) {
            let decoded = stored.ok().and_then(|stored| decode_entry(files, *number, stored).ok());
            // What is lost or damaged is looked for in its copy, and told of.
            let (entry, digest, minor) = decoded.map_or_else(|| read_entry(files, *number), Ok)?;
            each(entry, digest, minor)?;
        }
    }
    Ok(())
}

/// Tells whether no entry comes after `number`, with one look, where each takes a while.
///
/// An entry that was removed is in a checkpoint, and the last entry of the newest checkpoint stays: so
/// there is one in the list as well.
pub(crate) fn is_last_listed(files: &RepositoryFiles, number: u64) -> Result<bool> {
    Ok(numbers_after(files, layout::JOURNAL, number)?.is_empty())
}

/// Returns an entry, its digest and its minor version, from its copy if need be.
pub(crate) fn read_entry(files: &RepositoryFiles, number: u64) -> Result<(Entry, Digest, u16)> {
    match read_entry_in(files, layout::JOURNAL, number) {
        Err(error) if !error.says_nothing_of_what_is_stored() => read_entry_in(files, layout::COPIES, number)
            .map_err(|_| match error.kind() {
                ErrorKind::NotFound => Error::corrupt(format!("entry {number} of the journal is lost"))
                    .with_hint(NextStep::RepairCatalog),
                _ => error,
            }),
        read => read,
    }
}

/// Returns the bytes of an entry, as they are stored.
pub(crate) fn entry_bytes(files: &RepositoryFiles, number: u64) -> Result<Vec<u8>> {
    bytes_in(files, layout::JOURNAL, number)
}

/// Returns the bytes of the copy of an entry, as they are stored.
pub(crate) fn copy_bytes(files: &RepositoryFiles, number: u64) -> Result<Vec<u8>> {
    bytes_in(files, layout::COPIES, number)
}

fn bytes_in(files: &RepositoryFiles, dir: &str, number: u64) -> Result<Vec<u8>> {
    read_all(files.open(&layout::numbered(dir, number)), FILE_BYTES_MAX)
        .map_err(|error| Error::stored_io(format!("reading entry {number} of the journal"), error))
}

/// Returns what a file says of an entry.
pub(crate) fn read_entry_in(files: &RepositoryFiles, dir: &str, number: u64) -> Result<(Entry, Digest, u16)> {
    decode_entry(files, number, bytes_in(files, dir, number)?)
}

fn decode_entry(files: &RepositoryFiles, number: u64, stored: Vec<u8>) -> Result<(Entry, Digest, u16)> {
    let opened = files.seals.open(Kind::Entry, number, stored);
    let decoded = opened.and_then(|bytes| Entry::decode(&bytes, &files.hasher));
    let (entry, digest, minor) = decoded.map_err(|error| {
        Error::corrupt(format!("entry {number} of the journal is damaged: {error}"))
            .with_hint(NextStep::RepairCatalog)
    })?;
    match entry.number == number {
        true => Ok((entry, digest, minor)),
        false => Err(Error::corrupt(format!(
            "entry {number} of the journal says that it is entry {}",
            entry.number
        ))
        .with_hint(NextStep::RepairCatalog)),
    }
}

/// Puts an entry. Returns whether it is there now: another one may have its number.
pub(crate) fn put_entry(files: &RepositoryFiles, entry: &Entry, bytes: Vec<u8>) -> Result<bool> {
    let name = layout::numbered(layout::JOURNAL, entry.number);
    let bytes = &files.seal(Kind::Entry, entry.number, bytes)?;
    let mut put = files.put_new(&name, bytes);
    for make_room in [RepositoryFiles::give_back_reserve, remove_copies] {
        if put.as_ref().is_err_and(|error| error.kind() == ErrorKind::NoSpace) && make_room(files)? {
            put = files.put_new(&name, bytes);
        }
    }
    let is_own =
        || read_entry_in(files, layout::JOURNAL, entry.number).is_ok_and(|(there, ..)| there == *entry);
    match put {
        Ok(Put::Made) => {}
        Ok(Put::Exists) if !is_own() => return Ok(false),
        Err(error) if !is_own() => return Err(error),
        // It has its name, and may not be durable yet.
        _ => files.sync(layout::JOURNAL)?,
    }
    // Not synced: whatever is not on the medium soon is made again by `repair catalog`.
    let _ = copy_entry(files, entry.number, bytes);
    Ok(true)
}

/// Removes all copies: on a full disk, an entry that lets gc free space matters more. Returns
/// whether there were any.
fn remove_copies(files: &RepositoryFiles) -> Result<bool> {
    let copies = numbers(files, layout::COPIES)?;
    copies.0.iter().try_for_each(|number| files.delete(&layout::numbered(layout::COPIES, *number)))?;
    Ok(!copies.is_empty())
}

/// Writes the second copy of an entry.
pub(crate) fn copy_entry(files: &RepositoryFiles, number: u64, bytes: &[u8]) -> io::Result<()> {
    files.place.objects.put_hint(&layout::numbered(layout::COPIES, number), bytes)
}

/// Returns the catalog that a checkpoint holds.
pub(crate) fn read_checkpoint(files: &RepositoryFiles, number: u64) -> Result<Catalog> {
    let reading = |error| Error::stored_io(format!("reading checkpoint {number}"), error);
    let file = files.open(&layout::numbered(layout::CHECKPOINTS, number)).map_err(reading)?;
    let length = file.len();
    if length > CHECKPOINT_BYTES_MAX {
        return Err(damaged(number, &DecodeError::bad("the length of a checkpoint", length)));
    }
    let bytes = if length <= LOADED { file.load(0..length) } else { file.map(0..length) }.map_err(reading)?;
    let bytes = unsealed_checkpoint(files, number, bytes);
    let opened = bytes.and_then(|bytes| Checkpoint::open(bytes, &files.hasher)).and_then(|checkpoint| {
        checkpoint.prove()?;
        Catalog::of(checkpoint, &files.hasher)
    });
    let catalog = opened.map_err(|error| damaged(number, &error))?;
    match catalog.number == number {
        true => Ok(catalog),
        false => {
            Err(Error::corrupt(format!("checkpoint {number} says that it is checkpoint {}", catalog.number))
                .with_hint(NextStep::RepairCatalog))
        }
    }
}

/// Returns a checkpoint as it was before it was sealed, in memory. That of a plain repository stays
/// mapped.
fn unsealed_checkpoint(files: &RepositoryFiles, number: u64, stored: Mapped) -> Result<Mapped, DecodeError> {
    if !files.seals.are_used() {
        return Ok(stored);
    }
    let opened = files.seals.open(Kind::Checkpoint, number, stored.to_vec())?;
    Ok(Mapped::new(opened))
}

/// Puts a checkpoint, unless there is one of this number.
pub(crate) fn put_checkpoint(files: &RepositoryFiles, number: u64, bytes: Vec<u8>) -> Result<()> {
    let bytes = files.seal(Kind::Checkpoint, number, bytes)?;
    files.put_new(&layout::numbered(layout::CHECKPOINTS, number), &bytes).map(|_| ())
}

/// Writes the first checkpoint where machines have no lock in common. Whoever does it first makes the
/// repository: anybody else completes that one, should its maker have died.
///
/// # Errors
/// `AlreadyExists` if another one came first.
pub(crate) fn put_first_checkpoint(files: &RepositoryFiles, bytes: Vec<u8>) -> Result<()> {
    let bytes = files.seal(Kind::Checkpoint, 0, bytes)?;
    let name = layout::numbered(layout::CHECKPOINTS, 0);
    if files.put_new(&name, &bytes)? == Put::Made {
        return Ok(());
    }
    let there = read_all(files.open(&name), FIRST_BYTES_MAX)
        .map_err(|error| Error::stored_io(format!("reading {name}"), error))?;
    match config_in(&there).ok().filter(|config| config::opened_plain(config).is_ok()) {
        Some(config) => {
            files.put_new(layout::CONFIG, config)?;
            Err(config::exists_already())
        }
        None => Err(Error::new(ErrorKind::AlreadyExists, "somebody is making a sealed repository")
            .with_hint(
                "if nobody is, delete what an attempt to make one has left there, or choose another place",
            )),
    }
}

/// Writes a checkpoint in place of a damaged one.
pub(crate) fn replace_checkpoint(files: &RepositoryFiles, number: u64, bytes: Vec<u8>) -> Result<()> {
    let bytes = files.seal(Kind::Checkpoint, number, bytes)?;
    files.put_back(&layout::numbered(layout::CHECKPOINTS, number), &bytes)
}

/// Removes the checkpoints but for the last two, the entries up to the older one of these, and the
/// copies up to the newer one. What cannot be removed now is removed another time.
pub(crate) fn remove_replaced(files: &RepositoryFiles) {
    let Ok(checkpoints) = checkpoints(files) else { return };
    let (Some(newest), Some(older)) = (checkpoints.newest(), checkpoints.kept_from()) else { return };
    for (dir, is_replaced) in [
        (layout::COPIES, &(|number| number <= newest) as &dyn Fn(u64) -> bool),
        (layout::JOURNAL, &|number| number <= older),
        (layout::CHECKPOINTS, &|number| number < older),
    ] {
        let numbers = numbers(files, dir).unwrap_or_default();
        for number in numbers.0.into_iter().filter(|number| is_replaced(*number)) {
            // What its place keeps for a time, it keeps longer if it is newer.
            if files.delete_unneeded(&layout::numbered(dir, number)).is_ok_and(|is_gone| !is_gone) {
                break;
            }
        }
    }
}
