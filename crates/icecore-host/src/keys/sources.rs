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
//!
//! The names begin otherwise where a program needs a second password: `ICECORE_NEW_PASSWORD_FILE`
//! and the like for a new key slot, `ICECORE_TO_PASSWORD_FILE` for the other repository of a copy.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

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

/// The ends of the names of variables that are sources.
const VARIABLES: [&str; 4] = ["IDENTITY", "PASSWORD_COMMAND", "PASSWORD_FILE", "PASSWORD"];

/// Looks a variable of the environment up.
pub type Lookup = Arc<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// What a program may take passwords from.
#[derive(Clone)]
pub struct Sources {
    variable: Lookup,
    ask: Option<Ask>,
    prefix: &'static str,
    of: String,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sources")
    }
}

/// Returns how a program looks the variables of its own environment up.
pub fn environment() -> Lookup {
    Arc::new(|name| std::env::var_os(name))
}

impl Sources {
    /// Returns the usual sources. `ask` asks on the terminal; a service has none.
    pub fn new(variable: Lookup, ask: Option<Ask>) -> Self {
        Self { variable, ask, prefix: "ICECORE", of: "the repository".to_owned() }
    }

    /// Returns sources whose names begin with this word instead of `ICECORE`.
    #[must_use]
    pub fn named(self, prefix: &'static str) -> Self {
        Self { prefix, ..self }
    }

    /// Returns the same sources, for what questions and errors call so: `the repository in DIR`.
    #[must_use]
    pub fn of(self, of: String) -> Self {
        Self { of, ..self }
    }

    /// Returns what the password is of, as questions and errors call it.
    pub fn what(&self) -> &str {
        &self.of
    }

    /// Returns the same sources. What is typed on the terminal is asked for once, and remembered.
    #[must_use]
    pub fn asking_once(self) -> Self {
        let once = |ask: Ask| -> Ask {
            let typed: Mutex<Option<SecretString>> = Mutex::default();
            Arc::new(move |text| {
                let mut typed = typed.lock().unwrap_or_else(PoisonError::into_inner);
                if typed.is_none() {
                    *typed = Some(ask(text)?);
                }
                Ok(typed.clone().unwrap_or_else(|| SecretString::from("")))
            })
        };
        Self { ask: self.ask.map(once), ..self }
    }

    /// Tells whether a source other than the terminal is set: then a new repository is sealed unless
    /// somebody says otherwise.
    pub fn are_set(&self) -> bool {
        self.first_set().is_some()
    }

    /// Returns the name of the source that counts, unless that is the terminal.
    pub fn first_set(&self) -> Option<String> {
        let variable = VARIABLES.iter().find(|name| self.value(name).is_some());
        let variable = variable.map(|name| self.name(name));
        variable.or_else(|| self.credential().map(|_| format!("the credential {}", self.credential_name())))
    }

    /// Makes a key slot that the first source which is set opens again. A password is asked for
    /// twice on a terminal.
    ///
    /// # Errors
    /// As [`unlock`](Self::unlock).
    pub fn new_slot(&self, content: &SlotContent) -> Result<Vec<u8>> {
        match self.value("IDENTITY") {
            Some(file) => slot_for(content, &identity::recipients(Path::new(&file), self.ask.clone())?),
            None => new_password_slot(content, &self.new_password()?),
        }
    }

    /// Returns what opens the slots of a repository.
    ///
    /// # Errors
    /// `PermissionDenied` if there is no source; what is wrong with the first one that is set.
    pub fn unlock(&self) -> Result<Credential> {
        if let Some(file) = self.value("IDENTITY") {
            return identity::read(Path::new(&file), self.ask.clone());
        }
        let ask = |ask: &Ask| ask(&format!("Password of {}: ", self.of));
        match self.password(&ask)? {
            Some(password) => Ok(Credential::Password(password)),
            None => Err(self.none(format!("{} is sealed, and there is no password", self.of))),
        }
    }

