//! The control socket of an open volume: through it, other processes ask the one that has the
//! volume open for snapshots.
//!
//! The request and the answer are one line of JSON each. The socket is in the volume's directory,
//! which only its owner can enter.

use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;
use std::thread::Scope;

use icecore::Error;
use icecore::ErrorKind;
use icecore::NextStep;
use icecore::Result;
use icecore::volume::Volume;
use icecore::volume::VolumeSnapshotOptions;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use serde::Deserialize;
use serde::Serialize;

const FILE: &str = "control";
/// The longest line to read.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// The pause after a request could not be accepted, for example because too many files are open.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A finished snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub struct Taken {
    /// Bytes read for it.
    pub read_bytes: u64,
    /// Whether nothing had changed.
    pub unchanged: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Snapshot(VolumeSnapshotOptions),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Taken(Taken),
    Error { kind: String, message: String, next: Option<NextStep> },
}

/// Takes a snapshot of a volume that this process has open.
///
/// # Errors
/// Those of [`icecore::volume::snapshot_volume`].
pub fn take(
    volume: &Volume,
    asked: &VolumeSnapshotOptions,
    progress: &dyn icecore::Progress,
) -> Result<Taken> {
    let report = icecore::volume::snapshot_volume(volume, asked, progress)?;
    Ok(Taken { read_bytes: report.read_bytes, unchanged: report.unchanged })
}

/// A directory with a path short enough for the address of a socket, valid as long as this value
/// lives.
#[derive(Debug)]
struct ShortDir(File);

impl ShortDir {
    fn of(dir: &Path) -> io::Result<Self> {
        File::open(dir).map(Self)
    }

    fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{FILE}", self.0.as_raw_fd()))
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn connect(dir: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(ShortDir::of(dir)?.socket())
}

/// Returns whether a process that can be asked for snapshots has a volume open, whose directory
/// this is.
pub fn is_served(dir: &Path) -> bool {
    connect(dir).is_ok()
}

/// Asks the process that has a volume open, whose directory is `dir`, for a snapshot. Returns `None`
/// if no process can be asked.
///
/// # Errors
/// `Io` if the process ends without an answer.
pub fn ask(dir: &Path, volume: &str, asked: &VolumeSnapshotOptions) -> Result<Option<Result<Taken>>> {
    let Ok(mut stream) = connect(dir) else { return Ok(None) };
    let asking = |error| Error::io(format!("asking the process that serves volume {volume}"), error);
    let request = serde_json::to_string(&Request::Snapshot(asked.clone()));
    let mut request = request.map_err(|error| asking(error.into()))?;
    request.push('\n');
    // Even a request that is not read gets an answer: that there is no thread for it.
    let written = stream.write_all(request.as_bytes());
    let line = match (line_of(&stream), written) {
        (Ok(line), _) if !line.is_empty() => line,
        (_, Err(error)) | (Err(error), _) => return Err(asking(error)),
        (Ok(line), Ok(())) => line,
    };
    let answer = serde_json::from_str(&line).map_err(|_| {
        Error::new(ErrorKind::Io, format!("the process that serves volume {volume} ended without an answer"))
            .with_hint("see whether the snapshot was made with `icecore snapshot list`")
    })?;
    Ok(Some(match answer {
        Answer::Taken(taken) => Ok(taken),
        Answer::Error { kind, message, next } => {
            let error = Error::new(ErrorKind::of_word(&kind).unwrap_or(ErrorKind::Io), message);
            Err(match next {
                Some(next) => error.with_hint(next),
                None => error,
            })
        }
    }))
}

/// The control socket of a volume that this process has open. Dropping it removes the socket;
/// separate threads still answer the requests that have begun.
#[derive(Debug)]
pub struct Socket {
    dir: ShortDir,
    /// Closing this ends the wait for requests.
    alarm: Option<UnixStream>,
    waiting: Option<JoinHandle<()>>,
}

impl Socket {
    /// Creates the socket of a volume in its directory, replacing one that was left behind, and
    /// serves its requests with `take`.
    ///
    /// # Errors
    /// Those of the file system and of sockets.
    pub fn listen(
        dir: &Path,
        volume: &str,
        take: impl Fn(&VolumeSnapshotOptions) -> Result<Taken> + Send + Sync + 'static,
    ) -> Result<Self> {
        let doing = |error| Error::io(format!("creating the control socket of volume {volume}"), error);
        let bind = || {
            let dir = ShortDir::of(dir)?;
            remove(&dir.socket())?;
            let listener = UnixListener::bind(dir.socket())?;
            listener.set_nonblocking(true)?;
            Ok((dir, listener, UnixStream::pair()?))
        };
        let (dir, listener, (alarm, ear)) = bind().map_err(doing)?;
        let waiting = thread::Builder::new().name("control".to_owned());
        let waiting = waiting.spawn(move || wait(&listener, &ear, &take)).map_err(Error::no_thread)?;
        Ok(Self { dir, alarm: Some(alarm), waiting: Some(waiting) })
    }

