//! SSH keys. The server keeps them for clients that look for them; it puts them into no disk.

use std::sync::Arc;

use crate::db::Db;
use crate::db::SshKey;
use crate::service::accounts::Who;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::ids;
use crate::words::names;
use crate::words::ssh_key::fingerprint;

/// The longest public key, in bytes: an RSA key of 16384 bits has 2800.
const KEY_BYTES_MAX: usize = 8192;

/// The SSH keys of all accounts.
pub(crate) struct SshKeys {
    db: Arc<Db>,
}

impl SshKeys {
    pub(super) fn new(db: &Arc<Db>) -> Self {
        Self { db: Arc::clone(db) }
    }

    /// Returns all keys of an account, oldest first.
    pub(crate) fn list(&self, who: &Who) -> ApiResult<Vec<SshKey>> {
        self.db.ssh_keys(&who.0)
    }

    /// Returns the key with an id or a fingerprint.
    pub(crate) fn get(&self, who: &Who, id: &str) -> ApiResult<SshKey> {
        self.list(who)?.into_iter().find(|key| is_key(key, id)).ok_or_else(ApiError::not_found)
    }

    /// Adds a key.
    pub(crate) fn create(&self, who: &Who, name: &str, public_key: &str) -> ApiResult<SshKey> {
        names::check_text("name", name)?;
        let public_key = public_key.trim();
        if public_key.len() > KEY_BYTES_MAX {
            return Err(ApiError::unprocessable(format!(
                "public_key can have at most {KEY_BYTES_MAX} bytes"
            )));
        }
        let fingerprint = fingerprint(public_key).ok_or_else(|| {
            ApiError::unprocessable("Key invalid, key should be of the format `type key [comment]`")
        })?;
        let new = self.db.make_ssh_key(&who.0, name, public_key, &fingerprint)?;
        new.ok_or_else(|| ApiError::unprocessable("SSH Key is already in use on your account"))
    }

    /// Changes the name of a key.
    pub(crate) fn rename(&self, who: &Who, id: &str, name: &str) -> ApiResult<SshKey> {
        let key = self.get(who, id)?;
        names::check_text("name", name)?;
        self.db.rename_ssh_key(key.id, name)?;
        Ok(SshKey { name: name.to_owned(), ..key })
    }

    /// Deletes a key.
    pub(crate) fn delete(&self, who: &Who, id: &str) -> ApiResult<()> {
        self.db.forget_ssh_key(self.get(who, id)?.id)
    }

    /// Checks that an account has all these keys, each given by its id or its fingerprint.
    pub(crate) fn check_keys(&self, who: &Who, wanted: &[impl ToString]) -> ApiResult<()> {
        if wanted.is_empty() {
            return Ok(());
        }
        let all = self.list(who)?;
        let mut unknown: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        unknown.retain(|id| !all.iter().any(|key| is_key(key, id)));
        match unknown.is_empty() {
            true => Ok(()),
            false => Err(ApiError::unprocessable(format!(
                "{} are invalid key identifiers for Droplet creation.",
                unknown.join(", ")
            ))),
        }
    }
}

/// Returns whether a client means this key.
fn is_key(key: &SshKey, id: &str) -> bool {
    ids::number(id) == Some(key.id) || key.fingerprint.eq_ignore_ascii_case(id)
}
