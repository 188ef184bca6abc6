//! Identity files: the private keys that open slots.

use std::fs::File;
use std::path::Path;

use age::IdentityFile;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;

use crate::keys::answers::Answers;
use crate::keys::slot::Unlock;
use crate::keys::words::Ask;
use crate::keys::words::read_secret;

/// The most bytes of an identity file.
const FILE_BYTES_MAX: usize = 64 << 10;

/// Reads an identity file: lines of `AGE-SECRET-KEY-1...`, also of plugins, or a private key of SSH.
/// The password of a protected SSH key is asked for when a slot needs it.
pub(super) fn read(path: &Path, ask: Option<Ask>) -> Result<Unlock> {
    let doing = || format!("reading the identity file {}", path.display());
    let file = File::open(path).map_err(|error| Error::io(doing(), error))?;
    let text = read_secret(file, FILE_BYTES_MAX, &doing)?;
    let bad = |what: &str| {
        Error::new(ErrorKind::InvalidInput, format!("{} is not an identity file: {what}", path.display()))
            .with_hint(
                "name a file with a line AGE-SECRET-KEY-1..., or a private key of SSH (ed25519 or rsa)",
            )
    };
    let callbacks = Answers(ask);
    if text.trim_start().starts_with("-----BEGIN") {
        let name = path.display().to_string();
        let identity = age::ssh::Identity::from_buffer(text.as_bytes(), Some(name))
            .map_err(|_| bad("the SSH key cannot be read"))?;
        if let age::ssh::Identity::Unsupported(_) = identity {
            return Err(bad("this kind of SSH key cannot open slots"));
        }
        return Ok(Unlock::Identities(vec![Box::new(identity.with_callbacks(callbacks))]));
    }
    let identities = IdentityFile::from_buffer(text.as_bytes())
        .map_err(|_| bad("a line is no identity"))?
        .with_callbacks(callbacks)
        .into_identities()
        .map_err(|error| {
            Error::new(ErrorKind::NotFound, format!("{}: {error}", path.display()))
                .with_hint("install the plugin in the PATH")
        })?;
    if identities.is_empty() {
        return Err(bad("it has no identity"));
    }
    Ok(Unlock::Identities(identities))
}
