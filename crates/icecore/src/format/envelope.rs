//! The envelope of small files (config, journal entries, volumes' records): signature, version,
//! length, body, checksum.
//!
//! ```text
//! 0   magic        8
//! 8   major        u16   another major version is refused
//! 10  minor        u16   a newer minor version can be read and not written
//! 12  body length  u32
//! 16  body
//!     checksum     32    over all bytes before it
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::format::bytes::DecodeError;
use crate::format::bytes::Fields;
use crate::format::serial::Decoder;

/// The bytes before the body.
const HEADER_BYTES: usize = 16;

/// The properties of one kind of enveloped file.
pub(crate) struct Envelope {
    pub(crate) what: &'static str,
    pub(crate) magic: [u8; 8],
    pub(crate) major: u16,
    pub(crate) minor: u16,
    /// The longest body.
    pub(crate) bytes_max: usize,
}

/// A body without its envelope.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    pub(crate) minor: u16,
    pub(crate) body: &'a [u8],
    /// How the values in the body are decoded.
    pub(crate) decoder: Decoder,
    /// The checksum at the end.
    pub(crate) checksum: [u8; 32],
}

impl Opened<'_> {
    /// Decodes the body. It skips fields that a newer minor version has appended.
    pub(crate) fn value<T: Serialize + DeserializeOwned>(&self) -> Result<T, DecodeError> {
        self.decoder.value(self.body)
    }
}

impl Envelope {
    /// Wraps `body`; `checksum` computes 32 bytes over everything before them.
    pub(crate) fn seal(
        &self,
        body: &[u8],
        checksum: impl Fn(&[u8]) -> [u8; 32],
    ) -> Result<Vec<u8>, DecodeError> {
        let length = u32::try_from(body.len())
            .ok()
            .filter(|_| body.len() <= self.bytes_max)
            .ok_or(DecodeError::bad("the length of the body", body.len() as u64))?;
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.major.to_le_bytes());
        bytes.extend(self.minor.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(body);
        bytes.extend(checksum(&bytes));
        Ok(bytes)
    }

    /// Checks everything about `bytes` and returns the body.
    pub(crate) fn open<'a>(
        &self,
        bytes: &'a [u8],
        checksum: impl Fn(&[u8]) -> [u8; 32],
    ) -> Result<Opened<'a>, DecodeError> {
        let opened = self.open_unproven(bytes)?;
        if checksum(&bytes[..HEADER_BYTES + opened.body.len()]) != opened.checksum {
            return Err(DecodeError::BadChecksum { what: self.what });
        }
        Ok(opened)
    }

    /// Returns the body without checking the checksum.
    pub(crate) fn open_unproven<'a>(&self, bytes: &'a [u8]) -> Result<Opened<'a>, DecodeError> {
        let mut fields = Fields(bytes);
        if fields.array()? != self.magic {
            return Err(DecodeError::BadMagic { what: self.what });
        }
        let major = fields.u16()?;
        if major != self.major {
            return Err(DecodeError::BadVersion { found: major, known: self.major });
        }
        let minor = fields.u16()?;
        let length = fields.u32()? as usize;
        let body = fields.slice(length)?;
        let stated: [u8; 32] = fields.array()?;
        if !fields.0.is_empty() {
            return Err(DecodeError::Trailing { bytes: fields.0.len() });
        }
        let decoder = Decoder { is_newer: minor > self.minor };
        Ok(Opened { minor, body, decoder, checksum: stated })
    }
}
