//! Basic types for all other modules: ids, sizes, errors, progress.

pub(crate) mod directory;
pub(crate) mod error;
pub(crate) mod ids;
pub(crate) mod names;
pub(crate) mod next_step;
pub(crate) mod parity;
pub(crate) mod pool;
pub(crate) mod progress;
pub(crate) mod sizes;
pub(crate) mod sync;
pub(crate) mod time;
pub(crate) mod units;
