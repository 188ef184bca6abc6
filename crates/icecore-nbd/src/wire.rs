//! The protocol's numbers and the layout of its messages. All functions are pure: bytes in, bytes
//! out.
#![expect(clippy::big_endian_bytes, reason = "the protocol is big-endian")]

/// The first bytes of the server's greeting, before [`OPTION_MAGIC`].
pub(crate) const GREETING_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// The signature of the second half of the greeting and of each option.
pub(crate) const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
const CHUNK_MAGIC: u32 = 0x668e_33ef;

/// Flags of both sides in the greeting: newstyle option haggling, and no zeros after `EXPORT_NAME`.
pub(crate) const FIXED_NEWSTYLE: u16 = 1;
pub(crate) const NO_ZEROES: u16 = 2;

pub(crate) const OPTION_HEADER_BYTES: usize = 16;
pub(crate) const REQUEST_BYTES: usize = 28;

/// Options that a client may send before it uses an export.
pub(crate) mod option {
    pub(crate) const EXPORT_NAME: u32 = 1;
    pub(crate) const ABORT: u32 = 2;
    pub(crate) const LIST: u32 = 3;
    pub(crate) const STARTTLS: u32 = 5;
    pub(crate) const INFO: u32 = 6;
    pub(crate) const GO: u32 = 7;
    pub(crate) const STRUCTURED_REPLY: u32 = 8;
    pub(crate) const LIST_META_CONTEXT: u32 = 9;
    pub(crate) const SET_META_CONTEXT: u32 = 10;
}

/// Kinds of replies to options.
pub(crate) mod reply {
    pub(crate) const ACK: u32 = 1;
    pub(crate) const SERVER: u32 = 2;
    pub(crate) const INFO: u32 = 3;
    pub(crate) const META_CONTEXT: u32 = 4;
    pub(crate) const ERR_UNSUP: u32 = 0x8000_0001;
    pub(crate) const ERR_POLICY: u32 = 0x8000_0002;
    pub(crate) const ERR_INVALID: u32 = 0x8000_0003;
    pub(crate) const ERR_PLATFORM: u32 = 0x8000_0004;
    pub(crate) const ERR_UNKNOWN: u32 = 0x8000_0006;
    pub(crate) const ERR_SHUTDOWN: u32 = 0x8000_0007;
    pub(crate) const ERR_TOO_BIG: u32 = 0x8000_0009;
}

/// Kinds of information about an export.
pub(crate) mod info {
    pub(crate) const EXPORT: u16 = 0;
    pub(crate) const NAME: u16 = 1;
    pub(crate) const DESCRIPTION: u16 = 2;
    pub(crate) const BLOCK_SIZE: u16 = 3;
}

/// Flags of an export.
pub(crate) mod transmission {
    pub(crate) const HAS_FLAGS: u16 = 1;
    pub(crate) const READ_ONLY: u16 = 1 << 1;
    pub(crate) const SEND_FLUSH: u16 = 1 << 2;
    pub(crate) const SEND_FUA: u16 = 1 << 3;
    pub(crate) const SEND_TRIM: u16 = 1 << 5;
    pub(crate) const SEND_WRITE_ZEROES: u16 = 1 << 6;
    pub(crate) const SEND_DF: u16 = 1 << 7;
    pub(crate) const CAN_MULTI_CONN: u16 = 1 << 8;
    pub(crate) const SEND_CACHE: u16 = 1 << 10;
}

/// Kinds of requests.
pub(crate) mod command {
    pub(crate) const READ: u16 = 0;
    pub(crate) const WRITE: u16 = 1;
    pub(crate) const DISC: u16 = 2;
    pub(crate) const FLUSH: u16 = 3;
    pub(crate) const TRIM: u16 = 4;
    pub(crate) const CACHE: u16 = 5;
    pub(crate) const WRITE_ZEROES: u16 = 6;
    pub(crate) const BLOCK_STATUS: u16 = 7;

    /// Returns the name of a command, for people.
    pub(crate) fn name(command: u16) -> &'static str {
        match command {
            READ => "read",
            WRITE => "write",
            DISC => "disconnect",
            FLUSH => "flush",
            TRIM => "trim",
            CACHE => "cache",
            WRITE_ZEROES => "write zeroes",
            BLOCK_STATUS => "block status",
            _ => "unknown command",
        }
    }
}

