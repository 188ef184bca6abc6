//! The server: its connections, and how it stops.

use std::collections::BTreeMap;
use std::io;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;

use crate::channel::Channel;
use crate::clock;
use crate::connection::Connection;
use crate::connection::State;
use crate::disk::Exports;
use crate::events::Event;
use crate::events::Events;
use crate::events::NoEvents;
use crate::events::Report;
use crate::handshake::Agreed;
use crate::handshake::Handshake;
use crate::input::Input;
use crate::limits::Limits;
use crate::memory::Memory;
use crate::output::Output;
use crate::requests::Counters;
use crate::requests::sync;
use crate::session::Session;
use crate::sync::lock;

/// The pause after a connection could not be accepted, for example because too many files are open.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket.
    Unix(UnixListener),
    /// A TCP port, without encryption.
    Tcp(TcpListener),
}

impl Listener {
    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Unix(listener) => listener.set_nonblocking(true),
            Self::Tcp(listener) => listener.set_nonblocking(true),
        }
    }

    fn accept(&self) -> io::Result<Arc<dyn Channel>> {
        Ok(match self {
            Self::Unix(listener) => Arc::new(listener.accept()?.0),
            Self::Tcp(listener) => Arc::new(listener.accept()?.0),
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listener) => listener.as_fd(),
            Self::Tcp(listener) => listener.as_fd(),
        }
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// A server of exports to NBD clients.
pub struct Server {
    shared: Arc<Shared>,
}

/// A handle that stops a server.
#[derive(Clone)]
pub struct Stopper {
    shared: Arc<Shared>,
}

struct Shared {
    exports: Arc<dyn Exports>,
    limits: Limits,
    memory: Arc<Memory>,
    events: Arc<dyn Events>,
    stopping: AtomicBool,
    /// A byte in this socket stops the server; nobody takes it out.
    alarm: (UnixStream, UnixStream),
    live: Mutex<Live>,
    /// Signals that a connection has ended.
    ended: Condvar,
    report: Mutex<Report>,
}

#[derive(Default)]
struct Live {
    channels: BTreeMap<u64, Arc<dyn Channel>>,
    last: u64,
}

impl Server {
    /// Makes a server of `exports`. Fails if the system gives it no sockets.
    pub fn new(exports: Arc<dyn Exports>, limits: Limits) -> io::Result<Self> {
        Self::with_events(exports, limits, Arc::new(NoEvents))
    }

    /// Makes a server that reports to `events`.
    pub fn with_events(
        exports: Arc<dyn Exports>,
        limits: Limits,
        events: Arc<dyn Events>,
    ) -> io::Result<Self> {
        let alarm = UnixStream::pair()?;
        alarm.0.set_nonblocking(true)?;
        let shared = Shared {
            exports,
            limits,
            memory: Memory::new(limits.memory_bytes),
            events,
            stopping: AtomicBool::new(false),
            alarm,
            live: Mutex::default(),
            ended: Condvar::new(),
            report: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Returns a handle that stops the server.
    pub fn stopper(&self) -> Stopper {
        Stopper { shared: Arc::clone(&self.shared) }
    }

    /// Serves the clients that connect, each in its own threads, until the server is stopped. Then
    /// it accepts no more connections, answers the requests that were read, syncs written data and
    /// closes the connections. After that it returns the totals.
    ///
    /// An error is one of waiting for clients; the server then stops in the same way.
    pub fn serve(&self, listeners: &[Listener]) -> io::Result<Report> {
        let served = self.accept_all(listeners);
        self.stopper().stop();
        self.shared.wait_for_all();
        served.map(|()| lock(&self.shared.report).clone())
    }

    /// Serves one client that is already connected, in this thread and others. Returns when it has
    /// left.
    pub fn serve_one(&self, channel: Arc<dyn Channel>) {
        if let Some(id) = self.shared.admit(&channel) {
            self.shared.run(id, &channel);
        }
    }

    /// Returns the totals of the connections that have ended.
    pub fn report(&self) -> Report {
        lock(&self.shared.report).clone()
    }

    fn accept_all(&self, listeners: &[Listener]) -> io::Result<()> {
        listeners.iter().try_for_each(Listener::set_nonblocking)?;
        let alarm = &self.shared.alarm.1;
        loop {
            let sockets = listeners.iter().map(AsFd::as_fd).chain([alarm.as_fd()]);
            let mut fds: Vec<_> = sockets.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            match poll(&mut fds, None) {
                Err(error) if io::Error::from(error).kind() != io::ErrorKind::Interrupted => {
                    return Err(error.into());
                }
                Err(_) => continue,
                Ok(_) => {}
            }
            if fds.last().is_some_and(|alarm| !alarm.revents().is_empty()) {
                return Ok(());
            }
            for (listener, fd) in listeners.iter().zip(&fds) {
                if !fd.revents().is_empty() {
                    self.accept(listener);
                }
            }
        }
    }

    fn accept(&self, listener: &Listener) {
        use io::ErrorKind as Kind;
        let refused = |problem: &str| self.shared.events.event(&Event::Refused { problem });
        let channel = match listener.accept() {
            Ok(channel) => channel,
            // The client has already left.
            Err(error)
                if matches!(error.kind(), Kind::WouldBlock | Kind::ConnectionAborted | Kind::Interrupted) =>
            {
                return;
            }
            Err(error) => {
                refused(&error.to_string());
                // An immediate retry would fail again. The alarm ends the pause.
                let mut alarm = [PollFd::new(&self.shared.alarm.1, PollFlags::IN)];
                let _ = poll(&mut alarm, Some(&PAUSE));
                return;
            }
        };
        let Some(id) = self.shared.admit(&channel) else { return };
        let shared = Arc::clone(&self.shared);
        let of_thread = Arc::clone(&channel);
        let spawned =
            thread::Builder::new().name(format!("nbd-{id}")).spawn(move || shared.run(id, &of_thread));
        if let Err(error) = spawned {
            refused(&error.to_string());
            self.shared.forget(id, &*channel);
        }
    }
}

impl Stopper {
    /// Stops the server, and returns at once.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        // If there is no room for one more byte, one is already in it.
        let _ = (&self.shared.alarm.0).write(&[0]);
        lock(&self.shared.live).channels.values().for_each(|channel| channel.end_receiving());
    }

    /// Returns a socket that stops [`Server::serve`] once a byte is written to it, which a signal
    /// handler may do.
    pub fn waker(&self) -> io::Result<UnixStream> {
        self.shared.alarm.0.try_clone()
    }
}

impl Shared {
    /// Accepts a connection, or closes it if there are too many.
    fn admit(&self, channel: &Arc<dyn Channel>) -> Option<u64> {
        let mut live = lock(&self.live);
        let problem = if self.stopping.load(Ordering::Acquire) {
            "the server is stopping"
        } else if live.channels.len() >= self.limits.connections {
            "there are too many connections"
        } else {
            live.last += 1;
            let id = live.last;
            live.channels.insert(id, Arc::clone(channel));
            return Some(id);
        };
        drop(live);
        channel.end();
        self.events.event(&Event::Refused { problem });
        None
    }

    fn forget(&self, id: u64, channel: &dyn Channel) {
        channel.end();
        lock(&self.live).channels.remove(&id);
        self.ended.notify_all();
    }

    /// Serves an accepted client.
    fn run(&self, id: u64, channel: &Arc<dyn Channel>) {
        lock(&self.report).connections += 1;
        self.events.event(&Event::Connected { connection: id, peer: &channel.peer() });
        let served = catch_unwind(AssertUnwindSafe(|| self.speak(id, channel)));
        let problem = match served {
            Ok(Ok(problem)) => problem,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("an export failed unexpectedly".to_owned()),
        };
        channel.end();
        self.events.event(&Event::Disconnected { connection: id, problem: problem.as_deref() });
        self.forget(id, &**channel);
    }

    /// Serves a client to the end. Returns the problem, if there was one.
    fn speak(&self, id: u64, channel: &Arc<dyn Channel>) -> io::Result<Option<String>> {
        let patience = self.limits.patience;
        channel.set_patience(patience)?;
        let mut input = Input::new(Arc::clone(channel), patience);
        let memory = self.memory.share();
        let output = Output::new(Arc::clone(channel), Arc::clone(&memory));
        let now = clock::now();
        let handshake = Handshake {
            exports: &*self.exports,
            input: &mut input,
            output: &output,
            due: now.checked_add(patience).unwrap_or(now),
            stopping: &self.stopping,
            agreed: Agreed::default(),
        };
        let Some(session) = handshake.run()? else { return Ok(None) };
        self.events.event(&Event::Opened { connection: id, export: &session.export });
        output.be_patient();
        let connection = Connection {
            id,
            channel: &**channel,
            input: Mutex::new(input),
            output: &output,
            session: &session,
            memory: &memory,
            events: &*self.events,
            stopping: &self.stopping,
            threads_max: self.limits.requests.max(1),
            counters: Counters::default(),
            dirty: AtomicBool::new(false),
            state: State::default(),
        };
        let problem = connection.run();
        self.count(&connection.counters);
        if connection.dirty.load(Ordering::Acquire) {
            self.sync(id, &session, &connection.dirty);
        }
        Ok(problem)
    }

    fn count(&self, counters: &Counters) {
        let mut report = lock(&self.report);
        report.requests += counters.requests.load(Ordering::Relaxed);
        report.failed_requests += counters.failed_requests.load(Ordering::Relaxed);
        report.read_bytes += counters.read_bytes.load(Ordering::Relaxed);
        report.written_bytes += counters.written_bytes.load(Ordering::Relaxed);
    }

    /// Syncs the data that a client has written and not flushed.
    fn sync(&self, id: u64, session: &Session, dirty: &AtomicBool) {
        let Some(disk) = session.disk.writable() else { return };
        if let Err(error) = sync(disk, dirty) {
            self.events.event(&Event::RequestFailed {
                connection: id,
                export: &session.export,
                command: "flush at the end",
                offset: 0,
                length: 0,
                error: &error,
            });
            lock(&self.report).unsynced.push(format!("{}: {error}", session.export));
        }
    }

    /// Waits until all connections have ended. After a while it drops clients that do not take
    /// their replies.
    fn wait_for_all(&self) {
        let end_all = |live: &mut Live| live.channels.values().for_each(|channel| channel.end());
        let live = lock(&self.live);
        let waited =
            self.ended.wait_timeout_while(live, self.limits.patience, |live| !live.channels.is_empty());
        let (mut live, _) = waited.unwrap_or_else(PoisonError::into_inner);
        end_all(&mut live);
        let all_gone = self.ended.wait_while(live, |live| !live.channels.is_empty());
        drop(all_gone.unwrap_or_else(PoisonError::into_inner));
    }
}
