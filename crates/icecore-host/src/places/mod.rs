//! Where repositories are: directories, buckets, and what the configuration calls by a name.

mod adding;
mod address;
mod beginning;
#[cfg(feature = "bucket")]
mod bucket;
mod environment;
mod location;
mod named;
mod store;

pub use crate::places::address::Address;
pub use crate::places::environment::CACHE_BYTES_MAX;
pub use crate::places::environment::Environment;
pub use crate::places::environment::Reading;
pub use crate::places::location::Location;
pub use crate::places::named::BucketOptions;
pub use crate::places::named::Named;
pub use crate::places::store::Store;
pub use toml_edit::Value as OptionValue;
