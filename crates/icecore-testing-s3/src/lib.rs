//! An S3 server for tests and benches: no program for users contains it.
//!
//! Objects are in memory, or their bodies in a directory. Requests are signed, and each credential
//! has rights of its own. In front of it is a [`Link`] with a latency and a rate. [`Faults`] make
//! requests fail before or after they were carried out. Each request is in a log.
//!
//! ```
//! use icecore_testing_s3::Fault;
//! use icecore_testing_s3::Faults;
//! use icecore_testing_s3::Options;
//! use icecore_testing_s3::Rule;
//! use icecore_testing_s3::Server;
//!
//! # fn main() -> std::io::Result<()> {
//! let server = Server::start(&Options { buckets: vec!["lab".to_owned()], ..Options::default() })?;
//! server.set_faults(Faults::script(vec![Rule::new(Fault::slow_down()).on("PutObject").times(2)]));
//! // ... a client works with `server.endpoint()`, access key `test` and secret `secret` ...
//! assert_eq!(server.counters().requests, 0);
//! # Ok(())
//! # }
//! ```

mod auth;
mod bodies;
mod bucket;
mod calls;
mod clock;
mod content;
mod control;
mod faults;
mod front;
mod intake;
mod link;
mod log;
mod options;
mod rights;
mod server;
mod store;
mod target;

pub use crate::faults::Fault;
pub use crate::faults::Faults;
pub use crate::faults::Rule;
pub use crate::log::Call;
pub use crate::log::Counters;
pub use crate::options::Link;
pub use crate::options::Options;
pub use crate::rights::Credential;
pub use crate::rights::Rights;
pub use crate::server::Server;
