//! The terminal: results go to stdout, messages to stderr. No other module writes to either.

mod out;
mod progress;
mod table;

use std::io;
use std::io::BufRead;
use std::io::IsTerminal;
use std::io::Write;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use serde::Serialize;

use crate::hints::hint_of;
use crate::json::Envelope;
use crate::json::ErrorEnvelope;

pub(crate) use crate::ui::out::Out;
pub(crate) use crate::ui::out::failed;
pub(crate) use crate::ui::out::printable;
pub(crate) use crate::ui::out::printable_name;
pub(crate) use crate::ui::progress::Running;
pub(crate) use crate::ui::table::Column;
pub(crate) use crate::ui::table::pairs;
pub(crate) use crate::ui::table::table;

/// The format of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// The output of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    /// The name of the command, for JSON.
    pub(crate) command: Option<&'static str>,
    /// The format of results.
    pub(crate) output: Output,
    /// Whether notes and progress are left out.
    pub(crate) quiet: bool,
    /// Whether details are printed.
    pub(crate) verbose: bool,
    /// Whether progress may be shown.
    pub(crate) progress: bool,
}

impl Ui {
    /// Returns whether results are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// Prints the result of a command: `json` or `text`.
    pub(crate) fn result<T: Serialize>(&self, json: &T, text: &str) -> Result<()> {
        let mut out = Out::new();
        self.write_result(&mut out, json, text).or_else(|error| out.unless_closed(error))
    }

    /// Prints the result of a command on stderr, because stdout carries an image.
    pub(crate) fn result_aside<T: Serialize>(&self, json: &T, text: &str) -> Result<()> {
        if self.is_json() {
            let failed =
                |error| Error::new(ErrorKind::Io, "writing the result").with_source(io::Error::from(error));
            say(&self.envelope(json).map_err(failed)?);
        } else {
            self.note(text.trim_end());
        }
        Ok(())
    }

    fn write_result<T: Serialize>(&self, out: &mut Out, json: &T, text: &str) -> io::Result<()> {
        if self.is_json() {
            out.line(&self.envelope(json)?)?;
        } else if !text.is_empty() {
            out.line(text.trim_end_matches('\n'))?;
        }
        out.flush()
    }

    fn envelope<T: Serialize>(&self, result: &T) -> serde_json::Result<String> {
        serde_json::to_string(&Envelope::new(self.command, result))
    }

    /// Prints a note that helps, but is not a result.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }

    /// Prints a detail that only the curious want to know.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbose {
            say(text);
        }
    }

    /// Prints a warning.
    pub(crate) fn warn(&self, text: &str) {
        say(&format!("warning: {text}"));
    }

    /// Prints an error: for people on stderr, for programs on stdout.
    pub(crate) fn error(&self, error: &Error) {
        if self.is_json()
            && let Ok(json) = serde_json::to_string(&ErrorEnvelope::new(self.command, error))
        {
            let mut out = Out::new();
            // There is no better place to report that reporting failed.
            let _ = out.line(&json).and_then(|()| out.flush());
            return;
        }
        self.tell_error(error);
    }

    /// Prints an error on stderr in either format, because stdout carries an image.
    pub(crate) fn error_aside(&self, error: &Error) {
        match serde_json::to_string(&ErrorEnvelope::new(self.command, error)) {
            Ok(json) if self.is_json() => say(&json),
            _ => self.tell_error(error),
        }
    }

    fn tell_error(&self, error: &Error) {
        say(&format!("error: {error}"));
        if let Some(hint) = hint_of(error) {
            say(&format!("  hint: {hint}"));
        }
    }

    /// Asks a yes-or-no question; the default is no.
    ///
    /// # Errors
    /// `InvalidInput` if there is no terminal; `hint` then says what to do.
    pub(crate) fn confirm(&self, question: &str, hint: &str) -> Result<bool> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "there is no terminal on which to ask for confirmation",
            )
            .with_hint(hint));
        }
        let mut stderr = io::stderr().lock();
        // If the question cannot be shown, the answer is not yes.
        let _ = write!(stderr, "{} (y/N) ", printable(question)).and_then(|()| stderr.flush());
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(|error| Error::io("reading the answer", error))?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// Starts to show the progress of the operation that `what` names, and to listen for requests
    /// to stop.
    pub(crate) fn progress(&self, what: &str) -> Running {
        let shown = self.progress && !self.quiet && io::stderr().is_terminal();
        Running::start(what, shown)
    }
}

/// Writes a line to stderr.
fn say(text: &str) {
    // A closed stderr means that nobody wants to read it.
    let _ = writeln!(io::stderr().lock(), "{}", printable(text));
}
