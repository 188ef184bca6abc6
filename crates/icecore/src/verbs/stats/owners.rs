//! The owner, a snapshot, of each block or page of a pack.
use crate::words::sizes::to_u16;

/// No snapshot.
const NONE: u32 = 0;
/// More than one.
const SEVERAL: u32 = u32::MAX;
/// The most snapshots whose numbers fit in 16 bits along with the two values above.
const NARROW_MAX: usize = 0xfffe;

/// The owner of a block or page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Nobody,
    /// Only the snapshot with this number.
    One(u32),
    Several,
}

impl Owner {
    /// Returns the owner of something that has these two owners.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (owner, Self::Nobody) | (Self::Nobody, owner) => owner,
            (one, other) if one == other => one,
            _ => Self::Several,
        }
    }
}

/// The owners of numbered blocks or pages: two bytes each, or four if there are very many
/// snapshots.
pub(crate) enum Owners {
    Narrow(Vec<u16>),
    Wide(Vec<u32>),
}

impl Owners {
    pub(crate) fn new(things: u32, snapshots: usize) -> Self {
        match snapshots {
            0..=NARROW_MAX => Self::Narrow(vec![0; things as usize]),
            _ => Self::Wide(vec![NONE; things as usize]),
        }
    }

    /// Returns the owner at a number; several if the number is out of range.
    pub(crate) fn get(&self, at: u32) -> Owner {
        let word = match self {
            Self::Narrow(words) => match words.get(at as usize) {
                Some(&u16::MAX) | None => SEVERAL,
                Some(word) => u32::from(*word),
            },
            Self::Wide(words) => words.get(at as usize).copied().unwrap_or(SEVERAL),
        };
        match word {
            NONE => Owner::Nobody,
            SEVERAL => Owner::Several,
            number => Owner::One(number - 1),
        }
    }

    /// Notes that a snapshot has the block or page, and returns the owner before.
    pub(crate) fn add(&mut self, at: u32, snapshot: u32) -> Owner {
        let before = self.get(at);
        let word = match before {
            Owner::Nobody => snapshot + 1,
            Owner::One(other) if other != snapshot => SEVERAL,
            Owner::One(_) | Owner::Several => return before,
        };
        match self {
            Self::Narrow(words) => {
                if let Some(at) = words.get_mut(at as usize) {
                    *at = to_u16(word);
                }
            }
            Self::Wide(words) => {
                if let Some(at) = words.get_mut(at as usize) {
                    *at = word;
                }
            }
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_snapshot_that_fits_in_16_bits_is_not_taken_for_several() {
        for snapshots in [1, NARROW_MAX, NARROW_MAX + 1, 100_000] {
            let mut owners = Owners::new(2, snapshots);
            let last = u32::try_from(snapshots - 1).unwrap();
            assert_eq!(owners.add(1, last), Owner::Nobody);
            assert_eq!(owners.add(1, last), Owner::One(last), "{snapshots}");
            assert_eq!(owners.get(0), Owner::Nobody);
            owners.add(1, last + 1);
            assert_eq!(owners.get(1), Owner::Several);
        }
    }
}
