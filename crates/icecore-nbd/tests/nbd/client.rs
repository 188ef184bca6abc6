//! A client that says exactly what it is told to, and takes apart what it is answered. Its numbers
//! are written down once more: were they the server's, a wrong one would not be seen.
#![expect(clippy::big_endian_bytes, reason = "the protocol is big-endian")]

use std::collections::BTreeMap;
use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use icecore_nbd::Limits;
use icecore_nbd::Server;

use crate::disks::Ram;
use crate::disks::Shelf;

pub(crate) const READ: u16 = 0;
pub(crate) const WRITE: u16 = 1;
pub(crate) const DISC: u16 = 2;
pub(crate) const FLUSH: u16 = 3;
pub(crate) const TRIM: u16 = 4;
pub(crate) const CACHE: u16 = 5;
pub(crate) const ZEROES: u16 = 6;
pub(crate) const STATUS: u16 = 7;

pub(crate) const FUA: u16 = 1;
pub(crate) const NO_HOLE: u16 = 2;
pub(crate) const DF: u16 = 4;
pub(crate) const REQ_ONE: u16 = 8;

pub(crate) const ERR_UNSUP: u32 = 0x8000_0001;
pub(crate) const ERR_POLICY: u32 = 0x8000_0002;
pub(crate) const ERR_INVALID: u32 = 0x8000_0003;
pub(crate) const ERR_UNKNOWN: u32 = 0x8000_0006;
pub(crate) const ERR_TOO_BIG: u32 = 0x8000_0009;

/// One message after a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// A simple reply: the error.
    Simple(u32),
    /// Data at an offset.
    Data(u64, Vec<u8>),
    /// A hole at an offset.
    Hole(u64, u32),
    /// A context and its extents.
    Status(u32, Vec<(u32, u32)>),
    /// An error, and where.
    Error(u32, Option<u64>),
}

pub(crate) struct Client {
    pub(crate) socket: UnixStream,
    pub(crate) structured: bool,
    cookie: u64,
    /// Of replies that are not complete.
    chunks: BTreeMap<u64, Vec<Told>>,
}

