//! Key slots. A slot is a file of the format age (age-encryption.org/v1), so the program `age` opens
//! it too.

use std::fmt;
use std::io::Read;
use std::io::Write;

use age::DecryptError;
use age::Decryptor;
use age::Encryptor;
use age::secrecy::SecretString;
use age::secrecy::zeroize::Zeroizing;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::SLOT_BYTES_MAX;

use crate::keys::content::CONTENT_BYTES;
use crate::keys::content::SlotContent;
use crate::keys::recipient;

/// The work of scrypt for a new password, as a power of two: half a second and 128 MiB. Two slots
/// that a wrong password does not open take a second.
const WORK: u8 = 17;
/// The most work that a slot may ask for: 4 seconds and 1 GiB. The program `age` asks for 18.
const WORK_MAX: u8 = 20;

/// What opens a slot.
pub enum Credential {
    /// The password of a password slot.
    Password(SecretString),
    /// Identities of age, and private keys of SSH.
    Identities(Vec<Box<dyn age::Identity + Send + Sync>>),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password",
            Self::Identities(_) => "Identities",
        })
    }
}

/// Makes a slot that a password opens.
///
/// # Errors
/// `InvalidInput` for an empty password.
pub fn new_password_slot(content: &SlotContent, password: &SecretString) -> Result<Vec<u8>> {
    password_slot(content, password, WORK)
}

fn password_slot(content: &SlotContent, password: &SecretString, work: u8) -> Result<Vec<u8>> {
    use age::secrecy::ExposeSecret;
    if password.expose_secret().is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "the password is empty").with_hint("choose another"));
    }
    let mut recipient = age::scrypt::Recipient::new(password.clone());
    recipient.set_work_factor(work);
    slot_for(content, &[Box::new(recipient)])
}

/// Makes a slot that the private key of any of these recipients opens: each is an age recipient
/// (`age1...`), also one of a plugin, or a public SSH key (`ssh-ed25519 ...`, `ssh-rsa ...`).
///
/// # Errors
/// `InvalidInput` if one is none of these, or if there are none; `NotFound` for a plugin that is not
/// installed.
pub fn new_recipient_slot(content: &SlotContent, recipients: &[&str]) -> Result<Vec<u8>> {
    let recipients = recipients.iter().map(|text| recipient::parse(text)).collect::<Result<Vec<_>>>()?;
    slot_for(content, &recipients)
}

/// Makes a slot for recipients.
pub(super) fn slot_for(
    content: &SlotContent,
    recipients: &[Box<dyn age::Recipient + Send>],
) -> Result<Vec<u8>> {
    let recipients = recipients.iter().map(|recipient| &**recipient as &dyn age::Recipient);
    let making =
        |error: String| Error::new(ErrorKind::InvalidInput, format!("cannot make a key slot: {error}"));
    let encryptor = Encryptor::with_recipients(recipients).map_err(|error| making(error.to_string()))?;
    let mut bytes = Vec::new();
    let write = |error: std::io::Error| making(error.to_string());
    let mut writer = encryptor.wrap_output(&mut bytes).map_err(write)?;
    writer.write_all(&content.encode()).and_then(|()| writer.finish().map(drop)).map_err(write)?;
    Ok(bytes)
}

/// Opens a slot. Returns none if it is for another password or another key.
///
/// # Errors
/// `Corrupt` if it is no sound slot; `Unsupported` if it asks for more than a few seconds of work;
/// what a plugin or a protected SSH key says.
pub fn open_slot(slot: &[u8], unlock: &Credential) -> Result<Option<SlotContent>> {
    let damaged = || {
        Error::new(ErrorKind::Corrupt, "the key slot is damaged")
            .with_hint("use another slot, or bring this file back from a backup")
    };
    let slot = slot.get(..SLOT_BYTES_MAX.min(slot.len())).unwrap_or_default();
    let decryptor = Decryptor::new_buffered(slot).map_err(|_| damaged())?;
    let opened = match unlock {
        Credential::Password(_) if !decryptor.is_scrypt() => return Ok(None),
        Credential::Identities(_) if decryptor.is_scrypt() => return Ok(None),
        Credential::Password(password) => {
            let mut identity = age::scrypt::Identity::new(password.clone());
            identity.set_max_work_factor(WORK_MAX);
            decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity))
        }
        Credential::Identities(identities) => {
            decryptor.decrypt(identities.iter().map(|identity| &**identity as &dyn age::Identity))
        }
    };
    let mut reader = match opened {
        Ok(reader) => reader,
        Err(DecryptError::NoMatchingKeys) => return Ok(None),
        // The key of the file does not come out of what a wrong password makes of it.
        Err(DecryptError::DecryptionFailed) if matches!(unlock, Credential::Password(_)) => return Ok(None),
        Err(error) => return Err(refused(error, damaged())),
    };
    let mut content = Zeroizing::new([0; CONTENT_BYTES + 1]);
    let mut len = 0;
    while len < content.len() {
        match reader.read(&mut content[len..]).map_err(|_| damaged())? {
            0 => break,
            more => len += more,
        }
    }
    SlotContent::decode(&content[..len]).map(Some)
}

fn refused(error: DecryptError, damaged: Error) -> Error {
    match error {
        DecryptError::ExcessiveWork { required, .. } => {
            let message = format!(
                "the key slot asks for 2^{required} rounds of scrypt, and at most 2^{WORK_MAX} are done"
            );
            Error::new(ErrorKind::Unsupported, message).with_hint("open it with the program `age`")
        }
        DecryptError::KeyDecryptionFailed => {
            Error::new(ErrorKind::PermissionDenied, "the password of the SSH key is wrong, or there is none")
                .with_hint("unlock the key on a terminal, or use a key without a password")
        }
        DecryptError::Plugin(_) | DecryptError::PluginResolve(_) => {
            Error::new(ErrorKind::NotFound, format!("a plugin of age cannot open the key slot: {error}"))
                .with_hint("install the plugin in the PATH, and attach its token")
        }
        _ => damaged,
    }
}

#[cfg(test)]
mod tests;
