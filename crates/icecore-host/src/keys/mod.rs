//! The keys of sealed repositories: slots that hold a master key, and where the password or the
//! identity that opens one comes from.

mod answers;
pub(crate) mod content;
pub mod core_dumps;
mod identity;
pub mod manage;
pub mod prompt;
mod recipient;
mod slot;
pub mod sources;
pub mod unlock;
mod words;

pub use age::secrecy::SecretString;

pub use self::content::SlotContent;
pub use self::slot::Credential;
pub use self::slot::new_password_slot;
pub use self::slot::new_recipient_slot;
pub use self::slot::open_slot;
pub use self::words::Ask;
