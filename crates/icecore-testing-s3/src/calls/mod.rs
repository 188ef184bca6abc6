//! The S3 operations.

pub(crate) mod listing;
mod parts;
mod reading;
pub(crate) mod service;
mod values;
mod writing;