    /// Accepts no more requests, and waits until the running ones are answered.
    pub fn stop(mut self) {
        self.end();
        // A thread that failed no longer waits for anything.
        let _ = self.waiting.take().map(JoinHandle::join);
    }

    fn end(&mut self) {
        if self.alarm.take().is_some() {
            // A socket that stays counts as one that was left behind.
            let _ = remove(&self.dir.socket());
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.end();
    }
}

/// Accepts requests until the other end of `ear` is closed. A shortage of files or threads fails
/// only the request that meets it.
fn wait(
    listener: &UnixListener,
    ear: &UnixStream,
    take: &(impl Fn(&VolumeSnapshotOptions) -> Result<Taken> + Sync),
) {
    thread::scope(|threads| {
        loop {
            let ended = |fds: &[PollFd<'_>]| fds.first().is_some_and(|ear| !ear.revents().is_empty());
            let mut fds = [PollFd::new(ear, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
            // A signal may interrupt the wait.
            let _ = poll(&mut fds, None);
            if ended(&fds) {
                break;
            }
            match listener.accept() {
                Ok((stream, _)) => take_up(threads, Arc::new(stream), take),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a request for a snapshot yet");
                    // An immediate retry would fail again.
                    let _ = poll(&mut fds[..1], Some(&PAUSE));
                }
            }
        }
    });
}

/// Answers one request in a new thread, or answers that there is no thread for it.
fn take_up<'scope>(
    threads: &'scope Scope<'scope, '_>,
    stream: Arc<UnixStream>,
    take: &'scope (impl Fn(&VolumeSnapshotOptions) -> Result<Taken> + Sync),
) {
    let of_thread = Arc::clone(&stream);
    let work = move || {
        // A client that went away gets no answer.
        let _ = answer(&of_thread, take);
    };
    if let Err(error) = thread::Builder::new().spawn_scoped(threads, work) {
        let _ = write(&stream, &of_error(&Error::no_thread(error)));
    }
}

fn write(mut stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut text = serde_json::to_string(answer)?;
    text.push('\n');
    stream.write_all(text.as_bytes())
}

/// Answers one request. A client that connects and asks nothing gets no answer.
fn answer(stream: &UnixStream, take: impl FnOnce(&VolumeSnapshotOptions) -> Result<Taken>) -> io::Result<()> {
    let line = line_of(stream)?;
    if line.is_empty() {
        return Ok(());
    }
    let answer = match serde_json::from_str(&line) {
        Ok(Request::Snapshot(asked)) => match take(&asked) {
            Ok(taken) => Answer::Taken(taken),
            Err(error) => of_error(&error),
        },
        Err(error) => {
            let message = format!("cannot parse the request: {error}");
            of_error(
                &Error::new(ErrorKind::InvalidInput, message).with_hint("use the same version of icecore"),
            )
        }
    };
    write(stream, &answer)
}

fn of_error(error: &Error) -> Answer {
    Answer::Error {
        kind: error.kind().word().to_owned(),
        message: error.to_string(),
        next: error.next_step().cloned(),
    }
}

fn line_of(stream: &UnixStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use icecore::snapshot::SnapshotId;
    use uuid::Uuid;

    use super::*;

    fn asked() -> VolumeSnapshotOptions {
        VolumeSnapshotOptions {
            tags: vec!["a".to_owned()],
            ..VolumeSnapshotOptions::new(SnapshotId(Uuid::nil()), 7, "one")
        }
    }

    #[test]
    fn an_error_keeps_its_kind_and_its_hint_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        assert!(ask(dir.path(), "web", &asked()).unwrap().is_none() && !is_served(dir.path()));
        let full = |asked: &VolumeSnapshotOptions| {
            assert_eq!((&*asked.name, asked.created_unix_ms), ("one", 7));
            Err(Error::new(ErrorKind::NoSpace, "the disk is full").with_hint("make room"))
        };
        let socket = Socket::listen(dir.path(), "web", full).unwrap();
        let error = ask(dir.path(), "web", &asked()).unwrap().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.next_step()), (ErrorKind::NoSpace, Some(&"make room".into())));
        // As after a kill of the process.
        std::mem::forget(socket);
        let socket = Socket::listen(dir.path(), "web", |_| Ok(Taken { read_bytes: 5, unchanged: false }));
        assert_eq!(ask(dir.path(), "web", &asked()).unwrap().unwrap().unwrap().read_bytes, 5);
        socket.unwrap().stop();
        assert!(!is_served(dir.path()));
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }

    #[test]
    fn a_request_that_is_no_request_is_answered() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"{\"format\":\"disk\"}\n").unwrap();
        answer(&theirs, |_| panic!("nothing was asked for")).unwrap();
        assert!(line_of(&ours).unwrap().contains("cannot parse"));
        drop(ours);
        answer(&theirs, |_| panic!("nothing was asked for")).unwrap();
    }
}
