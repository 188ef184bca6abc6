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

/// The fewest characters of an id that name a slot.
const PREFIX_CHARS_MIN: usize = 4;

/// Returns the slot with this id, or with an id that only this one begins with.
///
/// # Errors
/// `NotFound` if there is none; `InvalidInput` if there are several; those of [`list_slots`].
pub fn find(repo: &Repository, id: &str) -> Result<SlotInfo> {
    let mut slots = list_slots(repo)?;
    let wanted = id.to_ascii_lowercase();
    slots.retain(|slot| wanted.len() >= PREFIX_CHARS_MIN && slot.id.to_string().starts_with(&wanted));
    match (slots.pop(), slots.len()) {
        (Some(slot), 0) => Ok(slot),
        (None, _) => Err(Error::new(ErrorKind::NotFound, format!("there is no key slot {id:?}"))
            .with_hint("`icecore key list` lists them; a prefix of an id needs at least 4 characters")),
        (Some(_), _) => {
            let message = format!("several key slots have an id that begins with {id:?}");
            Err(Error::new(ErrorKind::InvalidInput, message).with_hint("give more of the id"))
        }
    }
}

/// Returns whom a slot is for: `password`, `X25519`, `ssh-ed25519`, `ssh-rsa`, the name of a plugin,
/// or `unknown`.
pub fn kind(slot: &SlotInfo) -> &str {
    let mut lines = slot.bytes.split(|byte| *byte == b'\n');
    let stanza = lines.find_map(|line| std::str::from_utf8(line).ok()?.strip_prefix("-> "));
    let word = stanza.and_then(|stanza| stanza.split(' ').next()).unwrap_or_default();
    let is_word = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    match word {
        "scrypt" => "password",
        _ if is_word => word,
        _ => "unknown",
    }
}

/// Adds a slot that a password opens. Returns its id.
///
/// # Errors
/// Those of [`new_password_slot`] and [`change_slots`].
pub fn add_password(repo: &Repository, password: &SecretString) -> Result<SlotId> {
    add(repo, new_password_slot(&content(repo)?, password)?, Vec::new())
}

/// Adds a slot for each of these recipients, or none if one of them is no recipient. Returns the ids.
///
/// # Errors
/// Those of [`new_recipient_slot`] and [`change_slots`].
pub fn add_recipients(repo: &Repository, recipients: &[String]) -> Result<Vec<SlotId>> {
    let content = content(repo)?;
    let slots = recipients.iter().map(|recipient| new_recipient_slot(&content, &[recipient]));
    let slots = slots.collect::<Result<Vec<_>>>()?;
    slots.into_iter().map(|bytes| add(repo, bytes, Vec::new())).collect()
}

/// Returns the slot whose password is this one.
///
/// # Errors
/// `InvalidInput` for an identity; `PermissionDenied` if the password opens no slot; those of
/// [`list_slots`].
pub fn opened_by(repo: &Repository, password: &Credential) -> Result<SlotId> {
    if let Credential::Identities(_) = password {
        let message = "an identity opens the repository, and not a password that could be changed";
        return Err(Error::new(ErrorKind::InvalidInput, message)
            .with_hint("unset the variable of the identity, and give the password that a slot has now"));
    }
    let slots = list_slots(repo)?;
    let opened = slots.into_iter().find(|slot| matches!(open_slot(&slot.bytes, password), Ok(Some(_))));
    opened.map(|slot| slot.id).ok_or_else(|| {
        Error::new(ErrorKind::PermissionDenied, "the password to be changed opens no key slot")
            .with_hint("give the password that a slot has now")
    })
}

/// Puts a slot with a new password in the place of another slot. Returns the id of the new slot.
///
/// # Errors
/// Those of [`new_password_slot`] and [`change_slots`].
pub fn change_password(repo: &Repository, old: SlotId, new: &SecretString) -> Result<SlotId> {
    add(repo, new_password_slot(&content(repo)?, new)?, vec![old])
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
