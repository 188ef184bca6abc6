//! The database: data that the engine does not know. Everything that matters can be rebuilt from
//! the repositories.

mod accounts;
mod actions;
mod connection;
mod destructions;
mod first_boots;
mod imports;
mod numbers;
mod offers;
mod operation;
mod projects;
mod schema;
mod sessions;
mod ssh_keys;
mod tags;
mod usage;
mod vpcs;

pub use crate::db::accounts::TokenInfo;
pub(crate) use crate::db::actions::Action;
pub(crate) use crate::db::actions::ActionStatus;
pub(crate) use crate::db::actions::NewAction;
pub use crate::db::connection::Db;
pub use crate::db::connection::open_database;
pub(crate) use crate::db::imports::Import;
pub(crate) use crate::db::numbers::Numbered;
pub(crate) use crate::db::offers::Offer;
pub(crate) use crate::db::projects::Assignment;
pub(crate) use crate::db::projects::Project;
pub(crate) use crate::db::sessions::NewSession;
pub(crate) use crate::db::ssh_keys::SshKey;
pub(crate) use crate::db::usage::UsageSample;
pub(crate) use crate::db::vpcs::Vpc;
