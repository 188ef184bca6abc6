//! Execution of requests, and their answers.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use icecore::image::WriteAt;

use crate::clock;
use crate::errno;
use crate::events::Event;
use crate::events::Events;
use crate::extents;
use crate::limits::BLOCK_BYTES;
use crate::limits::REQUEST_BYTES_MAX;
use crate::memory::Buffer;
use crate::memory::Share;
use crate::output::Output;
use crate::session::Session;
use crate::wire;
use crate::wire::Request;
use crate::wire::chunk;
use crate::wire::command;
use crate::wire::flag;

/// The shortest read that is checked for holes: for shorter ones, sending zeros is cheaper.
const SPARSE_BYTES_MIN: u32 = 64 << 10;
/// The longest chunk of data in a reply, so that the data is still in the processor's cache when it
/// is sent.
const CHUNK_BYTES_MAX: u64 = 1 << 20;
/// Zeros to write if holes are not wanted.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

/// A complete request.
pub(crate) struct Job {
    pub(crate) request: Request,
    /// The data to write.
    pub(crate) payload: Option<Buffer>,
    /// The reason to refuse the request, if any.
    pub(crate) refused: Option<u32>,
}

/// The reason why a request was not done.
struct Failure {
    error: u32,
    at: Option<u64>,
}

/// The counters of one connection.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) failed_requests: AtomicU64,
    pub(crate) read_bytes: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
}

/// Returns the reason to refuse a request, if any.
pub(crate) fn refusal(request: &Request, session: &Session) -> Option<u32> {
    let is = |commands: &[u16]| commands.contains(&request.command);
    let flags = match request.command {
        command::READ if session.structured => flag::FUA | flag::DF,
        command::WRITE_ZEROES => flag::FUA | flag::NO_HOLE,
        command::BLOCK_STATUS => flag::FUA | flag::REQ_ONE,
        command::READ | command::WRITE | command::FLUSH | command::TRIM | command::CACHE => flag::FUA,
        _ => return Some(errno::EINVAL),
    };
    if request.flags & !flags != 0 {
        return Some(errno::EINVAL);
    }
    let changes = [command::WRITE, command::TRIM, command::WRITE_ZEROES];
    if is(&changes) && session.disk.writable().is_none() {
        return Some(errno::EPERM);
    }
    if request.command == command::FLUSH {
        return (request.offset != 0 || request.length != 0).then_some(errno::EINVAL);
    }
    let too_long = is(&[command::READ, command::WRITE]) && request.length > REQUEST_BYTES_MAX;
    let unknown =
        request.command == command::BLOCK_STATUS && (!session.structured || session.contexts.is_empty());
    if request.length == 0 || too_long || unknown {
        return Some(errno::EINVAL);
    }
    let end = request.offset.checked_add(u64::from(request.length));
    let beyond = if is(&[command::WRITE, command::WRITE_ZEROES]) { errno::ENOSPC } else { errno::EINVAL };
    end.is_none_or(|end| end > session.size).then_some(beyond)
}

/// A request in progress.
pub(crate) struct Work<'a> {
    pub(crate) connection: u64,
    pub(crate) session: &'a Session,
    pub(crate) output: &'a Output,
    pub(crate) memory: &'a Arc<Share>,
    pub(crate) events: &'a dyn Events,
    pub(crate) counters: &'a Counters,
    /// Whether the disk was written since the last sync.
    pub(crate) dirty: &'a AtomicBool,
    /// Whether the answer may be held back for a moment.
    pub(crate) more: bool,
    /// The time that the disk took.
    pub(crate) disk_time: Cell<Duration>,
}

