//! JSON of `key`.

use icecore::keys::SlotInfo;
use icecore::keys::SlotState;
use icecore_host::keys::manage;
use serde::Serialize;

use crate::units;

/// A key slot.
#[derive(Serialize)]
pub(crate) struct Key {
    id: String,
    kind: String,
    created: Option<String>,
    state: &'static str,
}

impl Key {
    pub(crate) fn new(slot: &SlotInfo) -> Self {
        Self {
            id: slot.id.to_string(),
            kind: manage::kind(slot).to_owned(),
            created: slot.created_unix_ms.and_then(units::time_exact),
            state: slot_state(slot.state),
        }
    }
}

/// Returns the word for the state of a key slot.
pub(crate) fn slot_state(state: SlotState) -> &'static str {
    match state {
        SlotState::Sound => "sound",
        SlotState::OneCopy => "one_copy",
        SlotState::Lost => "lost",
        SlotState::Damaged => "damaged",
        SlotState::Unknown => "unknown",
    }
}

/// The result of `key list`.
#[derive(Serialize)]
pub(crate) struct KeysResult {
    /// The slots, oldest first.
    pub(crate) keys: Vec<Key>,
    /// The epoch whose keys new data is sealed with.
    pub(crate) epoch: u32,
}

/// The result of `key add`, `key remove` and `key change-password`.
#[derive(Serialize)]
pub(crate) struct KeysChangedResult {
    /// The ids of new slots.
    pub(crate) added: Vec<String>,
    /// The ids of slots that are gone.
    pub(crate) removed: Vec<String>,
}

/// The result of `key rotate`.
#[derive(Serialize)]
pub(crate) struct KeyRotatedResult {
    /// The epoch that began.
    pub(crate) epoch: u32,
}
