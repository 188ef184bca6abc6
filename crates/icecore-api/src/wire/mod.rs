//! The API's objects, as they stand in JSON.

pub(crate) mod account;
pub(crate) mod action;
pub(crate) mod backup_policy;
pub(crate) mod blank;
pub(crate) mod destruction;
pub(crate) mod droplet;
pub(crate) mod error;
pub(crate) mod image;
pub(crate) mod list;
pub(crate) mod network;
pub(crate) mod new_droplet;
pub(crate) mod project;
pub(crate) mod region;
pub(crate) mod snapshot;
pub(crate) mod ssh_key;
pub(crate) mod tag;
pub(crate) mod volume;
pub(crate) mod volume_action;
pub(crate) mod vpc;
