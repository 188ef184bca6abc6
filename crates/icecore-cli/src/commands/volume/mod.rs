//! `icecore volume`: all operations on copy-on-write volumes.

pub(crate) mod change;
pub(crate) mod columns;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod export;
pub(crate) mod get;
pub(crate) mod list;
mod prefetch;
pub(crate) mod serve;
pub(crate) mod snapshot;

use icecore::Result;

use crate::app::App;
use crate::exit::Verdict;

/// Create, serve and change volumes: writable copy-on-write clones of snapshots
#[derive(Debug, clap::Args)]
pub(crate) struct VolumeArgs {
    #[command(subcommand)]
    command: VolumeCommand,
}

#[derive(Debug, clap::Subcommand)]
enum VolumeCommand {
    #[command(visible_alias = "c")]
    Create(create::CreateArgs),
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    #[command(visible_alias = "g")]
    Get(get::GetArgs),
    Serve(serve::ServeArgs),
    #[command(visible_alias = "snap")]
    Snapshot(snapshot::SnapshotArgs),
    Reset(change::ResetArgs),
    Restore(change::RestoreArgs),
    Resize(change::ResizeArgs),
    Export(export::ExportArgs),
    #[command(visible_alias = "rm")]
    Delete(delete::DeleteArgs),
}

impl VolumeArgs {
    /// Returns the name of the command.
    pub(crate) fn words(&self) -> &'static str {
        match &self.command {
            VolumeCommand::Create(_) => "volume create",
            VolumeCommand::List(_) => "volume list",
            VolumeCommand::Get(_) => "volume get",
            VolumeCommand::Serve(_) => "volume serve",
            VolumeCommand::Snapshot(_) => "volume snapshot",
            VolumeCommand::Reset(_) => "volume reset",
            VolumeCommand::Restore(_) => "volume restore",
            VolumeCommand::Resize(_) => "volume resize",
            VolumeCommand::Export(_) => "volume export",
            VolumeCommand::Delete(_) => "volume delete",
        }
    }

    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        match &self.command {
            VolumeCommand::Create(args) => args.run(app),
            VolumeCommand::List(args) => args.run(app),
            VolumeCommand::Get(args) => args.run(app),
            VolumeCommand::Serve(args) => args.run(app),
            VolumeCommand::Snapshot(args) => args.run(app),
            VolumeCommand::Reset(args) => args.run(app),
            VolumeCommand::Restore(args) => args.run(app),
            VolumeCommand::Resize(args) => args.run(app),
            VolumeCommand::Export(args) => args.run(app),
            VolumeCommand::Delete(args) => args.run(app),
        }
    }
}
