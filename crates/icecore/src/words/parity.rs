//! Parity schemes.

use std::fmt;
use std::str::FromStr;

/// The most packs in a group.
const PACKS_MAX: u8 = 64;
/// The most parity files for a group.
const FILES_MAX: u8 = 16;

/// A parity scheme: how many packs share how many parity files. As many packs of a group as it has
/// parity files can be recovered when they are lost or damaged. Written `10+2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParityScheme {
    packs: u8,
    files: u8,
}

/// The error for an invalid parity scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a parity scheme: write PACKS+PARITY, such as 10+2, with 1 to {PACKS_MAX} packs and 1 to {FILES_MAX} parity files"
)]
pub struct BadScheme;

impl ParityScheme {
    /// Returns the scheme with groups of up to `packs` packs and `files` parity files.
    ///
    /// # Errors
    /// If either number is zero, or there are more than 64 packs or 16 parity files.
    pub fn new(packs: u8, files: u8) -> Result<Self, BadScheme> {
        let fits = (1..=PACKS_MAX).contains(&packs) && (1..=FILES_MAX).contains(&files);
        fits.then_some(Self { packs, files }).ok_or(BadScheme)
    }

    /// Returns the most packs in a group.
    pub fn packs(self) -> u8 {
        self.packs
    }

    /// Returns the number of parity files of a group.
    pub fn files(self) -> u8 {
        self.files
    }
}

impl fmt::Display for ParityScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.packs, self.files)
    }
}

impl FromStr for ParityScheme {
    type Err = BadScheme;

    fn from_str(text: &str) -> Result<Self, BadScheme> {
        let (packs, files) = text.split_once('+').ok_or(BadScheme)?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(packs) || !is_number(files) {
            return Err(BadScheme);
        }
        Self::new(packs.parse().map_err(|_| BadScheme)?, files.parse().map_err(|_| BadScheme)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_survives_its_text_form_and_nothing_else_parses() {
        assert_eq!("10+2".parse(), ParityScheme::new(10, 2));
        assert_eq!(ParityScheme::new(64, 16).unwrap().to_string(), "64+16");
        for text in
            ["", "10", "+2", "10+", "10+0", "0+2", "65+2", "10+17", "10+2+1", " 10+2", "+10+2", "300+2"]
        {
            assert_eq!(text.parse::<ParityScheme>(), Err(BadScheme), "{text:?}");
        }
    }
}
