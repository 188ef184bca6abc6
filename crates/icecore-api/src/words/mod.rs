//! Basic types for all other modules.

pub(crate) mod error;
pub(crate) mod hints;
pub(crate) mod ids;
pub(crate) mod ip_range;
pub(crate) mod names;
pub(crate) mod patience;
pub(crate) mod private;
pub(crate) mod ssh_key;
pub(crate) mod text;
pub(crate) mod time;
