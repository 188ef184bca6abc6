//! An HTTP server that speaks DigitalOcean's API for local repositories, and a control panel for
//! people.
//!
//! Regions are repositories. Volumes and Droplets are copy-on-write volumes of the engine, served
//! as disks over NBD. Each request first looks at what is new in the repositories, so the server
//! sees at once what another program does to them. What the engine does not know is in an SQLite
//! database ([`db`]). Whatever of it must survive is also in labels of snapshots and volumes, so
//! that a lost database can be rebuilt.

pub mod db;
mod http;
mod ops;
mod panel;
mod pool;
mod server;
mod service;
mod wire;
mod words;

pub use crate::db::open_database;
pub use crate::http::openapi::document as openapi_document;
pub use crate::ops::log::start_log;
pub use crate::server::Controls;
pub use crate::server::Running;
pub use crate::server::serve;
pub use crate::words::error::ApiError;
