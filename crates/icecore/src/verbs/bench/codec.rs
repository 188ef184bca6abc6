//! Compresses and decompresses as the pipeline does: each thread keeps its contexts.

use std::cell::RefCell;
use std::io;

use crate::pure::compress::Codec;
use crate::pure::compress::Decoder;
use crate::pure::compress::Encoded;
use crate::pure::compress::Encoder;
use crate::words::error::Error;
use crate::words::error::Result;

thread_local! {
    static ENCODER: RefCell<Option<(i32, Encoder)>> = const { RefCell::new(None) };
    static DECODER: RefCell<Option<Decoder>> = const { RefCell::new(None) };
}

/// Compresses at a level.
pub(crate) fn encode(level: i32, raw: &[u8]) -> Result<Encoded> {
    let encoded = ENCODER.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(with, _)| *with != level) {
            *slot = Some((level, Encoder::new(level, false)?));
        }
        slot.as_mut().ok_or(io::ErrorKind::Other)?.1.encode(raw)
    });
    encoded.map_err(|error| Error::io("compressing", error))
}

/// Decodes compressed data. Returns the number of decoded bytes.
pub(crate) fn decode(encoded: &Encoded, raw_bytes: usize) -> Result<usize> {
    if encoded.codec == Codec::Raw {
        return Ok(raw_bytes);
    }
    let decoded = DECODER.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(Decoder::new()?);
        }
        let decoder = slot.as_mut().ok_or(io::ErrorKind::Other)?;
        Ok(decoder.decode(encoded.codec, &encoded.bytes, raw_bytes)?.len())
    });
    decoded.map_err(|error| Error::io("decompressing", error))
}
