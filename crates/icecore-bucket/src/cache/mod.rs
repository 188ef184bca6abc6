//! A cache of parts of objects on the disk of this machine, which all processes of a user share.
//!
//! Objects are kept in pieces of 256 KiB, each in a file of its own. A piece is proven whenever it is
//! used: one that is damaged, or cannot be read, is a miss. A write that fails is no error: the cache
//! only saves requests. So processes need no locks: each writes a piece under a name of its own and
//! renames it, and any may remove any piece at any time.

mod flights;
mod piece;
mod space;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use bytes::BytesMut;

use crate::cache::flights::Flights;
use crate::cache::piece::PIECE_BYTES;
use crate::cache::space::Space;
pub use crate::cache::space::Usage;
use crate::fetch::Fetch;
use crate::fetch::Tail;

/// The longest part that a program reads now and then. Longer ones are of who goes through all of an
/// image once.
const PART_BYTES_MAX: u64 = 1 << 20;
/// The number under which the length of an object is kept.
const LENGTH: u64 = u64::MAX;

/// What a cache keeps of what is read through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// What is likely to be read again: all but long parts of packs.
    Some,
    /// Everything, as for a disk that is served.
    All,
    /// Everything comes from the bucket, and replaces what was kept: to check the bucket itself.
    Fresh,
}

/// A cache in a directory.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    space: Space,
}

impl Cache {
    /// Returns the cache in a directory, which need not exist. It takes about `bytes_max` bytes.
    #[must_use]
    pub fn new(dir: &Path, bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { dir: dir.to_owned(), space: Space::new(dir, bytes_max) })
    }

    /// Puts the cache between a bucket and its readers. `repository` is a directory name that no other
    /// repository has, wherever it is.
    #[must_use]
    pub fn before(self: &Arc<Self>, repository: &str, keep: Keep, inner: Arc<dyn Fetch>) -> Arc<dyn Fetch> {
        let dir = self.dir.join(repository);
        Arc::new(Cached { cache: Arc::clone(self), dir, keep, inner, flights: Flights::default() })
    }

    /// Returns how many bytes can be put into it in a row so that all of them stay: making room frees
    /// more than is needed.
    #[must_use]
    pub fn room_bytes(&self) -> u64 {
        self.space.room_bytes()
    }

    /// Returns what is in the cache.
    ///
    /// # Errors
    /// Those of listing its directories.
    pub fn usage(&self) -> io::Result<Usage> {
        space::usage(&self.dir)
    }

    /// Removes everything that is in the cache. Returns what that was.
    ///
    /// # Errors
    /// Those of listing directories and removing files.
    pub fn clear(&self) -> io::Result<Usage> {
        space::clear(&self.dir)
    }
}

/// A bucket behind its cache.
struct Cached {
    cache: Arc<Cache>,
    dir: PathBuf,
    keep: Keep,
    inner: Arc<dyn Fetch>,
    flights: Flights,
}

impl Cached {
    /// Tells whether an object is kept: the config tells which repository it is, and slots are what may
    /// be taken away.
    fn is_kept(name: &str) -> bool {
        ["packs/", "index/", "parity/", "journal/", "journal-copies/", "checkpoint/"]
            .iter()
            .any(|dir| name.starts_with(dir))
    }

    fn path(&self, name: &str, number: u64) -> PathBuf {
        piece::path(&self.dir, name, number)
    }

    /// Keeps a piece, or the length of an object.
    fn put(&self, name: &str, number: u64, bytes: &[u8]) {
        if self.cache.space.has_room()
            && let Err(error) = piece::write(&self.path(name, number), bytes)
        {
            self.cache.space.note_failure(&error);
            return;
        }
        self.cache.space.note(bytes.len() as u64);
    }

    /// Keeps the pieces that lie whole in these bytes of an object, which begin at `start`.
    fn put_all(&self, name: &str, object_bytes: u64, start: u64, bytes: &[u8]) {
        let end = start + bytes.len() as u64;
        for number in start.div_ceil(PIECE_BYTES)..end.div_ceil(PIECE_BYTES) {
            let from = number * PIECE_BYTES;
            let upto = (from + PIECE_BYTES).min(object_bytes);
            let part = usize::try_from(from - start).ok().zip(usize::try_from(upto - start).ok());
            if let Some(part) = part.and_then(|(from, upto)| bytes.get(from..upto)) {
                self.put(name, number, part);
            }
        }
    }

    /// Returns the length of an object, if it is kept.
    fn kept_length(&self, name: &str) -> Option<u64> {
        let kept = piece::read(&self.path(name, LENGTH), 0..8)?;
        Some(u64::from_le_bytes(kept.try_into().ok()?))
    }