/// Serves disks to one client over a pair of sockets.
pub(crate) fn serve(
    disks: &[(&'static str, &Arc<Ram>)],
    limits: Limits,
) -> (UnixStream, thread::JoinHandle<()>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let disks = disks.iter().map(|(name, disk)| (*name, Arc::clone(disk))).collect();
    let server = Server::new(Arc::new(Shelf(disks)), limits).unwrap();
    (ours, thread::spawn(move || server.serve_one(Arc::new(theirs))))
}

impl Client {
    /// Connects without a word after the greeting.
    pub(crate) fn greet(socket: UnixStream) -> Self {
        Self::greet_with(socket, 3)
    }

    pub(crate) fn greet_with(mut socket: UnixStream, flags: u32) -> Self {
        let mut greeting = [0; 18];
        socket.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"NBDMAGICIHAVEOPT\0\x03");
        socket.write_all(&flags.to_be_bytes()).unwrap();
        Self { socket, structured: false, cookie: 77, chunks: BTreeMap::new() }
    }

    /// Connects to an export of a server of its own.
    pub(crate) fn new(disk: &Arc<Ram>, structured: bool) -> (Self, thread::JoinHandle<()>) {
        let (socket, server) = serve(&[("disk", disk)], Limits::default());
        (Self::go(socket, "disk", structured), server)
    }

    /// Uses an export, with all of its contexts if replies have chunks.
    pub(crate) fn go(socket: UnixStream, export: &str, structured: bool) -> Self {
        let mut client = Self::greet(socket);
        if structured {
            assert_eq!(client.option(8, &[]), [(1, Vec::new())]);
            let contexts = [context_query(export, &["base:allocation", "test:odd"])];
            assert_eq!(client.option(10, &contexts.concat()).len(), 3);
            client.structured = true;
        }
        let replies = client.option(7, &name_query(export, &[]));
        assert_eq!(replies.last(), Some(&(1, Vec::new())));
        client
    }

    pub(crate) fn send_option(&mut self, option: u32, length: u32, data: &[u8]) {
        let header = [&b"IHAVEOPT"[..], &option.to_be_bytes(), &length.to_be_bytes(), data].concat();
        self.socket.write_all(&header).unwrap();
    }

    /// Returns the replies to an option: kinds and data, up to the one that is the last.
    pub(crate) fn option(&mut self, option: u32, data: &[u8]) -> Vec<(u32, Vec<u8>)> {
        self.send_option(option, u32::try_from(data.len()).unwrap(), data);
        self.option_replies(option)
    }

    pub(crate) fn option_replies(&mut self, option: u32) -> Vec<(u32, Vec<u8>)> {
        let mut replies = Vec::new();
        loop {
            assert_eq!(self.u64(), 0x0003_e889_0455_65a9);
            assert_eq!(self.u32(), option);
            let kind = self.u32();
            let length = self.u32();
            replies.push((kind, self.bytes(length as usize)));
            if kind == 1 || kind >= 0x8000_0000 {
                return replies;
            }
        }
    }

    pub(crate) fn send(&mut self, flags: u16, command: u16, offset: u64, length: u32, payload: &[u8]) -> u64 {
        self.cookie += 1;
        self.socket.write_all(&request(flags, command, self.cookie, offset, length, payload)).unwrap();
        self.cookie
    }

    /// Asks for something and returns the whole answer.
    pub(crate) fn ask(&mut self, flags: u16, command: u16, offset: u64, length: u32) -> Vec<Told> {
        let cookie = self.send(flags, command, offset, length, &[]);
        self.answer(cookie, if command == READ { length } else { 0 })
    }

    pub(crate) fn write(&mut self, flags: u16, offset: u64, payload: &[u8]) -> Vec<Told> {
        let cookie = self.send(flags, WRITE, offset, u32::try_from(payload.len()).unwrap(), payload);
        self.answer(cookie, 0)
    }

    /// Reads the answer to the one request that is under way. A simple one is followed by `data`
    /// bytes.
    pub(crate) fn answer(&mut self, cookie: u64, data: u32) -> Vec<Told> {
        let (found, told) = self.reply(|_| data as usize);
        assert_eq!(found, cookie);
        told
    }

    /// Reads the answer to any request, whose chunks may be mixed with those of others. `data`
    /// tells how many bytes follow a simple one.
    pub(crate) fn reply(&mut self, data: impl Fn(u64) -> usize) -> (u64, Vec<Told>) {
        loop {
            let magic = self.u32();
            if magic == 0x6744_6698 {
                let (error, cookie) = (self.u32(), self.u64());
                let mut told = vec![Told::Simple(error)];
                if error == 0 && data(cookie) > 0 {
                    assert!(!self.structured, "a read is answered in chunks");
                    told.push(Told::Data(0, self.bytes(data(cookie))));
                }
                return (cookie, told);
            }
            assert_eq!(magic, 0x668e_33ef);
            let (flags, kind, cookie, length) = (self.u16(), self.u16(), self.u64(), self.u32());
            let body = self.bytes(length as usize);
            self.chunks.entry(cookie).or_default().push(chunk(kind, &body));
            if flags & 1 != 0 {
                return (cookie, self.chunks.remove(&cookie).unwrap());
            }
        }
    }

    /// Returns the bytes of a range, put together from chunks and holes.
    pub(crate) fn read(&mut self, offset: u64, length: u32) -> Result<Vec<u8>, u32> {
        let told = self.ask(0, READ, offset, length);
        let mut bytes = vec![0xee; length as usize];
        let mut known = 0;
        for told in told {
            let (at, part) = match told {
                Told::Simple(0) => continue,
                Told::Simple(error) | Told::Error(error, _) => return Err(error),
                Told::Data(at, part) => (if self.structured { at - offset } else { 0 }, part),
                Told::Hole(at, length) => (at - offset, vec![0; length as usize]),
                Told::Status(..) => panic!("a read has no extents"),
            };
            let at = usize::try_from(at).unwrap();
            bytes[at..at + part.len()].copy_from_slice(&part);
            known += part.len();
        }
        assert_eq!(known, bytes.len());
        Ok(bytes)
    }

    /// Asserts that the server has ended the connection.
    pub(crate) fn assert_end(mut self) {
        let mut rest = Vec::new();
        // Unread bytes of ours turn the end into a reset.
        let _ = self.socket.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{rest:?}");
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.socket.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.socket.read_exact(&mut bytes).unwrap();
        bytes
    }
}

fn chunk(kind: u16, body: &[u8]) -> Told {
    let u32_at = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
    let u64_at = |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().unwrap());
    match kind {
        1 => Told::Data(u64_at(0), body[8..].to_vec()),
        2 => {
            assert_eq!(body.len(), 12);
            Told::Hole(u64_at(0), u32_at(8))
        }
        5 => {
            let extents = (4..body.len()).step_by(8).map(|at| (u32_at(at), u32_at(at + 4)));
            Told::Status(u32_at(0), extents.collect())
        }
        0x8001 | 0x8002 => {
            let text = usize::from(u16::from_be_bytes([body[4], body[5]]));
            let end = 6 + text;
            assert!(text > 0 && str::from_utf8(&body[6..end]).is_ok());
            let offset = (kind == 0x8002).then(|| u64_at(end));
            assert_eq!(body.len(), end + if offset.is_some() { 8 } else { 0 });
            Told::Error(u32_at(0), offset)
        }
        _ => panic!("chunk of kind {kind}"),
    }
}

pub(crate) fn request(
    flags: u16,
    command: u16,
    cookie: u64,
    offset: u64,
    length: u32,
    payload: &[u8],
) -> Vec<u8> {
    let magic = 0x2560_9513_u32.to_be_bytes();
    let (flags, command) = (flags.to_be_bytes(), command.to_be_bytes());
    let (cookie, offset, length) = (cookie.to_be_bytes(), offset.to_be_bytes(), length.to_be_bytes());
    [&magic[..], &flags, &command, &cookie, &offset, &length, payload].concat()
}

pub(crate) fn string(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

/// Returns the data of `INFO` and `GO`.
pub(crate) fn name_query(name: &str, wanted: &[u16]) -> Vec<u8> {
    let count = u16::try_from(wanted.len()).unwrap().to_be_bytes();
    [string(name), count.to_vec(), wanted.iter().flat_map(|wanted| wanted.to_be_bytes()).collect()].concat()
}

/// Returns the data of `LIST_META_CONTEXT` and `SET_META_CONTEXT`.
pub(crate) fn context_query(name: &str, queries: &[&str]) -> Vec<u8> {
    let count = u32::try_from(queries.len()).unwrap().to_be_bytes();
    [string(name), count.to_vec(), queries.iter().flat_map(|query| string(query)).collect()].concat()
}
