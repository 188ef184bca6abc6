//! A client that uses an export. Threads take turns: one reads a request from the client while the
//! others work.

use std::cell::Cell;
use std::io;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::Scope;
use std::time::Duration;

use crate::channel::Channel;
use crate::errno;
use crate::events::Events;
use crate::input::Input;
use crate::input::Wait;
use crate::memory::Share;
use crate::output::Output;
use crate::pace::Pace;
use crate::requests::Counters;
use crate::requests::Job;
use crate::requests::Work;
use crate::requests::refusal;
use crate::session::Session;
use crate::sync::lock;
use crate::wire::REQUEST_BYTES;
use crate::wire::Request;
use crate::wire::command;

/// The longest refused payload to skip, in bytes. The connection of a client that sends more is
/// closed.
const SKIPPED_BYTES_MAX: usize = 128 << 20;

/// The state that the threads of a connection share.
pub(crate) struct Connection<'a> {
    pub(crate) id: u64,
    pub(crate) channel: &'a dyn Channel,
    pub(crate) input: Mutex<Input>,
    pub(crate) output: &'a Output,
    pub(crate) session: &'a Session,
    pub(crate) memory: &'a Arc<Share>,
    pub(crate) events: &'a dyn Events,
    /// Whether the server is stopping.
    pub(crate) stopping: &'a AtomicBool,
    pub(crate) threads_max: usize,
    pub(crate) counters: Counters,
    /// Whether the disk was written since the last sync.
    pub(crate) dirty: AtomicBool,
    pub(crate) state: State,
}

/// The turns of the threads.
#[derive(Default)]
pub(crate) struct State {
    pace: Pace,
    /// Whether no further request is read.
    ended: AtomicBool,
    problem: Mutex<Option<String>>,
    threads: AtomicUsize,
    /// The number of threads that wait for their turn to read.
    waiting: AtomicUsize,
}

impl Connection<'_> {
    /// Serves the client until it leaves or the server stops, and all its requests are answered.
    /// Returns the problem, if there was one.
    pub(crate) fn run(&self) -> Option<String> {
        self.state.threads.store(1, Ordering::Relaxed);
        self.state.waiting.store(1, Ordering::Relaxed);
        thread::scope(|scope| self.work(scope));
        lock(&self.state.problem).take()
    }

    /// Works, and ends the connection if the disk panics: other connections continue.
    fn work<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        let worked = catch_unwind(AssertUnwindSafe(|| self.take_turns(scope)));
        match worked {
            Ok(Ok(())) => self.end(None),
            Ok(Err(error)) => self.end(Some(&error.to_string())),
            Err(_) => self.end(Some("a request failed unexpectedly")),
        }
    }

    fn end(&self, problem: Option<&str>) {
        if !self.state.ended.swap(true, Ordering::AcqRel) {
            *lock(&self.state.problem) = problem.map(str::to_owned);
        }
        // The reading thread would wait for a client whose connection is over.
        self.channel.end_receiving();
        // If this fails, the client is gone.
        let _ = self.output.flush();
    }

    fn take_turns<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) -> io::Result<()> {
        loop {
            let mut input = lock(&self.input);
            self.state.waiting.fetch_sub(1, Ordering::Relaxed);
            let job = loop {
                let Some(job) = self.next(&mut input)? else { return Ok(()) };
                if self.threads_max > 1 && self.state.pace.is_slow(&job.request) {
                    break job;
                }
                self.serve(job, input.holds_a_request())?;
            };
            self.output.flush()?;
            self.call_another(scope);
            drop(input);
            self.serve(job, false)?;
            self.state.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Makes sure that a thread waits for the turn, if one more thread is allowed.
    fn call_another<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        // Only the thread that has the turn starts threads.
        let threads = self.state.threads.load(Ordering::Relaxed);
        if self.state.waiting.load(Ordering::Relaxed) > 0 || threads >= self.threads_max {
            return;
        }
        self.state.threads.store(threads + 1, Ordering::Relaxed);
        self.state.waiting.fetch_add(1, Ordering::Relaxed);
        let name = format!("nbd-{}-{threads}", self.id);
        if thread::Builder::new().name(name).spawn_scoped(scope, || self.work(scope)).is_err() {
            // Without another thread, the present ones do the work.
            self.state.threads.store(threads, Ordering::Relaxed);
            self.state.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn serve(&self, job: Job, more: bool) -> io::Result<()> {
        let work = Work {
            connection: self.id,
            session: self.session,
            output: self.output,
            memory: self.memory,
            events: self.events,
            counters: &self.counters,
            dirty: &self.dirty,
            more,
            disk_time: Cell::new(Duration::ZERO),
        };
        work.run(job)?;
        self.state.pace.note(work.disk_time.get());
        Ok(())
    }

    /// Reads the next request. Returns none if there are no more.
    fn next(&self, input: &mut Input) -> io::Result<Option<Job>> {
        if self.state.ended.load(Ordering::Acquire) || self.stopping.load(Ordering::Acquire) {
            return Ok(None);
        }
        let mut header = [0; REQUEST_BYTES];
        if !input.take(&mut header, &Wait::Unless(&|| false))? {
            return Ok(None);
        }
        let request = Request::decode(&header).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the client sent something that is not a request")
        })?;
        if request.command == command::DISC {
            return Ok(None);
        }
        let mut refused = refusal(&request, self.session);
        let mut payload = None;
        let length = request.payload_bytes();
        if length > 0 {
            // A client that holds memory must not be slow while others wait for it.
            let wait = Wait::Unless(&|| self.memory.is_short());
            match self.memory.take(if refused.is_none() { length } else { 0 }) {
                Ok(mut buffer) if refused.is_none() => {
                    if !input.take(&mut buffer, &wait)? {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    payload = Some(buffer);
                }
                outcome => {
                    refused = refused.or(outcome.is_err().then_some(errno::ENOMEM));
                    if length > SKIPPED_BYTES_MAX {
                        let problem = "the client writes more in one request than is allowed";
                        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
                    }
                    input.skip(length, &wait)?;
                }
            }
        }
        Ok(Some(Job { request, payload, refused }))
    }
}
