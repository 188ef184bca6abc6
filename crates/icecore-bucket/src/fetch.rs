//! Reading objects: the seam at which a cache can stand.

use std::io;
use std::ops::Range;

use bytes::Bytes;

/// Reads objects of one repository. Names are those of [`Objects`](icecore::storage::Objects).
///
/// Objects never change, but for a repair that puts back what was there: parts fetched at different
/// times belong together.
pub trait Fetch: Send + Sync {
    /// Returns exactly `range` of an object.
    ///
    /// # Errors
    /// `NotFound` if there is no such object, `UnexpectedEof` if it ends before the range does, and
    /// whatever is wrong with the store.
    fn get(&self, name: &str, range: Range<u64>) -> io::Result<Bytes>;

    /// Returns the length of an object and its last `bytes_max` bytes: all of it, if it is no longer.
    ///
    /// # Errors
    /// As of [`get`](Self::get).
    fn tail(&self, name: &str, bytes_max: u64) -> io::Result<Tail>;

    /// Returns the length of an object.
    ///
    /// # Errors
    /// As of [`get`](Self::get).
    fn head(&self, name: &str) -> io::Result<u64>;
}

/// The end of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The length of the object.
    pub object_bytes: u64,
    /// Its last bytes.
    pub bytes: Bytes,
}

impl Tail {
    /// Returns a range of the object if it lies in these bytes.
    #[must_use]
    pub fn part(&self, range: &Range<u64>) -> Option<Bytes> {
        let start = self.object_bytes.checked_sub(self.bytes.len() as u64)?;
        let (from, to) = (range.start.checked_sub(start)?, range.end.checked_sub(start)?);
        let (from, to) = (usize::try_from(from).ok()?, usize::try_from(to).ok()?);
        (from <= to && to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_has_the_ranges_that_lie_in_it() {
        let tail = Tail { object_bytes: 10, bytes: Bytes::from_static(b"6789") };
        assert_eq!(tail.part(&(6..10)).as_deref(), Some(&b"6789"[..]));
        assert_eq!(tail.part(&(7..9)).as_deref(), Some(&b"78"[..]));
        assert_eq!(tail.part(&(10..10)).as_deref(), Some(&b""[..]));
        for outside in [5..7, 0..3, 9..11, 11..11] {
            assert_eq!(tail.part(&outside), None, "{outside:?}");
        }
        assert_eq!(tail.part(&Range { start: 9, end: 8 }), None);
    }
}