    /// Returns the length of an object.
    fn length(&self, name: &str) -> io::Result<u64> {
        match self.kept_length(name) {
            Some(length) => Ok(length),
            None => self.fetch_length(name),
        }
    }

    fn fetch_length(&self, name: &str) -> io::Result<u64> {
        let length = self.inner.head(name)?;
        self.put(name, LENGTH, &length.to_le_bytes());
        Ok(length)
    }

    /// Returns a part of a piece, if it is kept.
    fn kept(&self, name: &str, number: u64, range: &Range<u64>) -> Option<Vec<u8>> {
        let start = number * PIECE_BYTES;
        let from = range.start.max(start) - start;
        let upto = range.end.min(start + PIECE_BYTES) - start;
        piece::read(&self.path(name, number), from..upto)
    }

    /// Reads pieces, which are not kept, and keeps them.
    fn fetch(&self, name: &str, object_bytes: u64, numbers: Range<u64>) -> io::Result<Bytes> {
        let start = numbers.start * PIECE_BYTES;
        let bytes = self.inner.get(name, start..(numbers.end * PIECE_BYTES).min(object_bytes))?;
        self.put_all(name, object_bytes, start, &bytes);
        Ok(bytes)
    }

    /// Reads a part of an object, as far as possible from the cache.
    fn read(&self, name: &str, range: &Range<u64>) -> io::Result<Bytes> {
        let object_bytes = self.length(name)?;
        if range.end > object_bytes {
            // The bucket says what is wrong with it.
            return self.inner.get(name, range.clone());
        }
        let mut read = BytesMut::new();
        let numbers = range.start / PIECE_BYTES..range.end.div_ceil(PIECE_BYTES);
        let mut number = numbers.start;
        while number < numbers.end {
            // Others that want the same piece wait until it is there.
            let _flight = self.flights.begin(name, number);
            if let Some(kept) = self.kept(name, number, range) {
                read.extend_from_slice(&kept);
                number += 1;
                continue;
            }
            let is_missing = |number: &u64| !self.path(name, *number).exists();
            let more = (number + 1..numbers.end).take_while(is_missing).count() as u64;
            let missing = number..number + 1 + more;
            let bytes = self.fetch(name, object_bytes, missing.clone())?;
            let start = missing.start * PIECE_BYTES;
            let from = range.start.max(start) - start;
            let upto = range.end.min(missing.end * PIECE_BYTES) - start;
            let part = usize::try_from(from).ok().zip(usize::try_from(upto).ok());
            let part = part.and_then(|(from, upto)| bytes.get(from..upto));
            read.extend_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
            number = missing.end;
        }
        Ok(read.freeze())
    }
}

impl Fetch for Cached {
    fn get(&self, name: &str, range: Range<u64>) -> io::Result<Bytes> {
        let is_long = name.starts_with("packs/") && range.end.saturating_sub(range.start) > PART_BYTES_MAX;
        match self.keep {
            _ if range.is_empty() => Ok(Bytes::new()),
            _ if !Self::is_kept(name) => self.inner.get(name, range),
            Keep::Some if is_long => self.inner.get(name, range),
            Keep::Some | Keep::All => self.read(name, &range),
            Keep::Fresh => {
                let bytes = self.inner.get(name, range.clone())?;
                // That which was fetched when the object was opened.
                let object_bytes = self.length(name)?;
                self.put_all(name, object_bytes, range.start, &bytes);
                Ok(bytes)
            }
        }
    }

    fn tail(&self, name: &str, bytes_max: u64) -> io::Result<Tail> {
        if !Self::is_kept(name) {
            return self.inner.tail(name, bytes_max);
        }
        if let Some(object_bytes) = self.kept_length(name).filter(|_| self.keep != Keep::Fresh) {
            let range = object_bytes.saturating_sub(bytes_max)..object_bytes;
            // What is no longer whole is asked for again.
            if let Ok(bytes) = self.read(name, &range) {
                return Ok(Tail { object_bytes, bytes });
            }
        }
        let tail = self.inner.tail(name, bytes_max)?;
        self.put(name, LENGTH, &tail.object_bytes.to_le_bytes());
        self.put_all(name, tail.object_bytes, tail.object_bytes - tail.bytes.len() as u64, &tail.bytes);
        Ok(tail)
    }

    fn head(&self, name: &str) -> io::Result<u64> {
        match self.keep {
            _ if !Self::is_kept(name) => self.inner.head(name),
            Keep::Fresh => self.fetch_length(name),
            Keep::Some | Keep::All => self.length(name),
        }
    }
}
