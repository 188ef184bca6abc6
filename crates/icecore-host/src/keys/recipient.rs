//! Recipients: public keys that a slot is made for.

use age::plugin::RecipientPluginV1;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;

use crate::keys::answers::Answers;

pub(super) fn parse(text: &str) -> Result<Box<dyn age::Recipient + Send>> {
    let text = text.trim();
    if let Ok(recipient) = text.parse::<age::x25519::Recipient>() {
        return Ok(Box::new(recipient));
    }
    // Private keys are mistaken for public ones, and must not be in an error.
    let shown = if text.starts_with("age1") || text.starts_with("ssh-") { text } else { "this" };
    if let Ok(recipient) = text.parse::<age::ssh::Recipient>() {
        return Ok(Box::new(recipient));
    }
    if let Ok(recipient) = text.parse::<age::plugin::Recipient>() {
        let name = recipient.plugin().to_owned();
        let plugin = RecipientPluginV1::new(&name, &[recipient], &[], Answers::default());
        return plugin.map(|plugin| Box::new(plugin) as _).map_err(|_| {
            Error::new(ErrorKind::NotFound, format!("{shown} needs the program age-plugin-{name}"))
                .with_hint("install it in the PATH")
        });
    }
    Err(Error::new(ErrorKind::InvalidInput, format!("{shown} is not a public key that a slot can be made for"))
        .with_hint("name an age recipient (age1...), or an SSH key of the kind ssh-ed25519, or ssh-rsa of 2048 to 4096 bits"))
}
