//! The control socket of a volume that is served: others ask the process that has it open for snapshots.
//!
//! A request is one line of JSON, and so is the answer. The socket is in the volume's directory, which only its owner can enter.

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

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::exit::kind_name;
use crate::exit::kind_of_name;

const FILE: &str = "control";
/// The longest line that is read.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// What a snapshot is asked for with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// Its name, or none for one made of the volume's name and the time.
    pub(crate) name: Option<String>,
    /// Its tags.
    pub(crate) tags: Vec<String>,
    /// The level of compression.
    pub(crate) level: Option<i32>,
    /// Whether compressed data is checked.
    pub(crate) check: bool,
}

/// A snapshot that was taken.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// Its id.
    pub(crate) id: String,
    /// Bytes that were read for it.
    pub(crate) read_bytes: u64,
    /// Whether nothing had changed.
    pub(crate) unchanged: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Snapshot(Asked),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Taken(Taken),
    Error { kind: String, message: String, hint: Option<String> },
}

/// A directory by a path that is short enough for the address of a socket.
struct ShortDir(File);

impl ShortDir {
    fn open(dir: &Path) -> io::Result<Self> {
        File::open(dir).map(Self)
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}

fn dir_of(repository: &Path, volume: &str) -> PathBuf {
    repository.join("volumes").join(volume)
}

/// Binds the socket of a volume that this process has open, replacing one that was left behind.
pub(crate) fn bind(repository: &Path, volume: &str) -> io::Result<UnixListener> {
    let dir = ShortDir::open(&dir_of(repository, volume))?;
    let path = dir.path(FILE);
    remove(&path)?;
    UnixListener::bind(path)
}

/// Removes the socket of a volume that was served.
pub(crate) fn unbind(repository: &Path, volume: &str) {
    // One that stays is as one that was left behind.
    let _ = ShortDir::open(&dir_of(repository, volume)).and_then(|dir| remove(&dir.path(FILE)));
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn connect(repository: &Path, volume: &str) -> io::Result<UnixStream> {
    let dir = ShortDir::open(&dir_of(repository, volume))?;
    UnixStream::connect(dir.path(FILE))
}

/// Tells whether a process serves a volume.
pub(crate) fn is_served(repository: &Path, volume: &str) -> bool {
    connect(repository, volume).is_ok()
}

/// Wakes up whoever waits for requests at the socket of a volume.
pub(crate) fn wake(repository: &Path, volume: &str) {
    drop(connect(repository, volume));
}

/// Asks the process that serves a volume for a snapshot; none where no process can be asked.
pub(crate) fn ask(repository: &Path, volume: &str, asked: &Asked) -> Result<Option<Result<Taken>>> {
    let Ok(mut stream) = connect(repository, volume) else { return Ok(None) };
    let asking = |error| Error::io(format!("asking the process that serves volume {volume}"), error);
    let mut request = serde_json::to_string(&Request::Snapshot(Asked {
        name: asked.name.clone(),
        tags: asked.tags.clone(),
        ..*asked
    }))
    .map_err(|error| asking(error.into()))?;
    request.push('\n');
    stream.write_all(request.as_bytes()).map_err(asking)?;
    let line = line_of(&stream).map_err(asking)?;
    let answer = serde_json::from_str(&line).map_err(|_| {
        Error::new(ErrorKind::Io, format!("the process that serves volume {volume} ended without an answer"))
            .with_hint("see whether the snapshot was made with `icecore snapshot list`")
    })?;
    Ok(Some(match answer {
        Answer::Taken(taken) => Ok(taken),
        Answer::Error { kind, message, hint } => {
            let error = Error::new(kind_of_name(&kind).unwrap_or(ErrorKind::Io), message);
            Err(match hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            })
        }
    }))
}

/// Answers one request, of which `take` does what is asked. A client that only looks is not answered.
pub(crate) fn answer(stream: &UnixStream, take: impl FnOnce(&Asked) -> Result<Taken>) -> io::Result<()> {
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
            let message = format!("the request cannot be understood: {error}");
            of_error(
                &Error::new(ErrorKind::InvalidInput, message).with_hint("use the same version of icecore"),
            )
        }
    };
    let mut text = serde_json::to_string(&answer)?;
    text.push('\n');
    (&*stream).write_all(text.as_bytes())
}

fn of_error(error: &Error) -> Answer {
    Answer::Error {
        kind: kind_name(error.kind()).to_owned(),
        message: error.to_string(),
        hint: error.hint().map(ToOwned::to_owned),
    }
}

fn line_of(stream: &UnixStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_kind_and_its_hint_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("volumes/web")).unwrap();
        let asked = Asked { name: Some("one".to_owned()), tags: Vec::new(), level: None, check: true };
        assert!(ask(dir.path(), "web", &asked).unwrap().is_none() && !is_served(dir.path(), "web"));
        let listener = bind(dir.path(), "web").unwrap();
        let serving = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            answer(&stream, |asked| {
                assert_eq!(asked.name.as_deref(), Some("one"));
                Err(Error::new(ErrorKind::NoSpace, "the disk is full").with_hint("make room"))
            })
            .unwrap();
        });
        let error = ask(dir.path(), "web", &asked).unwrap().unwrap().unwrap_err();
        serving.join().unwrap();
        assert_eq!((error.kind(), error.hint()), (ErrorKind::NoSpace, Some("make room")));
        assert!(bind(dir.path(), "web").is_ok(), "a socket that was left behind is replaced");
        unbind(dir.path(), "web");
        assert!(!is_served(dir.path(), "web"));
    }

    #[test]
    fn a_request_that_is_no_request_is_answered() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"{\"format\":\"disk\"}\n").unwrap();
        answer(&theirs, |_| panic!("nothing was asked for")).unwrap();
        assert!(line_of(&ours).unwrap().contains("cannot be understood"));
        drop(ours);
        answer(&theirs, |_| panic!("nothing was asked for")).unwrap();
    }
}