    /// Returns the password for a new slot. It is asked for twice on a terminal.
    ///
    /// # Errors
    /// As [`unlock`](Self::unlock); `InvalidInput` if the two are not the same.
    pub fn new_password(&self) -> Result<SecretString> {
        let password = self.password(&|ask| {
            let first = ask(&format!("New password of {}: ", self.of))?;
            let second = ask("The same password again: ")?;
            if first.expose_secret() != second.expose_secret() {
                return Err(Error::new(ErrorKind::InvalidInput, "the two passwords are not the same")
                    .with_hint("try again"));
            }
            Ok(first)
        })?;
        password.ok_or_else(|| self.none(format!("there is no password for a new key slot of {}", self.of)))
    }

    /// Returns the password from the first source that is set; none if there is no terminal either.
    fn password(&self, asking: &dyn Fn(&Ask) -> Result<SecretString>) -> Result<Option<SecretString>> {
        let (from, password) = if let Some(command) = self.value("PASSWORD_COMMAND") {
            let name = self.name("PASSWORD_COMMAND");
            let password = of_command(&name, command)?;
            (name, password)
        } else if let Some(file) = self.value("PASSWORD_FILE") {
            (self.name("PASSWORD_FILE"), of_file(Path::new(&file))?)
        } else if let Some(password) = self.value("PASSWORD") {
            let name = self.name("PASSWORD");
            let password = of_text(&name, password)?;
            (name, password)
        } else if let Some(file) = self.credential() {
            (format!("the credential {}", self.credential_name()), of_file(&file)?)
        } else if let Some(ask) = &self.ask {
            ("the terminal".to_owned(), asking(ask)?)
        } else {
            return Ok(None);
        };
        if password.expose_secret().is_empty() {
            let message = format!("the password from {from} is empty");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(Some(password))
    }

    fn none(&self, message: String) -> Error {
        let Self { prefix, .. } = self;
        let or_identity = if *prefix == "ICECORE_NEW" { "" } else { &format!(" or {prefix}_IDENTITY") };
        let hint = format!(
            "set {prefix}_PASSWORD_FILE, {prefix}_PASSWORD_COMMAND{or_identity}, load the systemd credential {}, or run it \
             on a terminal",
            self.credential_name()
        );
        Error::new(ErrorKind::PermissionDenied, message).with_hint(hint)
    }

    /// Returns the whole name of a variable.
    fn name(&self, end: &str) -> String {
        format!("{}_{end}", self.prefix)
    }

    /// Returns the value of a variable. One that is empty counts as not set.
    fn value(&self, end: &str) -> Option<OsString> {
        (self.variable)(&self.name(end)).filter(|value| !value.is_empty())
    }

    /// Returns the name of the credential that a service gets from systemd: `icecore-password`.
    fn credential_name(&self) -> String {
        format!("{}-password", self.prefix.to_ascii_lowercase().replace('_', "-"))
    }

    /// Returns the file of systemd's credential, if there is one.
    fn credential(&self) -> Option<PathBuf> {
        let dir = (self.variable)("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty())?;
        let file = PathBuf::from(dir).join(self.credential_name());
        file.exists().then_some(file)
    }
}

fn of_command(name: &str, command: OsString) -> Result<SecretString> {
    let bad = |what: String| Error::new(ErrorKind::InvalidInput, format!("the program of {name} {what}"));
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
        Some(output) => read_secret(output, PASSWORD_BYTES_MAX, &|| format!("reading the output of {name}")),
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

fn of_text(name: &str, value: OsString) -> Result<SecretString> {
    // The error must not show the value.
    match value.into_string() {
        Ok(text) => Ok(SecretString::from(text)),
        Err(_) => Err(Error::new(ErrorKind::InvalidInput, format!("{name} is not UTF-8"))),
    }
}

fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

#[cfg(test)]
mod tests;
