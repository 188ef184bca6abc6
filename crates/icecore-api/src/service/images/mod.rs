//! Images: the sources of Droplets. Snapshots of Droplets are images, under the same numbers.

pub(crate) mod catalog;
pub(crate) mod commands;
mod convert;
mod download;
pub(crate) mod import;
pub(crate) mod item;
pub(crate) mod jobs;
pub(crate) mod offers;
mod probe;
mod remote;
mod source;
mod spool;
