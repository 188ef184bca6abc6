//! Compression and the check of it, as the pipeline does them: each thread keeps its contexts.

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

/// Decodes what was compressed, and compares it.
pub(crate) fn check(raw: &[u8], encoded: &Encoded) -> Result<()> {
    if encoded.codec == Codec::Raw {
        return Ok(());
    }
    let same = DECODER.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(Decoder::new()?);
        }
        let decoder = slot.as_mut().ok_or(io::ErrorKind::Other)?;
        Ok(decoder.decode(encoded.codec, &encoded.bytes, raw.len())? == raw)
    });
    if same.map_err(|error| Error::io("decompressing", error))? {
        return Ok(());
    }
    Err(Error::corrupt("compressed bytes do not decode to what they were made of")
        .with_hint("memory or processor may be damaged"))
}
