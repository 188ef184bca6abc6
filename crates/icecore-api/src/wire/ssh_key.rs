//! SSH keys.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::SshKey;
use crate::wire::blank;
use crate::wire::list::body;
use crate::wire::list::list_body;

/// An SSH key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SshKeyJson {
    pub(crate) id: i64,
    /// The MD5 digest of the key, in hexadecimal with colons.
    pub(crate) fingerprint: String,
    pub(crate) public_key: String,
    pub(crate) name: String,
}

body!(
    /// An SSH key.
    SshKeyBody, ssh_key: SshKeyJson
);
list_body!(
    /// SSH keys.
    SshKeysBody, ssh_keys: SshKeyJson
);

/// A new SSH key.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewSshKey {
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) name: Option<String>,
    /// `type key [comment]`
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) public_key: Option<String>,
}

/// The properties of an SSH key to change.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct SshKeyUpdate {
    #[serde(default, deserialize_with = "blank::text")]
    pub(crate) name: Option<String>,
}

impl From<SshKey> for SshKeyJson {
    fn from(key: SshKey) -> Self {
        Self { id: key.id, fingerprint: key.fingerprint, public_key: key.public_key, name: key.name }
    }
}
