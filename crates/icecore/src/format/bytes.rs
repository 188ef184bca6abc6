//! Reading and writing fixed-width little-endian fields.

use crate::pure::record_cipher::Refused;

/// The error of a decoder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("{need} bytes are needed, but only {got} are there")]
    Truncated { need: u64, got: u64 },
    #[error("{bytes} bytes are left over at the end")]
    Trailing { bytes: usize },
    #[error("it does not start with the signature of a {what}")]
    BadMagic { what: &'static str },
    #[error("its format version is {found}, and this program knows version {known}")]
    BadVersion { found: u16, known: u16 },
    #[error("the checksum of its {what} does not match")]
    BadChecksum { what: &'static str },
    #[error("{what} is {value}, which is invalid")]
    BadValue { what: &'static str, value: u64 },
    #[error("{0}")]
    Serial(String),
    #[error("{0}")]
    Seal(Refused),
}

impl DecodeError {
    pub(crate) fn bad(what: &'static str, value: impl Into<u64>) -> Self {
        Self::BadValue { what, value: value.into() }
    }
}

/// A reader that takes fields from the front of a slice.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (field, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated { need: N as u64, got: self.0.len() as u64 })?;
        self.0 = rest;
        Ok(*field)
    }

    pub(crate) fn slice(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (field, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated { need: len as u64, got: self.0.len() as u64 })?;
        self.0 = rest;
        Ok(field)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes `len` bytes that must be zero: space that a later version may use.
    pub(crate) fn reserved(&mut self, len: usize) -> Result<(), DecodeError> {
        match self.slice(len)?.iter().find(|byte| **byte != 0) {
            Some(byte) => Err(DecodeError::bad("a reserved byte", *byte)),
            None => Ok(()),
        }
    }
}

/// Reads the fixed-width entry `index` of a table, or `None` past its end.
pub(crate) fn table_entry<const N: usize>(table: &[u8], index: usize) -> Option<&[u8; N]> {
    table.as_chunks::<N>().0.get(index)
}
