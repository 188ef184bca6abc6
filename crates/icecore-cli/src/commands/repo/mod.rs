//! `icecore repo`: repositories that have names.

pub(crate) mod add;
pub(crate) mod check;
pub(crate) mod list;

use icecore::Result;

use crate::app::App;
use crate::exit::Verdict;

/// Show, add and check repositories that have names
///
/// The configuration gives names to repositories: $XDG_CONFIG_HOME/icecore/config.toml (by default
/// ~/.config/icecore/config.toml), then /etc/icecore/config.toml. --repo @lab uses the one named lab.
#[derive(Debug, clap::Args)]
pub(crate) struct RepoArgs {
    #[command(subcommand)]
    command: RepoCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RepoCommand {
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    Add(add::AddArgs),
    Check(check::CheckArgs),
}

impl RepoArgs {
    /// Returns the name of the command.
    pub(crate) fn words(&self) -> &'static str {
        match &self.command {
            RepoCommand::List(_) => "repo list",
            RepoCommand::Add(_) => "repo add",
            RepoCommand::Check(_) => "repo check",
        }
    }

    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        match &self.command {
            RepoCommand::List(args) => args.run(app),
            RepoCommand::Add(args) => args.run(app),
            RepoCommand::Check(args) => args.run(app),
        }
    }
}
