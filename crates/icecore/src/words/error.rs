//! Errors: a program matches on the kind, a person reads the message and the next step.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::words::next_step::NextStep;

/// The result of everything that can fail in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error. Exit codes and HTTP statuses follow from it, never from text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// An argument or an image does not fit the request.
    InvalidInput,
    /// A named snapshot, repository, file or device does not exist.
    NotFound,
    /// A name or a file already exists.
    AlreadyExists,
    /// The object is in use: a lock, a mount, a protected or pinned snapshot.
    InUse,
    /// Stored bytes are damaged.
    Corrupt,
    /// The repository needs a feature or a version that this program lacks, or something that its
    /// file system lacks.
    Unsupported,
    /// The file system is full.
    NoSpace,
    /// The place cannot be written, or this user may not read it.
    PermissionDenied,
    /// The image changed in size during the capture.
    ImageChanged,
    /// The process is out of file descriptors, threads or memory. This says nothing about the
    /// stored data.
    OutOfResources,
    /// The caller asked to stop.
    Interrupted,
    /// Any other failure of the operating system or the medium.
    Io,
}

impl ErrorKind {
    /// All kinds, each with its word for programs.
    const WORDS: [(Self, &'static str); 12] = [
        (Self::InvalidInput, "invalid_input"),
        (Self::NotFound, "not_found"),
        (Self::AlreadyExists, "already_exists"),
        (Self::InUse, "in_use"),
        (Self::Corrupt, "corrupt"),
        (Self::Unsupported, "unsupported"),
        (Self::NoSpace, "no_space"),
        (Self::Io, "io"),
        (Self::PermissionDenied, "permission_denied"),
        (Self::ImageChanged, "image_changed"),
        (Self::OutOfResources, "out_of_resources"),
        (Self::Interrupted, "interrupted"),
    ];

    /// Returns all kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::WORDS.iter().map(|(kind, _)| *kind)
    }

    /// Returns the word for this kind, in lower case with underscores.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(kind, _)| *kind == self).map_or("io", |(_, word)| word)
    }

    /// Returns the kind with this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
    }
}

