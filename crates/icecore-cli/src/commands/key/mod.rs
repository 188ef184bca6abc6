//! `icecore key`: who can open a sealed repository, and the keys that its data is sealed with.

pub(crate) mod add;
pub(crate) mod change_password;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod rotate;

use icecore::Result;

use crate::app::App;
use crate::exit::Verdict;

/// Manage the passwords and keys of a sealed repository
///
/// A key slot holds the master key of the repository, sealed for one password or one public key. Any
/// one slot opens the repository. Each slot is a file of the format of `age`, which can decrypt it
/// too.
///
/// The password comes from ICECORE_PASSWORD_COMMAND, ICECORE_PASSWORD_FILE, ICECORE_PASSWORD, the
/// systemd credential icecore-password, or the terminal; a private key from ICECORE_IDENTITY. No
/// option takes a password, because every user of a machine can see the arguments of programs.
#[derive(Debug, clap::Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum KeyCommand {
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    Add(add::AddArgs),
    #[command(visible_alias = "rm")]
    Remove(remove::RemoveArgs),
    ChangePassword(change_password::ChangePasswordArgs),
    Rotate(rotate::RotateArgs),
}

impl KeyArgs {
    /// Returns the name of the command.
    pub(crate) fn words(&self) -> &'static str {
        match &self.command {
            KeyCommand::List(_) => "key list",
            KeyCommand::Add(_) => "key add",
            KeyCommand::Remove(_) => "key remove",
            KeyCommand::ChangePassword(_) => "key change-password",
            KeyCommand::Rotate(_) => "key rotate",
        }
    }

    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        match &self.command {
            KeyCommand::List(args) => args.run(app),
            KeyCommand::Add(args) => args.run(app),
            KeyCommand::Remove(args) => args.run(app),
            KeyCommand::ChangePassword(args) => args.run(app),
            KeyCommand::Rotate(args) => args.run(app),
        }
    }
}
