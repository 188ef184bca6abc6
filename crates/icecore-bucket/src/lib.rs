//! Repositories in buckets of S3 and what speaks it, of Google Cloud Storage and of Azure.
//!
//! A [`Bucket`] holds the [objects](icecore::storage::Objects) of a repository. It is opened with an
//! [`Address`] and [`Settings`], which find credentials where the tools of each cloud find them.
//! Calls block; requests run on one small runtime of the process, with limits on how many there are
//! and on the bytes that they hold.
//!
//! ```
//! use std::sync::Arc;
//!
//! use icecore::storage::FsStorage;
//! use icecore_bucket::{Address, Bucket, Settings};
//!
//! # let local = tempfile::tempdir()?;
//! let address: Address = "s3://lab/disks".parse()?;
//! let environment = |name: &str| (name == "AWS_REGION").then(|| "eu-west-1".to_owned());
//! let settings = Settings::new(&environment, None);
//! let bucket = Bucket::open(&address, &settings, Arc::new(FsStorage::new(local.path())))?;
//! assert_eq!(bucket.address().to_string(), "s3://lab/disks");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod attempts;
mod aws;
mod bucket;
mod cache;
mod clouds;
#[cfg(test)]
mod double;
mod fetch;
mod known;
mod object;
mod probe;
mod profile;
mod put;
mod refusal;
mod remote;
mod runtime;
mod settings;
mod staged;
mod transport;
mod trouble;
mod upload;

pub use crate::address::Address;
pub use crate::address::AddressError;
pub use crate::address::Cloud;
pub use crate::bucket::Bucket;
pub use crate::cache::Cache;
pub use crate::cache::Keep;
pub use crate::cache::Usage;
pub use crate::fetch::Fetch;
pub use crate::fetch::Tail;
pub use crate::probe::Probe;
pub use crate::settings::Options;
pub use crate::settings::Settings;
