//! The handshake, before a client uses an export.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::disk::Disk;
use crate::disk::Exports;
use crate::disk::OpenError;
use crate::input::Input;
use crate::input::Wait;
use crate::limits::BLOCK_BYTES;
use crate::limits::REQUEST_BYTES_MAX;
use crate::output::Output;
use crate::session;
use crate::session::Session;
use crate::wire;
use crate::wire::Fields;
use crate::wire::OPTION_HEADER_BYTES;
use crate::wire::info;
use crate::wire::option;
use crate::wire::reply;

/// The longest data of an option to look at, in bytes. Longer data is skipped.
const OPTION_BYTES_MAX: u32 = 64 << 10;
/// The longest data of an option to skip, in bytes. The connection of a client that sends more is
/// closed.
const SKIPPED_BYTES_MAX: u32 = 4 << 20;
/// The most options and queries of one client.
const OPTIONS_MAX: usize = 1024;

/// The handshake with one client.
pub(crate) struct Handshake<'a> {
    pub(crate) exports: &'a dyn Exports,
    pub(crate) input: &'a mut Input,
    pub(crate) output: &'a Output,
    /// The deadline of the handshake.
    pub(crate) due: Instant,
    /// Whether the server is stopping.
    pub(crate) stopping: &'a AtomicBool,
    pub(crate) agreed: Agreed,
}

