//! Block status: which parts of a disk have data.

use std::io;
use std::ops::Range;

use crate::disk::Disk;
use crate::session::ALLOCATION;
use crate::wire::STATE_HOLE_ZERO;

/// The most extents in one reply. A client asks again for the rest.
const EXTENTS_MAX: usize = 1024;

/// Consecutive extents up to the end of a range. Neighbours with the same flags are joined.
struct Extents {
    list: Vec<(u32, u32)>,
    left: u64,
    max: usize,
}

impl Extents {
    /// Adds an extent. Returns whether there is room for more.
    fn add(&mut self, length: u64, flags: u32) -> bool {
        let length = length.min(self.left);
        let Ok(short) = u32::try_from(length) else { return false };
        if short > 0 {
            let full = self.list.len() == self.max;
            match self.list.last_mut() {
                Some((last, same)) if *same == flags => match last.checked_add(short) {
                    Some(sum) => *last = sum,
                    None => return false,
                },
                _ if full => return false,
                _ => self.list.push((short, flags)),
            }
        }
        self.left -= length;
        self.left > 0
    }
}

/// Returns extents (length, flags) that begin where `range` does and do not go beyond it: only the
/// first, if `one`. `range` is not longer than a request can be.
pub(crate) fn of(
    disk: &dyn Disk,
    context: &str,
    range: Range<u64>,
    one: bool,
) -> io::Result<Vec<(u32, u32)>> {
    let max = if one { 1 } else { EXTENTS_MAX };
    let mut extents = Extents { list: Vec::new(), left: range.end - range.start, max };
    if context == ALLOCATION {
        allocation(disk, range, &mut extents)?;
    } else {
        for (length, flags) in disk.status(context, range)? {
            if !extents.add(length, flags) {
                break;
            }
        }
    }
    if extents.list.is_empty() {
        return Err(io::Error::other("the disk reported nothing about a range"));
    }
    Ok(extents.list)
}

fn allocation(disk: &dyn Disk, range: Range<u64>, extents: &mut Extents) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let data = next_data(disk, at, range.end)?;
        if !extents.add(data.start - at, STATE_HOLE_ZERO) || !extents.add(data.end - data.start, 0) {
            break;
        }
        at = data.end;
    }
    Ok(())
}

/// Returns the first range with data between `at` and `end`; an empty range at `end` if there is
/// none.
pub(crate) fn next_data(disk: &dyn Disk, at: u64, end: u64) -> io::Result<Range<u64>> {
    let Some(data) = disk.next_data(at)? else { return Ok(end..end) };
    let (start, end) = (data.start.clamp(at, end), data.end.clamp(at, end));
    // An extent that ends before it begins would make this loop endless.
    if data.end <= at {
        Err(io::Error::other("the disk reported data that does not exist"))
    } else {
        Ok(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_joined_and_end_with_the_range() {
        let mut extents = Extents { list: Vec::new(), left: 100, max: 2 };
        assert!(extents.add(10, 0) && extents.add(0, 3) && extents.add(10, 0) && extents.add(20, 3));
        assert_eq!(extents.list, [(20, 0), (20, 3)]);
        assert!(extents.add(1, 3) && !extents.add(5, 0), "a third is too many");
        assert!(!extents.add(u64::MAX, 3), "it ends with the range");
        assert_eq!(extents.list, [(20, 0), (80, 3)]);
    }
}