/// Flags of a request.
pub(crate) mod flag {
    pub(crate) const FUA: u16 = 1;
    pub(crate) const NO_HOLE: u16 = 1 << 1;
    pub(crate) const DF: u16 = 1 << 2;
    pub(crate) const REQ_ONE: u16 = 1 << 3;
}

/// Kinds of chunks of a structured reply.
pub(crate) mod chunk {
    /// The flag of the last chunk.
    pub(crate) const DONE: u16 = 1;

    pub(crate) const OFFSET_DATA: u16 = 1;
    pub(crate) const OFFSET_HOLE: u16 = 2;
    pub(crate) const BLOCK_STATUS: u16 = 5;
    pub(crate) const ERROR: u16 = 0x8001;
    pub(crate) const ERROR_OFFSET: u16 = 0x8002;
}

/// Flags of an extent in `base:allocation`: it is a hole, and it reads as zeros.
pub(crate) const STATE_HOLE_ZERO: u32 = 1 | 2;

/// A reader that takes numbers from the front of a slice.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes a length and that many bytes, which must be text of at most [`STRING_BYTES_MAX`].
    pub(crate) fn string(&mut self) -> Option<&'a str> {
        let length = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(head).ok().filter(|text| text.len() <= STRING_BYTES_MAX)
    }

    /// Returns whether nothing is left.
    pub(crate) fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// The protocol's limit on the length of a name.
pub(crate) const STRING_BYTES_MAX: usize = 4096;

/// Returns the server's greeting.
pub(crate) fn greeting() -> [u8; 18] {
    let mut bytes = [0; 18];
    bytes[..8].copy_from_slice(&GREETING_MAGIC.to_be_bytes());
    bytes[8..16].copy_from_slice(&OPTION_MAGIC.to_be_bytes());
    bytes[16..].copy_from_slice(&(FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes());
    bytes
}

/// Returns the number and the length of an option, or none if the bytes are not an option.
pub(crate) fn option_header(bytes: &[u8; OPTION_HEADER_BYTES]) -> Option<(u32, u32)> {
    let mut fields = Fields(bytes);
    let magic = fields.u64()?;
    Some((fields.u32()?, fields.u32()?)).filter(|_| magic == OPTION_MAGIC)
}

/// Appends a reply to an option. `data` comes from this program and is short.
pub(crate) fn put_option_reply(to: &mut Vec<u8>, option: u32, kind: u32, data: &[u8]) {
    to.extend(OPTION_REPLY_MAGIC.to_be_bytes());
    to.extend(option.to_be_bytes());
    to.extend(kind.to_be_bytes());
    to.extend(length_of(data).to_be_bytes());
    to.extend(data);
}

/// Returns the data of a `SERVER` reply.
pub(crate) fn server_reply(name: &str, description: &str) -> Vec<u8> {
    [&length_of(name.as_bytes()).to_be_bytes(), name.as_bytes(), description.as_bytes()].concat()
}

/// Returns the data of a `META_CONTEXT` reply.
pub(crate) fn context_reply(id: u32, name: &str) -> Vec<u8> {
    [&id.to_be_bytes(), name.as_bytes()].concat()
}

/// Returns the data of an `INFO` reply with text.
pub(crate) fn info_text(kind: u16, text: &str) -> Vec<u8> {
    [&kind.to_be_bytes(), text.as_bytes()].concat()
}

/// Returns the data of an `INFO` reply with size and flags of an export.
pub(crate) fn info_export(size: u64, flags: u16) -> Vec<u8> {
    [&info::EXPORT.to_be_bytes()[..], &export_reply(size, flags)].concat()
}

/// Returns the data of an `INFO` reply with the block sizes for requests.
pub(crate) fn info_block_size(minimum: u32, preferred: u32, maximum: u32) -> Vec<u8> {
    let sizes = [minimum, preferred, maximum].map(u32::to_be_bytes);
    [&info::BLOCK_SIZE.to_be_bytes()[..], &sizes.concat()].concat()
}

/// Returns the answer to `EXPORT_NAME`, without the zeros.
pub(crate) fn export_reply(size: u64, flags: u16) -> Vec<u8> {
    [&size.to_be_bytes()[..], &flags.to_be_bytes()].concat()
}

fn length_of(data: &[u8]) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}

