//! The only module that calls bincode (version 2, standard configuration: little-endian,
//! variable-length integers).
//!
//! Golden tests pin its bytes and `docs/format.md` describes them, so that another encoder can take
//! over.

use bincode::BorrowDecode;
pub(crate) use bincode::Decode;
pub(crate) use bincode::Encode;
use bincode::config::Configuration;
use bincode::config::Limit;
use bincode::config::LittleEndian;
use bincode::config::Varint;
use bincode::de::BorrowDecoder;
use bincode::de::Decoder as BincodeDecoder;
use bincode::enc::Encoder;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::format::bytes::DecodeError;
use crate::words::ids::ChunkId;
use crate::words::ids::NodeDigest;
use crate::words::ids::PageId;

/// The most bytes that a decoder reads or allocates for: a manifest page with every field at its
/// limit fits.
pub(crate) const SERIAL_BYTES_MAX: usize = 1 << 20;
const CONFIG: Configuration<LittleEndian, Varint, Limit<SERIAL_BYTES_MAX>> =
    bincode::config::standard().with_limit();

/// Encodes a value. Fails only for values that no decoder would accept.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, DecodeError> {
    bincode::serde::encode_to_vec(value, CONFIG).map_err(|error| DecodeError::Serial(error.to_string()))
}

/// Decodes a value that must fill all of `bytes`.
pub(crate) fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) = decode_front(bytes)?;
    if rest == 0 { Ok(value) } else { Err(DecodeError::Trailing { bytes: rest }) }
}

/// Decodes a value at the beginning of `bytes`, and returns the number of bytes left over.
///
/// A value has only one encoding: bincode alone would also accept overlong numbers.
pub(crate) fn decode_front<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), DecodeError> {
    let (value, read) = bincode::serde::decode_from_slice(bytes, CONFIG)
        .map_err(|error| DecodeError::Serial(error.to_string()))?;
    if encode(&value)? != bytes[..read] {
        return Err(DecodeError::Serial("a number is longer than necessary".to_owned()));
    }
    Ok((value, bytes.len() - read))
}

/// Encodes a page, or what differs between two, to the bytes that [`encode`] would give: serde takes
/// each id apart into its bytes, and pages consist of ids.
pub(crate) fn encode_page<T: Encode>(value: &T) -> Result<Vec<u8>, DecodeError> {
    bincode::encode_to_vec(value, CONFIG).map_err(|error| DecodeError::Serial(error.to_string()))
}

/// Decodes what [`encode_page`] encodes, as [`decode`] does.
pub(crate) fn decode_page<T: Encode + Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, read) = bincode::decode_from_slice::<T, _>(bytes, CONFIG)
        .map_err(|error| DecodeError::Serial(error.to_string()))?;
    match bytes.split_at_checked(read) {
        Some((front, [])) if encode_page(&value)? == front => Ok(value),
        Some((_, [])) => Err(DecodeError::Serial("a number is longer than necessary".to_owned())),
        _ => Err(DecodeError::Trailing { bytes: bytes.len().saturating_sub(read) }),
    }
}

/// Ids are encoded as their bytes.
macro_rules! as_bytes {
    ($($id:ident),*) => { $(
        impl Encode for $id {
            fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
                self.0.encode(encoder)
            }
        }

        impl<C> Decode<C> for $id {
            fn decode<D: BincodeDecoder<Context = C>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                Decode::decode(decoder).map(Self)
            }
        }

        impl<'a, C> BorrowDecode<'a, C> for $id {
            fn borrow_decode<D: BorrowDecoder<'a, Context = C>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                Decode::decode(decoder).map(Self)
            }
        }
    )* };
}

as_bytes!(ChunkId, NodeDigest, PageId);

/// How values are decoded: those that a newer minor version has written may have more fields.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decoder {
    pub(crate) is_newer: bool,
}

impl Decoder {
    /// Decodes a value that fills all of `bytes`, or skips the fields that a newer version has
    /// appended.
    pub(crate) fn value<T: Serialize + DeserializeOwned>(self, bytes: &[u8]) -> Result<T, DecodeError> {
        if self.is_newer { Ok(decode_front(bytes)?.0) } else { decode(bytes) }
    }
}
