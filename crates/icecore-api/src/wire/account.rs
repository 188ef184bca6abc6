//! The account.

use serde::Serialize;
use utoipa::ToSchema;

use crate::wire::list::body;

/// An account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountJson {
    pub(crate) droplet_limit: usize,
    pub(crate) floating_ip_limit: usize,
    pub(crate) reserved_ip_limit: usize,
    pub(crate) volume_limit: usize,
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) email_verified: bool,
    pub(crate) status: String,
    pub(crate) status_message: String,
    pub(crate) team: TeamJson,
}

/// The team of an account: itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TeamJson {
    pub(crate) uuid: String,
    pub(crate) name: String,
}

body!(
    /// The account.
    AccountBody, account: AccountJson
);
