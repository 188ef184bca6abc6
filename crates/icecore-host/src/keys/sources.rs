//! Where a password or an identity comes from. The first of these that is set counts, and the others
//! are not looked at:
//!
//! 1. `ICECORE_IDENTITY`: a file with a private key, of age or of SSH;
//! 2. `ICECORE_PASSWORD_COMMAND`: a program that prints the password. It is split into words as in a
//!    shell, but runs without one: `sh -c '...'` calls one;
//! 3. `ICECORE_PASSWORD_FILE`: a file that holds it;
//! 4. `ICECORE_PASSWORD`: the password itself, which other programs of the same user can read;
//! 5. the credential `icecore-password` of systemd (LoadCredential=);
//! 6. the terminal.
//!
//! One line end after the password is not a part of it. There is no argument for a password: every
//! user of a machine can read the arguments of its programs.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;

use age::secrecy::ExposeSecret;
use age::secrecy::SecretString;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;

use crate::keys::content::SlotContent;
use crate::keys::identity;
use crate::keys::slot::Credential;
use crate::keys::slot::new_password_slot;
use crate::keys::slot::slot_for;
use crate::keys::words::Ask;
use crate::keys::words::PASSWORD_BYTES_MAX;
use crate::keys::words::read_secret;
use crate::keys::words::split;

/// The name of the credential that a service gets from systemd.
const CREDENTIAL: &str = "icecore-password";

/// The variables that are sources.
const VARIABLES: [&str; 4] =
    ["ICECORE_IDENTITY", "ICECORE_PASSWORD_COMMAND", "ICECORE_PASSWORD_FILE", "ICECORE_PASSWORD"];

/// Looks a variable of the environment up.
pub type Lookup = Arc<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// What a program may take passwords from.
#[derive(Clone)]
pub struct Sources {
    /// Looks a variable of the environment up.
    pub variable: Lookup,
    /// Asks on the terminal; none in a service.
    pub ask: Option<Ask>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sources")
    }
}

impl Sources {
    /// Tells whether a source other than the terminal is set: then a new repository is sealed unless
    /// somebody says otherwise.
    pub fn are_set(&self) -> bool {
        VARIABLES.iter().any(|name| self.value(name).is_some()) || self.credential().is_some()
    }

    /// Makes a key slot that the first source which is set opens again. A password is asked for
    /// twice on a terminal.
    ///
    /// # Errors
    /// As [`unlock`](Self::unlock).
    pub fn new_slot(&self, content: &SlotContent) -> Result<Vec<u8>> {
        match self.value("ICECORE_IDENTITY") {
            Some(file) => slot_for(content, &identity::recipients(Path::new(&file), self.ask.clone())?),
            None => new_password_slot(content, &self.new_password()?),
        }
    }

    /// Returns what opens the slots of a repository.
    ///
    /// # Errors
    /// `PermissionDenied` if there is no source; what is wrong with the first one that is set.
    pub fn unlock(&self) -> Result<Credential> {
        if let Some(file) = self.value("ICECORE_IDENTITY") {
            return identity::read(Path::new(&file), self.ask.clone());
        }
        self.password(&|ask| ask("Password of the repository: ")).map(Credential::Password)
    }

    /// Returns the password for a new slot. It is asked for twice on a terminal.
    ///
    /// # Errors
    /// As [`unlock`](Self::unlock); `InvalidInput` if the two are not the same.
    pub fn new_password(&self) -> Result<SecretString> {
        self.password(&|ask| {
            let first = ask("New password of the repository: ")?;
            let second = ask("The same password again: ")?;
            if first.expose_secret() != second.expose_secret() {
                return Err(Error::new(ErrorKind::InvalidInput, "the two passwords are not the same")
                    .with_hint("try again"));
            }
            Ok(first)
        })
    }

    fn password(&self, asking: &dyn Fn(&Ask) -> Result<SecretString>) -> Result<SecretString> {
        let (from, password) = if let Some(command) = self.value("ICECORE_PASSWORD_COMMAND") {
            ("ICECORE_PASSWORD_COMMAND", of_command(command)?)
        } else if let Some(file) = self.value("ICECORE_PASSWORD_FILE") {
            ("ICECORE_PASSWORD_FILE", of_file(Path::new(&file))?)
        } else if let Some(password) = self.value("ICECORE_PASSWORD") {
            ("ICECORE_PASSWORD", of_text(password)?)
        } else if let Some(file) = self.credential() {
            ("the credential icecore-password", of_file(&file)?)
        } else if let Some(ask) = &self.ask {
            ("the terminal", asking(ask)?)
        } else {
            return Err(Error::new(ErrorKind::PermissionDenied, "the repository is sealed, and there is no password")
                .with_hint("set ICECORE_PASSWORD_FILE, ICECORE_PASSWORD_COMMAND or ICECORE_IDENTITY, or load the systemd credential icecore-password"));
        };
        if password.expose_secret().is_empty() {
            let message = format!("the password from {from} is empty");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(password)
    }

    /// Returns the value of a variable. One that is empty counts as not set.
    fn value(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// Returns the file of systemd's credential, if there is one.
    fn credential(&self) -> Option<PathBuf> {
        let file = PathBuf::from(self.value("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL);
        file.exists().then_some(file)
    }
}

fn of_command(command: OsString) -> Result<SecretString> {
    let bad = |what: String| {
        Error::new(ErrorKind::InvalidInput, format!("the program of ICECORE_PASSWORD_COMMAND {what}"))
    };
    let words = command.to_str().and_then(split).unwrap_or_default();
    let Some((program, arguments)) = words.split_first() else {
        return Err(bad("cannot be told".to_owned()).with_hint("check its quotes"));
    };
    // An image may come in on standard input: that is not for this program.
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| bad(format!("cannot be started: {error}")))?;
    let printed = match child.stdout.take() {
        Some(output) => read_secret(output, PASSWORD_BYTES_MAX, &|| {
            "reading the output of ICECORE_PASSWORD_COMMAND".to_owned()
        }),
        None => return Err(bad("has no output".to_owned())),
    };
    // The output is closed now, so a program that prints on for ever ends.
    let status = child.wait().map_err(|error| bad(format!("cannot be waited for: {error}")))?;
    let printed = printed?;
    if !status.success() {
        return Err(bad(format!("failed: {status}")).with_hint("run it by hand to see why"));
    }
    Ok(SecretString::from(without_line_end(&printed)))
}

fn of_file(path: &Path) -> Result<SecretString> {
    let doing = || format!("reading the password file {}", path.display());
    let file = File::open(path).map_err(|error| Error::io(doing(), error))?;
    let text = read_secret(file, PASSWORD_BYTES_MAX, &doing)?;
    Ok(SecretString::from(without_line_end(&text)))
}

fn of_text(value: OsString) -> Result<SecretString> {
    // The error must not show the value.
    match value.into_string() {
        Ok(text) => Ok(SecretString::from(text)),
        Err(_) => Err(Error::new(ErrorKind::InvalidInput, "ICECORE_PASSWORD is not UTF-8")),
    }
}

fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

#[cfg(test)]
mod tests;
