//! Standard output. For a list, a closed pipe is not an error.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::IsTerminal;
use std::io::Write;
use std::os::fd::AsFd;

use icecore::Error;
use icecore::Result;

/// The reader has gone away.
const EPIPE: i32 = 32;

/// Standard output.
pub(crate) struct Out {
    inner: Result<BufWriter<File>, io::ErrorKind>,
    /// The number of the first error (`errno`).
    broken: Option<i32>,
}

impl Out {
    /// Opens standard output.
    pub(crate) fn new() -> Self {
        // Not the standard library's handle: it would search whole disk images for line ends.
        let file = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        Self { inner: file.map(BufWriter::new).map_err(|error| error.kind()), broken: None }
    }

    /// Returns whether it is a terminal.
    pub(crate) fn is_terminal() -> bool {
        io::stdout().is_terminal()
    }

    /// Writes a line of text, without anything that could change the state of a terminal.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.write_all(printable(text).as_bytes())?;
        self.write_all(b"\n")
    }

    /// Turns `error` into success if it only says that the reader has gone away.
    pub(crate) fn unless_closed(&self, error: impl Into<OutError>) -> Result<()> {
        if self.broken == Some(EPIPE) { Ok(()) } else { Err(error.into().0) }
    }

    /// Writes out the rest of the buffer.
    ///
    /// # Errors
    /// If this or any earlier write failed, including because the reader has gone away.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let flushed = self.flush();
        match self.broken {
            Some(number) => Err(failed(io::Error::from_raw_os_error(number))),
            None => flushed.map_err(failed),
        }
    }

    fn watch<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.broken = self.broken.or(error.raw_os_error());
        }
        result
    }

    fn writer(&mut self) -> io::Result<&mut BufWriter<File>> {
        self.inner.as_mut().map_err(|kind| io::Error::from(*kind))
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.writer().and_then(|writer| writer.write(bytes));
        self.watch(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.writer().and_then(|writer| writer.flush());
        self.watch(result)
    }
}

/// An error of the code that wrote to [`Out`].
pub(crate) struct OutError(Error);

impl From<Error> for OutError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<io::Error> for OutError {
    fn from(error: io::Error) -> Self {
        Self(failed(error))
    }
}

/// Returns the error for a failed write to the output.
pub(crate) fn failed(error: io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::BrokenPipe => {
            Some("the program that reads the output has ended, and did not get all of it")
        }
        io::ErrorKind::StorageFull => Some("free some space for the output, or send it elsewhere"),
        _ => None,
    };
    let error = Error::io("writing to standard output", error);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Returns `text` with terminal control characters replaced, except line ends and tabs. Names come
/// from repositories, which may come from anywhere.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    replaced(text, |c| steers(c) && c != '\n' && c != '\t')
}

/// Like [`printable`], for a name, which is one line.
pub(crate) fn printable_name(name: &str) -> Cow<'_, str> {
    replaced(name, steers)
}

fn replaced(text: &str, bad: impl Fn(char) -> bool + Copy) -> Cow<'_, str> {
    if text.contains(bad) { Cow::Owned(text.replace(bad, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Returns whether a character controls the terminal: a control character, a line end, or a change
/// of text direction, which can make a name look like another one.
fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\r\n"), "a\u{fffd}[31mb\u{fffd}\n");
        assert_eq!(printable("web-1\tä"), "web-1\tä");
        assert_eq!(printable("a\u{202e}gpj"), "a\u{fffd}gpj");
        assert_eq!(printable_name("a\nb\t\u{2028}c"), "a\u{fffd}b\u{fffd}\u{fffd}c");
    }
}
