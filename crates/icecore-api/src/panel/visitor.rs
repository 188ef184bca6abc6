//! The visitor of a page.

use crate::service::accounts::Who;
use crate::service::sessions::SESSION_SECONDS;
use crate::service::sessions::Session;

/// The name of the field of each form that says of which session it is.
pub(crate) const CSRF: &str = "csrf";

/// Somebody who has signed in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) session: Session,
    /// What the cookie has.
    pub(crate) secret: String,
    /// The path and query that is looked at.
    pub(crate) at: String,
    /// Whether it came over TLS.
    pub(crate) encrypted: bool,
}

impl Visitor {
    /// Returns the account.
    pub(crate) fn who(&self) -> &Who {
        &self.session.who
    }
}

/// Returns the name of the cookie. Over TLS the browser lets no other host set it, and does not
/// send it without TLS.
pub(crate) fn cookie_name(encrypted: bool) -> &'static str {
    if encrypted { "__Host-icecore" } else { "icecore" }
}

/// Returns the header that sets the cookie, or takes it away where there is no secret.
pub(crate) fn cookie(secret: Option<&str>, encrypted: bool) -> String {
    let (name, secure) = (cookie_name(encrypted), if encrypted { "; Secure" } else { "" });
    let (value, age) = secret.map_or(("", 0), |secret| (secret, SESSION_SECONDS));
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
}
