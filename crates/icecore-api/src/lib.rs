//! An HTTP server that speaks DigitalOcean's API for local repositories, and a control panel for people.
//!
//! Regions are repositories, volumes and Droplets are copy-on-write volumes of the engine, served as disks over NBD. What the
//! engine knows, it is asked for, each time: what another program does to a repository is seen at once. What it does not know
//! stands in an SQLite database ([`db`]), and what is worth keeping of that is noted in labels of snapshots and volumes too, so
//! that a lost database is made again.

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
