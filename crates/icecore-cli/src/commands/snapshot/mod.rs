//! `icecore snapshot`: all operations on snapshots.

pub(crate) mod columns;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod diff;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod map;
pub(crate) mod new;
pub(crate) mod protect;
pub(crate) mod prune;
pub(crate) mod rename;
pub(crate) mod tag;
pub(crate) mod undelete;

use icecore::Result;

use crate::app::App;
use crate::exit::Verdict;

/// Take, show and change snapshots
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotArgs {
    #[command(subcommand)]
    command: SnapshotCommand,
}

#[derive(Debug, clap::Subcommand)]
enum SnapshotCommand {
    #[command(visible_alias = "c")]
    Create(create::CreateArgs),
    #[command(visible_alias = "cp")]
    Copy(copy::CopyArgs),
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    #[command(visible_alias = "g")]
    Get(get::GetArgs),
    #[command(visible_alias = "rm")]
    Delete(delete::DeleteArgs),
    Undelete(undelete::UndeleteArgs),
    #[command(visible_alias = "mv")]
    Rename(rename::RenameArgs),
    Tag(tag::TagArgs),
    Protect(protect::ProtectArgs),
    Unprotect(protect::UnprotectArgs),
    Diff(diff::DiffArgs),
    Map(map::MapArgs),
    Prune(prune::PruneArgs),
}

impl SnapshotArgs {
    /// Returns the name of the command.
    pub(crate) fn words(&self) -> &'static str {
        match &self.command {
            SnapshotCommand::Create(_) => "snapshot create",
            SnapshotCommand::Copy(_) => "snapshot copy",
            SnapshotCommand::List(_) => "snapshot list",
            SnapshotCommand::Get(_) => "snapshot get",
            SnapshotCommand::Delete(_) => "snapshot delete",
            SnapshotCommand::Undelete(_) => "snapshot undelete",
            SnapshotCommand::Rename(_) => "snapshot rename",
            SnapshotCommand::Tag(_) => "snapshot tag",
            SnapshotCommand::Protect(_) => "snapshot protect",
            SnapshotCommand::Unprotect(_) => "snapshot unprotect",
            SnapshotCommand::Diff(_) => "snapshot diff",
            SnapshotCommand::Map(_) => "snapshot map",
            SnapshotCommand::Prune(_) => "snapshot prune",
        }
    }

    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        match &self.command {
            SnapshotCommand::Create(args) => args.run(app),
            SnapshotCommand::Copy(args) => args.run(app),
            SnapshotCommand::List(args) => args.run(app),
            SnapshotCommand::Get(args) => args.run(app),
            SnapshotCommand::Delete(args) => args.run(app),
            SnapshotCommand::Undelete(args) => args.run(app),
            SnapshotCommand::Rename(args) => args.run(app),
            SnapshotCommand::Tag(args) => args.run(app),
            SnapshotCommand::Protect(args) => args.run(app),
            SnapshotCommand::Unprotect(args) => args.run(app),
            SnapshotCommand::Diff(args) => args.run(app),
            SnapshotCommand::Map(args) => args.run(app),
            SnapshotCommand::Prune(args) => args.run(app),
        }
    }
}
