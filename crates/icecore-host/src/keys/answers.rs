//! What plugins and protected SSH keys may ask.

use std::fmt;

use age::Callbacks;
use age::secrecy::SecretString;

use crate::keys::words::Ask;

/// Answers plugins and protected keys: with a password from the terminal if there is one, and else
/// with nothing.
#[derive(Clone, Default)]
pub(super) struct Answers(pub(super) Option<Ask>);

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers")
    }
}

impl Callbacks for Answers {
    fn display_message(&self, _: &str) {}

    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }

    fn request_public_string(&self, _: &str) -> Option<String> {
        None
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        (self.0.as_ref()?)(description).ok()
    }
}
