//! `icecore key add`.

use std::path::PathBuf;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::SlotId;
use icecore_host::keys::manage;

use crate::app;
use crate::app::App;
use crate::exit::Verdict;
use crate::host;
use crate::json;

/// The most bytes of a file of recipients.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Let another password or key open the repository
///
/// Without --recipient, adds a password: from ICECORE_NEW_PASSWORD_COMMAND,
/// ICECORE_NEW_PASSWORD_FILE, ICECORE_NEW_PASSWORD, or typed twice on the terminal.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  icecore key add\n  icecore key add --recipient age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z\n  icecore key add --recipients-file ~/.ssh/id_ed25519.pub"
)]
pub(crate) struct AddArgs {
    /// A public key: of age (age1...) or of SSH (ssh-ed25519 ..., ssh-rsa ...); can be repeated
    #[arg(short, long, value_name = "PUBLIC_KEY")]
    recipient: Vec<String>,
    /// A file with public keys, one per line; lines that begin with # are comments
    #[arg(short = 'R', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    recipients_file: Vec<PathBuf>,
}

impl AddArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        let added = if self.recipient.is_empty() && self.recipients_file.is_empty() {
            icecore::keys::master_key(&repo)?;
            let new = app::of_place(&host::key_sources().named("ICECORE_NEW"), &app.place()?.at);
            vec![manage::add_password(&repo, &new.new_password()?)?]
        } else {
            manage::add_recipients(&repo, &self.recipients()?)?
        };
        let text: String = added.iter().map(|id| format!("added key slot {id}\n")).collect();
        let result = json::KeysChangedResult {
            added: added.iter().map(SlotId::to_string).collect(),
            removed: Vec::new(),
        };
        app.ui.result(&result, &text)?;
        Ok(Verdict::Clean)
    }

    /// Returns all public keys, of the arguments and of the files.
    fn recipients(&self) -> Result<Vec<String>> {
        let mut recipients = self.recipient.clone();
        for path in &self.recipients_file {
            let of_file = |what: &str| {
                let message = format!("{} {what}", path.display());
                Error::new(ErrorKind::InvalidInput, message).with_hint("name a file with public keys")
            };
            let doing = || format!("reading the public keys in {}", path.display());
            let about = std::fs::metadata(path).map_err(|error| Error::io(doing(), error))?;
            if about.len() > FILE_BYTES_MAX {
                return Err(of_file("is too large for a file of public keys"));
            }
            let text = std::fs::read_to_string(path).map_err(|error| Error::io(doing(), error))?;
            // A private key must not get into an error, line by line.
            if text.contains("PRIVATE KEY") || text.contains("AGE-SECRET-KEY") {
                return Err(of_file("has a private key"));
            }
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            let before = recipients.len();
            recipients.extend(lines.map(str::to_owned));
            if recipients.len() == before {
                return Err(of_file("has no public key"));
            }
        }
        Ok(recipients)
    }
}
