//! What a client gives to the machine of a new Droplet for its first start. The server runs no
//! machine: it keeps this for the program that does.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The most user data, in bytes.
const USER_DATA_MAX: usize = 64 << 10;
/// The most SSH keys.
const KEYS_MAX: usize = 256;

/// What the machine gets. The database keeps it as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FirstBoot {
    #[serde(default)]
    pub(crate) ssh_keys: Vec<KeyRef>,
    #[serde(default)]
    pub(crate) user_data: Option<String>,
    #[serde(default)]
    pub(crate) with_droplet_agent: Option<bool>,
}

/// An SSH key, as a client names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected the id or the fingerprint of an SSH key")]
pub(crate) enum KeyRef {
    /// By its integer id.
    Number(i64),
    /// By its fingerprint.
    Fingerprint(String),
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Fingerprint(text) => f.write_str(text),
        }
    }
}

impl FirstBoot {
    /// Returns whether there is nothing to keep.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns it as the database keeps it.
    pub(super) fn to_text(&self) -> ApiResult<String> {
        serde_json::to_string(self).map_err(ApiError::server)
    }

    /// Reads what the database kept. Of a later version's text, it keeps what it knows.
    pub(super) fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// Checks the sizes.
    pub(super) fn check(&self) -> ApiResult<()> {
        if self.user_data.as_ref().is_some_and(|data| data.len() > USER_DATA_MAX) {
            return Err(ApiError::unprocessable(format!(
                "user_data must have at most {USER_DATA_MAX} bytes"
            )));
        }
        if self.ssh_keys.len() > KEYS_MAX {
            return Err(ApiError::unprocessable(format!("ssh_keys must be at most {KEYS_MAX}")));
        }
        Ok(())
    }
}