/// The agreement so far.
#[derive(Default)]
pub(crate) struct Agreed {
    no_zeroes: bool,
    structured: bool,
    /// The export for which contexts were chosen, and the contexts.
    contexts: Option<(String, Vec<(u32, &'static str)>)>,
}

/// A reply to an option: its kind and data. The last one ends the option.
type Reply = (u32, Vec<u8>);

fn refusal(kind: u32, text: &str) -> Reply {
    (kind, text.as_bytes().to_vec())
}

fn invalid() -> Vec<Reply> {
    vec![refusal(reply::ERR_INVALID, "the option is malformed")]
}

fn bad(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Returns the reply for an export that is not opened. It cuts texts to the protocol's limit.
fn not_opened(error: OpenError) -> Reply {
    let (kind, text) = match error {
        OpenError::Unknown => (reply::ERR_UNKNOWN, "there is no such export".to_owned()),
        OpenError::Denied(text) => (reply::ERR_POLICY, text),
        OpenError::Failed(text) => (reply::ERR_PLATFORM, text),
    };
    refusal(kind, &text[..text.floor_char_boundary(wire::STRING_BYTES_MAX)])
}

impl Handshake<'_> {
    /// Talks to the client until it uses an export. Returns none if the client does not want any.
    pub(crate) fn run(mut self) -> io::Result<Option<Session>> {
        self.output.send(&[&wire::greeting()], false)?;
        let mut flags = [0; 4];
        if !self.take(&mut flags)? {
            return Ok(None);
        }
        let flags = Fields(&flags).u32().unwrap_or_default();
        if flags & !u32::from(wire::FIXED_NEWSTYLE | wire::NO_ZEROES) != 0 {
            return Err(bad("the client wants an unknown variant of the protocol"));
        }
        self.agreed.no_zeroes = flags & u32::from(wire::NO_ZEROES) != 0;
        for _ in 0..OPTIONS_MAX {
            let mut header = [0; OPTION_HEADER_BYTES];
            if !self.take(&mut header)? {
                return Ok(None);
            }
            let (option, length) = wire::option_header(&header).ok_or_else(|| bad("not an NBD client"))?;
            if length > OPTION_BYTES_MAX {
                self.pass_over(option, length)?;
                continue;
            }
            let mut data = vec![0; length as usize];
            if !data.is_empty() && !self.take(&mut data)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match option {
                option::EXPORT_NAME => return self.export_name(&data).map(Some),
                option::ABORT => {
                    // A client may leave before it gets the answer.
                    let _ = self.answer(option, vec![(reply::ACK, Vec::new())]);
                    return Ok(None);
                }
                _ => {}
            }
            let (replies, session) = self.option(option, &data);
            self.answer(option, replies)?;
            if session.is_some() {
                return Ok(session);
            }
        }
        Err(bad("the client sent too many options"))
    }

    fn take(&mut self, into: &mut [u8]) -> io::Result<bool> {
        self.input.take(into, &Wait::Until(self.due))
    }

    fn pass_over(&mut self, option: u32, length: u32) -> io::Result<()> {
        if length > SKIPPED_BYTES_MAX || option == option::EXPORT_NAME {
            return Err(bad("an option is too long"));
        }
        self.input.skip(length as usize, &Wait::Until(self.due))?;
        self.answer(option, vec![refusal(reply::ERR_TOO_BIG, "the option is too long")])
    }

    fn answer(&self, option: u32, replies: Vec<Reply>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (kind, data) in replies {
            wire::put_option_reply(&mut bytes, option, kind, &data);
        }
        self.output.send(&[&bytes], false)
    }

    /// Returns the replies to an option, and the session if the client now uses an export.
    fn option(&mut self, option: u32, data: &[u8]) -> (Vec<Reply>, Option<Session>) {
        if self.stopping.load(Ordering::Relaxed) {
            return (vec![refusal(reply::ERR_SHUTDOWN, "the server is stopping")], None);
        }
        let replies = match option {
            option::LIST => self.list(data),
            option::INFO | option::GO => return self.go(option, data),
            option::STRUCTURED_REPLY if data.is_empty() => {
                self.agreed.structured = true;
                vec![(reply::ACK, Vec::new())]
            }
            option::STRUCTURED_REPLY => invalid(),
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => self.contexts(option, data),
            option::STARTTLS => vec![refusal(reply::ERR_UNSUP, "this server has no TLS")],
            _ => vec![refusal(reply::ERR_UNSUP, "unknown option")],
        };
        (replies, None)
    }

    fn list(&self, data: &[u8]) -> Vec<Reply> {
        if !data.is_empty() {
            return invalid();
        }
        let exports = self.exports.list().into_iter();
        let replies =
            exports.map(|export| (reply::SERVER, wire::server_reply(&export.name, &export.description)));
        replies.chain([(reply::ACK, Vec::new())]).collect()
    }

    fn session(&mut self, export: &str, disk: Arc<dyn Disk>) -> Session {
        let contexts = self.agreed.contexts.take().filter(|(name, _)| name == export);
        Session {
            export: export.to_owned(),
            size: disk.len(),
            structured: self.agreed.structured,
            contexts: contexts.map(|(_, contexts)| contexts).unwrap_or_default(),
            disk,
        }
    }

    /// Answers the one option that can only be refused by ending the connection.
    fn export_name(&mut self, data: &[u8]) -> io::Result<Session> {
        let name = str::from_utf8(data).map_err(|_| bad("the name of an export is not text"))?;
        if self.stopping.load(Ordering::Relaxed) {
            return Err(bad("the server is stopping"));
        }
        let disk = self.exports.open(name).map_err(|error| {
            let (_, text) = not_opened(error);
            bad(&String::from_utf8_lossy(&text))
        })?;
        let flags = session::flags(&*disk);
        let session = self.session(name, disk);
        let zeros = if self.agreed.no_zeroes { &[][..] } else { &[0; 124] };
        self.output.send(&[&wire::export_reply(session.size, flags), zeros], false)?;
        Ok(session)
    }

    fn go(&mut self, option: u32, data: &[u8]) -> (Vec<Reply>, Option<Session>) {
        let parse = || {
            let mut fields = Fields(data);
            let name = fields.string()?;
            let count = fields.u16()?;
            let wanted: Vec<u16> = (0..count).map(|_| fields.u16()).collect::<Option<_>>()?;
            fields.end().map(|()| (name, wanted))
        };
        let Some((name, wanted)) = parse() else { return (invalid(), None) };
        let disk = match self.exports.open(name) {
            Ok(disk) => disk,
            Err(error) => return (vec![not_opened(error)], None),
        };
        let mut replies = Vec::new();
        let mut tell = |data| replies.push((reply::INFO, data));
        tell(wire::info_export(disk.len(), session::flags(&*disk)));
        tell(wire::info_block_size(1, BLOCK_BYTES, REQUEST_BYTES_MAX));
        if wanted.contains(&info::NAME) {
            tell(wire::info_text(info::NAME, name));
        }
        if wanted.contains(&info::DESCRIPTION)
            && let Some(export) = self.exports.list().into_iter().find(|export| export.name == name)
        {
            tell(wire::info_text(info::DESCRIPTION, &export.description));
        }
        replies.push((reply::ACK, Vec::new()));
        let session = (option == option::GO).then(|| self.session(name, disk));
        (replies, session)
    }

    fn contexts(&mut self, option: u32, data: &[u8]) -> Vec<Reply> {
        let set = option == option::SET_META_CONTEXT;
        if set {
            self.agreed.contexts = None;
        }
        let parse = || {
            let mut fields = Fields(data);
            let name = fields.string()?;
            let count = fields.u32().filter(|count| *count as usize <= OPTIONS_MAX)?;
            let queries: Vec<&str> = (0..count).map(|_| fields.string()).collect::<Option<_>>()?;
            fields.end().map(|()| (name, queries))
        };
        let (true, Some((name, queries))) = (self.agreed.structured, parse()) else { return invalid() };
        let disk = match self.exports.open(name) {
            Ok(disk) => disk,
            Err(error) => return vec![not_opened(error)],
        };
        let all = !set && queries.is_empty();
        // In a list, a namespace alone stands for everything in it; it selects nothing.
        let asked = |context: &str| {
            queries
                .iter()
                .any(|query| *query == context || !set && query.ends_with(':') && context.starts_with(query))
        };
        let found: Vec<_> = session::contexts(&*disk).filter(|(_, context)| all || asked(context)).collect();
        let tell = |(id, context): &(u32, &'static str)| {
            let id = if set { *id } else { 0 };
            (reply::META_CONTEXT, wire::context_reply(id, context))
        };
        let replies = found.iter().map(tell).chain([(reply::ACK, Vec::new())]).collect();
        if set {
            self.agreed.contexts = Some((name.to_owned(), found));
        }
        replies
    }
}
