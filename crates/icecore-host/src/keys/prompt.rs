//! A password typed on the terminal: read from /dev/tty, without being shown.

use std::fs::File;
use std::io::Write;

use age::secrecy::SecretString;
use age::secrecy::zeroize::Zeroizing;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use rustix::termios::LocalModes;
use rustix::termios::OptionalActions;
use rustix::termios::SpecialCodeIndex;
use rustix::termios::Termios;
use rustix::termios::tcgetattr;
use rustix::termios::tcsetattr;

use crate::keys::words::PASSWORD_BYTES_MAX;

/// The byte of Ctrl-C.
const CONTROL_C: u8 = 3;

/// Tells whether this process has a terminal to ask on.
pub fn has_terminal() -> bool {
    terminal().is_ok()
}

/// Asks for a password on the terminal of this process, whatever its standard input is.
///
/// # Errors
/// `Interrupted` for Ctrl-C, a signal, or the end of the input; `Io` without a terminal.
pub fn ask(text: &str) -> Result<SecretString> {
    let terminal = terminal().map_err(|error| Error::io("opening the terminal", error))?;
    ask_on(&terminal, text)
}

fn terminal() -> std::io::Result<File> {
    File::options().read(true).write(true).open("/dev/tty")
}

fn ask_on(mut terminal: &File, text: &str) -> Result<SecretString> {
    let failed = |error| Error::io("asking for a password on the terminal", error);
    let shown = tcgetattr(terminal).map_err(|error| failed(error.into()))?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
    hidden.local_modes.insert(LocalModes::ICANON | LocalModes::ECHONL);
    // Ctrl-C ends the line instead of sending a signal, after which a read may go on: that depends
    // on how the program handles it.
    hidden.special_codes[SpecialCodeIndex::VEOL] = CONTROL_C;
    // What was typed before, for another program, is no password.
    tcsetattr(terminal, OptionalActions::Flush, &hidden).map_err(|error| failed(error.into()))?;
    let _shown = Restore { terminal, to: &shown };
    terminal.write_all(text.as_bytes()).map_err(failed)?;
    read_line(terminal)
}

/// Reads a line. Ctrl-C or a signal ends it, so that the program can stop.
fn read_line(terminal: &File) -> Result<SecretString> {
    let stopped = || Error::new(ErrorKind::Interrupted, "no password was typed");
    let mut bytes = Zeroizing::new([0; PASSWORD_BYTES_MAX]);
    let mut len = 0;
    loop {
        let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) else {
            let message = format!("the password has more than {PASSWORD_BYTES_MAX} bytes");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        };
        match rustix::io::read(terminal, rest) {
            Ok(0) => return Err(stopped()),
            Ok(more) => len += more,
            Err(rustix::io::Errno::INTR) => return Err(stopped()),
            Err(error) => return Err(Error::io("reading a password from the terminal", error.into())),
        }
        if bytes[..len].ends_with(&[CONTROL_C]) {
            return Err(stopped());
        }
        if let Some(line) = bytes[..len].strip_suffix(b"\n") {
            return match std::str::from_utf8(line) {
                Ok(password) => Ok(SecretString::from(password)),
                Err(_) => Err(Error::new(ErrorKind::InvalidInput, "the password is not UTF-8")),
            };
        }
    }
}

/// Shows again what is typed, however the question ends.
struct Restore<'a> {
    terminal: &'a File,
    to: &'a Termios,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, self.to);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// A terminal, and the other end of it: where a person types, and sees what is shown.
    fn pair() -> (File, File) {
        use rustix::pty::OpenptFlags;
        let person = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&person).unwrap();
        rustix::pty::unlockpt(&person).unwrap();
        let name = rustix::pty::ptsname(&person, Vec::new()).unwrap();
        let terminal = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        (terminal, File::from(person))
    }

    /// Answers the question with `typed`, and returns what it gave and what was shown.
    fn answered(typed: &[u8]) -> (Result<SecretString>, String) {
        let (terminal, mut person) = pair();
        let asking = std::thread::spawn(move || {
            let answer = ask_on(&terminal, "Password: ");
            (answer, tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ECHO))
        });
        let mut shown = Vec::new();
        while !shown.ends_with(b"Password: ") {
            let mut byte = [0];
            person.read_exact(&mut byte).unwrap();
            shown.extend(byte);
        }
        person.write_all(typed).unwrap();
        let (answer, echoes) = asking.join().unwrap();
        assert!(echoes, "what is typed later is shown");
        // The terminal is closed now: this ends with an error, after everything that was shown.
        let _ = person.read_to_end(&mut shown);
        (answer, String::from_utf8(shown).unwrap())
    }

    #[test]
    fn what_is_typed_is_the_password_and_is_not_shown() {
        use age::secrecy::ExposeSecret;
        let (password, shown) = answered(b"pass word\n");
        assert_eq!(password.unwrap().expose_secret(), "pass word");
        assert_eq!(shown, "Password: \r\n");
    }

    #[test]
    fn the_end_of_the_input_and_control_c_are_no_password() {
        const CONTROL_D: &[u8] = &[4];
        assert_eq!(answered(&[b'x', CONTROL_C]).0.unwrap_err().kind(), ErrorKind::Interrupted);
        assert_eq!(answered(CONTROL_D).0.unwrap_err().kind(), ErrorKind::Interrupted);
        assert_eq!(answered(b"\xff\n").0.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
