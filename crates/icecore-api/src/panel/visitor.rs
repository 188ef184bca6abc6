//! The visitor of a page.

use crate::service::accounts::Who;
use crate::service::sessions::SESSION_SECONDS;
use crate::service::sessions::Session;

/// The name of the form field that ties a form to its session.
pub(crate) const CSRF: &str = "csrf";

/// A person who has signed in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) session: Session,
    /// The secret in the cookie.
    pub(crate) secret: String,
    /// The requested path and query.
    pub(crate) at: String,
    /// Whether the request came over TLS.
    pub(crate) encrypted: bool,
}

impl Visitor {
    /// Returns the account.
    pub(crate) fn who(&self) -> &Who {
        &self.session.who
    }
}

/// Returns the name of the cookie. Over TLS, this name makes the browser accept the cookie from no
/// other host, and send it only over TLS.
pub(crate) fn cookie_name(encrypted: bool) -> &'static str {
    if encrypted { "__Host-icecore" } else { "icecore" }
}

/// Returns the header that sets the cookie, or removes it if there is no secret.
pub(crate) fn cookie(secret: Option<&str>, encrypted: bool) -> String {
    let (name, secure) = (cookie_name(encrypted), if encrypted { "; Secure" } else { "" });
    let (value, age) = secret.map_or(("", 0), |secret| (secret, SESSION_SECONDS));
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
}
