//! A sealed file: what a plain repository has as a small file or as a checkpoint, padded and sealed
//! as one record.
//!
//! ```text
//! 0   magic      8
//! 8   version    u16   1
//! 10  cipher     u8    1: AES-256-GCM, keys by epoch
//! 11  zero       1
//! 12  epoch      u32
//! 16  salt       24
//! 40  the sealed bytes, and their seal of 28 bytes
//! ```

use crate::format::bytes::DecodeError;
use crate::format::bytes::Fields;
use crate::pure::keys::Salt;

/// The length of a [`Header`].
pub(crate) const SEALED_HEADER_BYTES: usize = 40;
/// The number of the cipher: AES-256-GCM with keys by epoch.
pub(crate) const CIPHER_AES_GCM: u8 = 1;

const MAGIC: [u8; 8] = *b"ICESEAL\n";
const VERSION: u16 = 1;

/// What is in the clear of a sealed file. With the master key and the kind of the file, it gives the
/// file's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) epoch: u32,
    pub(crate) salt: Salt,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([CIPHER_AES_GCM, 0]);
        bytes.extend(self.epoch.to_le_bytes());
        bytes.extend(self.salt);
        bytes
    }

    /// Decodes the header at the beginning of a sealed file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields(bytes);
        if fields.array()? != MAGIC {
            return Err(DecodeError::BadMagic { what: "sealed file" });
        }
        let version = fields.u16()?;
        if version != VERSION {
            return Err(DecodeError::BadVersion { found: version, known: VERSION });
        }
        match fields.u8()? {
            CIPHER_AES_GCM => {}
            other => return Err(DecodeError::bad("the cipher of a sealed file", other)),
        }
        fields.reserved(1)?;
        Ok(Self { epoch: fields.u32()?, salt: fields.array()? })
    }
}

/// Tells whether these are the first bytes of a sealed file.
pub(crate) fn looks_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}
