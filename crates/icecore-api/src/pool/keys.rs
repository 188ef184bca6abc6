//! What opens the sealed repository of a region.

use std::path::PathBuf;
use std::sync::Arc;

use icecore::Error;
use icecore::ErrorKind;
use icecore::repository::Unlock;
use icecore_host::config::RegionConfig;
use icecore_host::keys::core_dumps;
use icecore_host::keys::sources::Lookup;
use icecore_host::keys::sources::Sources;
use icecore_host::keys::unlock;

/// Returns where the password or the private key of a region comes from: what the configuration
/// names for it, else its own credential of systemd, else what is set for the whole process. A server
/// asks nobody.
pub(super) fn sources(slug: &str, config: &RegionConfig, environment: Lookup) -> Sources {
    let of = format!("the repository in {}", config.repository);
    let credential = || {
        let dir = environment("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty())?;
        let file = PathBuf::from(dir).join(format!("icecore-password-{slug}"));
        file.exists().then_some(file)
    };
    let identity = config.identity_file.clone();
    let password = config.password_file.clone();
    let password = if identity.is_none() { password.or_else(credential) } else { password };
    if identity.is_none() && password.is_none() {
        return Sources::new(environment, None).of(of);
    }
    let own: Lookup = Arc::new(move |name| {
        let file = match name {
            "ICECORE_IDENTITY" => &identity,
            "ICECORE_PASSWORD_FILE" => &password,
            _ => &None,
        };
        file.clone().map(PathBuf::into_os_string)
    });
    Sources::new(own, None).of(of)
}

/// Returns how to open the repository of a region. The key stays in memory: the file with the
/// password is read once.
pub(super) fn unlock(slug: &str, sources: Sources) -> Unlock {
    let hint = format!(
        "set `password_file` or `identity_file` in [regions.{slug}], or load the systemd credential icecore-password"
    );
    let missing =
        (!sources.are_set()).then(|| format!("{} is sealed, and there is no password", sources.what()));
    let unlock = unlock::with(sources);
    Unlock::new(move |slots, fits| {
        if let Some(missing) = &missing {
            return Err(Error::new(ErrorKind::PermissionDenied, missing.clone()).with_hint(hint.clone()));
        }
        forbid_core_dumps();
        unlock.open(slots, fits)
    })
}

/// From now on there are keys in memory.
pub(super) fn forbid_core_dumps() {
    if let Err(error) = core_dumps::forbid() {
        tracing::warn!(%error, "a crash of this server may write keys to the disk");
    }
}