/// An error that stopped an operation: its kind, what happened to which object, and the next step.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    next: Option<NextStep>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Returns an error of `kind`. The message names the object, in a sentence without a period.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), next: None, source: None }))
    }

    /// Returns an error for a failed system call; `doing` names the action and its object.
    pub fn io(doing: impl Into<String>, source: io::Error) -> Self {
        let kind = match source.kind() {
            _ if is_shortage(&source) => ErrorKind::OutOfResources,
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                ErrorKind::PermissionDenied
            }
            io::ErrorKind::ResourceBusy => ErrorKind::InUse,
            io::ErrorKind::InvalidData => ErrorKind::Corrupt,
            io::ErrorKind::Unsupported => ErrorKind::Unsupported,
            // An argument that the system refuses is not one that a person gave.
            io::ErrorKind::InvalidInput if source.raw_os_error().is_some() => ErrorKind::Io,
            io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
                ErrorKind::InvalidInput
            }
            _ => ErrorKind::Io,
        };
        let hint = match kind {
            // What is no error of the system says itself what to do.
            _ if is_worded(&source) => None,
            ErrorKind::NoSpace => Some("free some space on the full file system"),
            ErrorKind::PermissionDenied if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Some("its file system is mounted read-only")
            }
            ErrorKind::PermissionDenied => {
                Some("run as the user who owns it, or have that user change its permissions")
            }
            ErrorKind::OutOfResources if source.kind() == io::ErrorKind::OutOfMemory => {
                Some("end other programs, or give this one more memory")
            }
            ErrorKind::OutOfResources => Some(
                "let this process open more files (`ulimit -n` in a shell, LimitNOFILE= in a systemd unit)",
            ),
            _ => None,
        };
        let error = Self::new(kind, doing).with_source(source);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    /// Returns an error for a failed system call on the repository, where icecore itself can free
    /// space.
    pub(crate) fn stored_io(doing: impl Into<String>, source: io::Error) -> Self {
        let is_worded = is_worded(&source);
        let error = Self::io(doing, source);
        match error.kind() {
            ErrorKind::NoSpace if !is_worded => error.with_hint(NextStep::FreeRepositorySpace),
            _ => error,
        }
    }

    /// Returns the error for a thread that the system refuses.
    pub fn no_thread(source: io::Error) -> Self {
        Self::new(ErrorKind::OutOfResources, "starting a thread").with_source(source).with_hint(
            "let this process have more threads (`ulimit -u` in a shell, TasksMax= in a systemd unit), or end other programs",
        )
    }

    /// Returns an error for damaged stored bytes.
    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// Returns the error for a caller that asked to stop.
    pub(crate) fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted")
    }

    /// Returns the error for a worker thread that ended without a result, which only a bug can
    /// cause.
    pub(crate) fn worker_lost() -> Self {
        Self::new(ErrorKind::Io, "a worker thread ended without a result")
    }

    /// Adds the next step for the person who reads the error: an operation of icecore, or words.
    #[must_use]
    pub fn with_hint(mut self, next: impl Into<NextStep>) -> Self {
        self.0.next = Some(next.into());
        self
    }

    /// Adds a next step, unless the system's answer already gave one.
    #[must_use]
    pub(crate) fn or_hint(self, next: impl Into<NextStep>) -> Self {
        if self.0.next.is_some() { self } else { self.with_hint(next) }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Puts `context` in front of the message: the larger operation that failed because of this.
    #[must_use]
    pub fn in_context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// Returns whether this process lacks permission or resources, so that the error says nothing
    /// about the stored data.
    pub(crate) fn says_nothing_of_what_is_stored(&self) -> bool {
        matches!(self.kind(), ErrorKind::OutOfResources | ErrorKind::PermissionDenied)
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the next step, if there is one.
    pub fn next_step(&self) -> Option<&NextStep> {
        self.0.next.as_ref()
    }
}

/// Returns whether an error comes with a text of its own, rather than from the system.
fn is_worded(error: &io::Error) -> bool {
    error.get_ref().is_some()
}

/// Returns whether a system call failed because this process, or the system, has too few
/// descriptors or too little memory.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    /// EMFILE: this process has too many files open. ENFILE: all processes together have.
    const TOO_MANY_FILES: [i32; 2] = [24, 23];
    error.kind() == io::ErrorKind::OutOfMemory
        || error.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code))
}

/// For traits that fail with errors of the operating system. The original error is inside, and can
/// be taken out again.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Corrupt => io::ErrorKind::InvalidData,
            ErrorKind::NoSpace => io::ErrorKind::StorageFull,
            ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
            ErrorKind::InUse => io::ErrorKind::ResourceBusy,
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
            ErrorKind::InvalidInput => io::ErrorKind::InvalidInput,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            ErrorKind::OutOfResources => io::ErrorKind::OutOfMemory,
            ErrorKind::ImageChanged | ErrorKind::Interrupted | ErrorKind::Io => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_and_comes_with_a_way_out() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let error = Error::stored_io("writing pack 12", full());
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert_eq!(error.next_step(), Some(&NextStep::FreeRepositorySpace));
        assert!(error.to_string().starts_with("writing pack 12: "));
        // Another user's file is not damaged, and needs no repair.
        let error = Error::io("opening index run 3", io::Error::from(io::ErrorKind::PermissionDenied));
        let error = error.or_hint("check the medium");
        let advice = |error: &Error| match error.next_step() {
            Some(NextStep::Advice(advice)) => advice.clone(),
            other => panic!("{other:?}"),
        };
        assert!(advice(&error).starts_with("run as the user"));
        assert_eq!(advice(&Error::io("x", io::Error::other("y")).or_hint("look")), "look");
        // Elsewhere snapshots take no space.
        let error = Error::io("drawing bench.svg", full());
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert!(advice(&error).starts_with("free some space"));
        // What is no error of this machine's system says itself what to do.
        for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::StorageFull] {
            let worded = || io::Error::new(kind, "s3://lab/x: raise the quota");
            assert_eq!(Error::io("x", worded()).next_step(), None);
            assert_eq!(Error::stored_io("x", worded()).next_step(), None);
        }
    }
}
