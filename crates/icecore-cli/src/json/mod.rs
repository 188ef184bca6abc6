//! The output of `-o json`: one schema for all commands, described field by field in
//! `docs/json.md`.

mod bench;
mod key;
mod log;
mod prune;
mod repo;
#[cfg(feature = "server")]
mod server;
mod snapshot;
mod upkeep;
mod volume;

use icecore::Error;
use serde::Serialize;

use crate::exit;
use crate::hints::hint_of;

pub(crate) use crate::json::bench::BenchResult;
pub(crate) use crate::json::key::Key;
pub(crate) use crate::json::key::KeyRotatedResult;
pub(crate) use crate::json::key::KeysChangedResult;
pub(crate) use crate::json::key::KeysResult;
pub(crate) use crate::json::key::slot_state;
pub(crate) use crate::json::log::LogResult;
pub(crate) use crate::json::prune::PruneResult;
#[cfg(feature = "bucket")]
pub(crate) use crate::json::repo::CacheResult;
pub(crate) use crate::json::repo::Checked;
pub(crate) use crate::json::repo::NamedRepository;
pub(crate) use crate::json::repo::RepoAddResult;
pub(crate) use crate::json::repo::RepoCheckResult;
pub(crate) use crate::json::repo::RepoListResult;
pub(crate) use crate::json::repo::Store;
#[cfg(feature = "server")]
pub(crate) use crate::json::server::ServerResult;
#[cfg(feature = "server")]
pub(crate) use crate::json::server::Token;
#[cfg(feature = "server")]
pub(crate) use crate::json::server::TokenCreatedResult;
#[cfg(feature = "server")]
pub(crate) use crate::json::server::TokenRevokedResult;
#[cfg(feature = "server")]
pub(crate) use crate::json::server::TokensResult;
pub(crate) use crate::json::snapshot::ChangedRange;
pub(crate) use crate::json::snapshot::CopiedSnapshot;
pub(crate) use crate::json::snapshot::CopyResult;
pub(crate) use crate::json::snapshot::CreateResult;
pub(crate) use crate::json::snapshot::DeleteResult;
pub(crate) use crate::json::snapshot::DeletedSnapshot;
pub(crate) use crate::json::snapshot::DiffTotals;
pub(crate) use crate::json::snapshot::ListDeletedResult;
pub(crate) use crate::json::snapshot::ListResult;
pub(crate) use crate::json::snapshot::Made;
pub(crate) use crate::json::snapshot::MapResult;
pub(crate) use crate::json::snapshot::RestoreResult;
pub(crate) use crate::json::snapshot::Restored;
pub(crate) use crate::json::snapshot::Snapshot;
pub(crate) use crate::json::snapshot::SnapshotResult;
pub(crate) use crate::json::snapshot::SnapshotsResult;
pub(crate) use crate::json::snapshot::UndeleteResult;
pub(crate) use crate::json::snapshot::change_name;
pub(crate) use crate::json::upkeep::CompletionsResult;
pub(crate) use crate::json::upkeep::DemoResult;
pub(crate) use crate::json::upkeep::DemoStep;
pub(crate) use crate::json::upkeep::GcResult;
pub(crate) use crate::json::upkeep::InitResult;
pub(crate) use crate::json::upkeep::ManResult;
pub(crate) use crate::json::upkeep::MarkdownResult;
pub(crate) use crate::json::upkeep::ParityResult;
pub(crate) use crate::json::upkeep::RepairCatalogResult;
pub(crate) use crate::json::upkeep::RepairIndexResult;
pub(crate) use crate::json::upkeep::RepairPacksResult;
pub(crate) use crate::json::upkeep::RepairSnapshotsResult;
pub(crate) use crate::json::upkeep::StatsResult;
pub(crate) use crate::json::upkeep::VerifyResult;
pub(crate) use crate::json::volume::Export;
pub(crate) use crate::json::volume::ServeResult;
pub(crate) use crate::json::volume::Unreadable;
pub(crate) use crate::json::volume::Volume;
pub(crate) use crate::json::volume::VolumeExportResult;
pub(crate) use crate::json::volume::VolumeResult;
pub(crate) use crate::json::volume::VolumeSnapshotResult;
pub(crate) use crate::json::volume::VolumesDeletedResult;
pub(crate) use crate::json::volume::VolumesResult;

/// The version of the schema. New fields do not change it; a new meaning of a field does.
pub(crate) const SCHEMA: u32 = 1;

/// The envelope of every result.
#[derive(Serialize)]
pub(crate) struct Envelope<'a, T> {
    icecore: u32,
    command: Option<&'a str>,
    result: &'a T,
}

impl<'a, T> Envelope<'a, T> {
    pub(crate) fn new(command: Option<&'a str>, result: &'a T) -> Self {
        Self { icecore: SCHEMA, command, result }
    }
}

/// The envelope of every error.
#[derive(Serialize)]
pub(crate) struct ErrorEnvelope<'a> {
    icecore: u32,
    command: Option<&'a str>,
    error: ErrorBody,
}

impl<'a> ErrorEnvelope<'a> {
    pub(crate) fn new(command: Option<&'a str>, error: &Error) -> Self {
        Self { icecore: SCHEMA, command, error: ErrorBody::new(error) }
    }
}

/// An error.
#[derive(Serialize)]
pub(crate) struct ErrorBody {
    kind: &'static str,
    exit_code: u8,
    message: String,
    hint: Option<String>,
}

impl ErrorBody {
    pub(crate) fn new(error: &Error) -> Self {
        Self {
            kind: error.kind().word(),
            exit_code: exit::exit_code(error.kind()),
            message: error.to_string(),
            hint: hint_of(error),
        }
    }
}
