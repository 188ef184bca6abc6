//! Identity files: the private keys that open slots.

use std::fs::File;
use std::path::Path;

use age::IdentityFile;
use age::secrecy::zeroize::Zeroizing;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;

use crate::keys::answers::Answers;
use crate::keys::recipient;
use crate::keys::slot::Credential;
use crate::keys::words::Ask;
use crate::keys::words::read_secret;

/// The most bytes of an identity file.
const FILE_BYTES_MAX: usize = 64 << 10;

/// Reads an identity file: lines of `AGE-SECRET-KEY-1...`, also of plugins, or a private key of SSH.
/// The password of a protected SSH key is asked for when a slot needs it.
pub(super) fn read(path: &Path, ask: Option<Ask>) -> Result<Credential> {
    let text = text_of(path)?;
    let bad = |what: &str| bad(path, what);
    let callbacks = Answers(ask);
    if is_of_ssh(&text) {
        let name = path.display().to_string();
        let identity = age::ssh::Identity::from_buffer(text.as_bytes(), Some(name))
            .map_err(|_| bad("the SSH key cannot be read"))?;
        if let age::ssh::Identity::Unsupported(_) = identity {
            return Err(bad("this kind of SSH key cannot open slots"));
        }
        return Ok(Credential::Identities(vec![Box::new(identity.with_callbacks(callbacks))]));
    }
    let no_plugin = |error: String| no_plugin(path, &error);
    let identities = IdentityFile::from_buffer(text.as_bytes())
        .map_err(|_| bad("a line is no identity"))?
        .with_callbacks(callbacks)
        .into_identities()
        .map_err(|error| no_plugin(error.to_string()))?;
    if identities.is_empty() {
        return Err(bad("it has no identity"));
    }
    Ok(Credential::Identities(identities))
}

/// Returns the recipients whose slots an identity file opens: those of its lines, or the public key
/// beside a private key of SSH.
pub(super) fn recipients(path: &Path, ask: Option<Ask>) -> Result<Vec<Box<dyn age::Recipient + Send>>> {
    let text = text_of(path)?;
    if is_of_ssh(&text) {
        let mut public = path.as_os_str().to_owned();
        public.push(".pub");
        let doing = || format!("reading the public key {}", Path::new(&public).display());
        let file = File::open(&public).map_err(|error| Error::io(doing(), error))?;
        return Ok(vec![recipient::parse(&read_secret(file, FILE_BYTES_MAX, &doing)?)?]);
    }
    let recipients = IdentityFile::from_buffer(text.as_bytes())
        .map_err(|_| bad(path, "a line is no identity"))?
        .with_callbacks(Answers(ask))
        .to_recipients()
        .map_err(|error| no_plugin(path, &error.to_string()))?;
    Ok(recipients)
}

fn text_of(path: &Path) -> Result<Zeroizing<String>> {
    let doing = || format!("reading the identity file {}", path.display());
    let file = File::open(path).map_err(|error| Error::io(doing(), error))?;
    read_secret(file, FILE_BYTES_MAX, &doing)
}

fn is_of_ssh(text: &str) -> bool {
    text.trim_start().starts_with("-----BEGIN")
}

fn bad(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{} is not an identity file: {what}", path.display()))
        .with_hint("name a file with a line AGE-SECRET-KEY-1..., or a private key of SSH (ed25519 or rsa)")
}

fn no_plugin(path: &Path, error: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("{}: {error}", path.display()))
        .with_hint("install the plugin in the PATH")
}