/// One request, without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) flags: u16,
    pub(crate) command: u16,
    /// The client's cookie, returned with the reply.
    pub(crate) cookie: u64,
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

impl Request {
    /// Returns the request, or none if the bytes are not a request.
    pub(crate) fn decode(bytes: &[u8; REQUEST_BYTES]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let magic = fields.u32()?;
        let (flags, command) = (fields.u16()?, fields.u16()?);
        let (cookie, offset, length) = (fields.u64()?, fields.u64()?, fields.u32()?);
        (magic == REQUEST_MAGIC).then_some(Self { flags, command, cookie, offset, length })
    }

    /// Returns the number of payload bytes that follow the request.
    pub(crate) fn payload_bytes(&self) -> usize {
        if self.command == command::WRITE { self.length as usize } else { 0 }
    }

    /// Returns whether a flag is set.
    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// Returns a simple reply; the data of a read follows it.
pub(crate) fn simple_reply(error: u32, cookie: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&SIMPLE_REPLY_MAGIC.to_be_bytes());
    bytes[4..8].copy_from_slice(&error.to_be_bytes());
    bytes[8..].copy_from_slice(&cookie.to_be_bytes());
    bytes
}

/// Returns the beginning of a chunk, which `length` bytes follow.
fn chunk_header(flags: u16, kind: u16, cookie: u64, length: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&CHUNK_MAGIC.to_be_bytes());
    bytes[4..6].copy_from_slice(&flags.to_be_bytes());
    bytes[6..8].copy_from_slice(&kind.to_be_bytes());
    bytes[8..16].copy_from_slice(&cookie.to_be_bytes());
    bytes[16..].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// Returns the beginning of a chunk of data, which `length` bytes of data follow.
pub(crate) fn data_chunk(flags: u16, cookie: u64, offset: u64, length: u32) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[..20].copy_from_slice(&chunk_header(flags, chunk::OFFSET_DATA, cookie, length.saturating_add(8)));
    bytes[20..].copy_from_slice(&offset.to_be_bytes());
    bytes
}

/// Returns a chunk that says that a range is all zeros.
pub(crate) fn hole_chunk(flags: u16, cookie: u64, offset: u64, length: u32) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..20].copy_from_slice(&chunk_header(flags, chunk::OFFSET_HOLE, cookie, 12));
    bytes[20..28].copy_from_slice(&offset.to_be_bytes());
    bytes[28..].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// Returns a last chunk with an error and a short text, at `offset` if there is one.
pub(crate) fn error_chunk(cookie: u64, error: u32, text: &str, offset: Option<u64>) -> Vec<u8> {
    let kind = if offset.is_some() { chunk::ERROR_OFFSET } else { chunk::ERROR };
    let text_bytes = u16::try_from(text.len()).unwrap_or(0);
    let text = &text.as_bytes()[..usize::from(text_bytes)];
    let offset = offset.map(u64::to_be_bytes);
    let offset = offset.as_ref().map_or(&[][..], |bytes| bytes);
    let body = [&error.to_be_bytes()[..], &text_bytes.to_be_bytes(), text, offset].concat();
    [&chunk_header(chunk::DONE, kind, cookie, length_of(&body))[..], &body].concat()
}

/// Returns a chunk with extents (length, flags) in the context `id`.
pub(crate) fn status_chunk(flags: u16, cookie: u64, id: u32, extents: &[(u32, u32)]) -> Vec<u8> {
    let mut body = Vec::with_capacity(4 + extents.len() * 8);
    body.extend(id.to_be_bytes());
    for (length, flags) in extents {
        body.extend(length.to_be_bytes());
        body.extend(flags.to_be_bytes());
    }
    [&chunk_header(flags, chunk::BLOCK_STATUS, cookie, length_of(&body))[..], &body].concat()
}
