//! The key slots of an open repository: listed, added, removed, replaced.

use age::secrecy::SecretString;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::keys::SlotChanges;
use icecore::keys::SlotInfo;
use icecore::keys::change_slots;
use icecore::keys::list_slots;
use icecore::keys::master_key;
use icecore::repository::KeySlot;
use icecore::repository::MasterKey;
use icecore::repository::Repository;
use icecore::repository::SlotId;

use crate::clock::new_id;
use crate::clock::system_unix_ms;
use crate::keys::content::SlotContent;
use crate::keys::slot::Credential;
use crate::keys::slot::new_password_slot;
use crate::keys::slot::new_recipient_slot;
use crate::keys::slot::open_slot;

/// Returns whom a slot is for: `scrypt` for a password, `X25519`, `ssh-ed25519`, `ssh-rsa`, the name
/// of a plugin, or `unknown`. A slot for several recipients has the kind of the first.
pub fn kind(slot: &SlotInfo) -> &str {
    let mut lines = slot.bytes.split(|byte| *byte == b'\n');
    let stanza = lines.find_map(|line| std::str::from_utf8(line).ok()?.strip_prefix("-> "));
    let word = stanza.and_then(|stanza| stanza.split(' ').next()).unwrap_or_default();
    let is_word = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if is_word { word } else { "unknown" }
}

/// Adds a slot that a password opens. Returns its id.
///
/// # Errors
/// Those of [`new_password_slot`] and [`change_slots`].
pub fn add_password(repo: &Repository, password: &SecretString) -> Result<SlotId> {
    add(repo, new_password_slot(&content(repo)?, password)?, Vec::new())
}

/// Adds a slot that the private key of any of these recipients opens. Returns its id.
///
/// # Errors
/// Those of [`new_recipient_slot`] and [`change_slots`].
pub fn add_recipients(repo: &Repository, recipients: &[&str]) -> Result<SlotId> {
    add(repo, new_recipient_slot(&content(repo)?, recipients)?, Vec::new())
}

/// Puts a slot with a new password in the place of the one that `old` opens. Returns the id of the
/// new slot.
///
/// # Errors
/// `PermissionDenied` if `old` opens no slot; those of [`change_slots`].
pub fn change_password(repo: &Repository, old: &Credential, new: &SecretString) -> Result<SlotId> {
    let opened =
        list_slots(repo)?.into_iter().find(|slot| matches!(open_slot(&slot.bytes, old), Ok(Some(_))));
    let opened = opened.ok_or_else(|| {
        Error::new(ErrorKind::PermissionDenied, "the password to be changed opens no key slot")
            .with_hint("give the password that a slot has now")
    })?;
    add(repo, new_password_slot(&content(repo)?, new)?, vec![opened.id])
}

/// Removes a slot.
///
/// # Errors
/// Those of [`change_slots`].
pub fn remove(repo: &Repository, id: SlotId) -> Result<()> {
    change_slots(repo, &SlotChanges { remove: vec![id], ..SlotChanges::default() })
}

fn add(repo: &Repository, bytes: Vec<u8>, remove: Vec<SlotId>) -> Result<SlotId> {
    let id = SlotId(new_id());
    let add = Some(KeySlot { id, bytes });
    change_slots(repo, &SlotChanges { add, created_unix_ms: system_unix_ms(), remove })?;
    Ok(id)
}

fn content(repo: &Repository) -> Result<SlotContent> {
    let master = MasterKey::new(master_key(repo)?.expose());
    Ok(SlotContent { repository: repo.id(), master })
}