impl Work<'_> {
    /// Executes the request, and answers. An error is one of the connection, not of the disk.
    pub(crate) fn run(&self, job: Job) -> io::Result<()> {
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let request = &job.request;
        let done = match (job.refused, request.command) {
            (Some(error), _) => Err(Failure { error, at: None }),
            (None, command::READ) => return self.read(request),
            (None, command::BLOCK_STATUS) => return self.block_status(request),
            (None, _) => {
                self.disk(request, || self.change(request, job.payload.as_deref().unwrap_or_default()))
            }
        };
        // Others may want the memory while the answer is sent.
        drop(job.payload);
        match done {
            Ok(()) => self.output.send(&[&wire::simple_reply(0, request.cookie)], self.more),
            Err(failure) => self.fail(request, &failure),
        }
    }

    /// Calls the disk, measures the time, and reports its error.
    fn disk<T>(&self, request: &Request, ask: impl FnOnce() -> io::Result<T>) -> Result<T, Failure> {
        let begun = clock::now();
        let result = ask();
        self.disk_time.set(self.disk_time.get() + begun.elapsed());
        result.map_err(|error| {
            self.events.event(&Event::RequestFailed {
                connection: self.connection,
                export: &self.session.export,
                command: command::name(request.command),
                offset: request.offset,
                length: u64::from(request.length),
                error: &error,
            });
            Failure { error: errno::of(&error), at: None }
        })
    }

    fn fail(&self, request: &Request, failure: &Failure) -> io::Result<()> {
        self.counters.failed_requests.fetch_add(1, Ordering::Relaxed);
        if self.session.structured {
            let chunk =
                wire::error_chunk(request.cookie, failure.error, errno::words(failure.error), failure.at);
            self.output.send(&[&chunk], self.more)
        } else {
            self.output.send(&[&wire::simple_reply(failure.error, request.cookie)], self.more)
        }
    }

    /// Reads from the disk into new memory.
    fn data(&self, request: &Request, offset: u64, length: usize) -> Result<Buffer, Failure> {
        let mut buffer = self.memory.take(length).map_err(|_| Failure { error: errno::ENOMEM, at: None })?;
        self.disk(request, || self.session.disk.read_at(offset, &mut buffer))?;
        self.counters.read_bytes.fetch_add(length as u64, Ordering::Relaxed);
        Ok(buffer)
    }

    fn read(&self, request: &Request) -> io::Result<()> {
        if self.session.structured && !request.has(flag::DF) && request.length >= SPARSE_BYTES_MIN {
            return self.read_in_chunks(request);
        }
        match self.data(request, request.offset, request.length as usize) {
            Err(failure) => self.fail(request, &failure),
            Ok(data) if self.session.structured => {
                let head = wire::data_chunk(chunk::DONE, request.cookie, request.offset, request.length);
                self.output.send(&[&head, &data], self.more)
            }
            Ok(data) => self.output.send(&[&wire::simple_reply(0, request.cookie), &data], self.more),
        }
    }

    /// Answers with chunks of data, and with holes where the disk has some.
    fn read_in_chunks(&self, request: &Request) -> io::Result<()> {
        let (mut at, end) = (request.offset, request.offset + u64::from(request.length));
        let disk = &*self.session.disk;
        while at < end {
            let data = match self.disk(request, || extents::next_data(disk, at, end)) {
                Ok(data) => data,
                Err(failure) => return self.fail(request, &Failure { at: Some(at), ..failure }),
            };
            // Another chunk follows each one except the last at once.
            let last = |until| if until == end { (chunk::DONE, self.more) } else { (0, true) };
            if data.start > at {
                let (flags, more) = last(data.start);
                let head = wire::hole_chunk(flags, request.cookie, at, short(data.start - at));
                self.output.send(&[&head], more)?;
                at = data.start;
            }
            while at < data.end {
                let until = data.end.min(at + CHUNK_BYTES_MAX);
                let length = short(until - at);
                let bytes = match self.data(request, at, length as usize) {
                    Ok(bytes) => bytes,
                    Err(failure) => return self.fail(request, &Failure { at: Some(at), ..failure }),
                };
                let (flags, more) = last(until);
                let head = wire::data_chunk(flags, request.cookie, at, length);
                self.output.send(&[&head, &bytes], more)?;
                at = until;
            }
        }
        Ok(())
    }

    fn block_status(&self, request: &Request) -> io::Result<()> {
        let range = request.offset..request.offset + u64::from(request.length);
        let (one, disk) = (request.has(flag::REQ_ONE), &*self.session.disk);
        let mut reply = Vec::new();
        for (number, (id, context)) in (1..).zip(&self.session.contexts) {
            let flags = if number == self.session.contexts.len() { chunk::DONE } else { 0 };
            match self.disk(request, || extents::of(disk, context, range.clone(), one)) {
                Ok(extents) => reply.extend(wire::status_chunk(flags, request.cookie, *id, &extents)),
                Err(failure) => return self.fail(request, &failure),
            }
        }
        self.output.send(&[&reply], self.more)
    }

    /// Executes a request whose answer has no data.
    fn change(&self, request: &Request, payload: &[u8]) -> io::Result<()> {
        let range = request.offset..request.offset + u64::from(request.length);
        if request.command == command::CACHE {
            self.session.disk.will_need(range);
            return Ok(());
        }
        // A read-only disk has nothing to flush.
        let Some(disk) = self.session.disk.writable() else { return Ok(()) };
        if request.command != command::FLUSH {
            self.dirty.store(true, Ordering::Release);
        }
        match request.command {
            command::WRITE => {
                disk.write_at(range.start, payload)?;
                self.counters.written_bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
            }
            command::WRITE_ZEROES if request.has(flag::NO_HOLE) => write_zeros(disk, range.start, range.end)?,
            command::WRITE_ZEROES => disk.zero_at(range)?,
            command::TRIM => {
                // Partial blocks keep their content; the last block of the disk may be a short one.
                let block = u64::from(BLOCK_BYTES);
                let start = range.start.next_multiple_of(block);
                let end = if range.end == self.session.size { range.end } else { range.end / block * block };
                if start < end {
                    disk.zero_at(start..end)?;
                }
            }
            _ => {}
        }
        if request.command == command::FLUSH || request.has(flag::FUA) {
            sync(disk, self.dirty)?;
        }
        Ok(())
    }
}

/// Syncs a disk, and notes that nothing is left to sync.
pub(crate) fn sync(disk: &dyn WriteAt, dirty: &AtomicBool) -> io::Result<()> {
    // Data written from here on may come too late for this sync.
    let was = dirty.swap(false, Ordering::AcqRel);
    disk.sync().inspect_err(|_| {
        dirty.fetch_or(was, Ordering::AcqRel);
    })
}

fn write_zeros(disk: &dyn WriteAt, mut at: u64, end: u64) -> io::Result<()> {
    while at < end {
        let step = ZEROS.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        disk.write_at(at, &ZEROS[..step])?;
        at += step as u64;
    }
    Ok(())
}

/// Returns the length of a part of a request.
fn short(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
