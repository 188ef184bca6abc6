//! `icecore repo check`.

use std::ffi::OsString;

use icecore::Error;
use icecore::Result;

use crate::app::App;
use crate::app::Place;
use crate::commands::init::told;
use crate::exit::Verdict;
use crate::hints::hint_of;
use crate::host;
use crate::json;
use crate::ui;

/// Check that repositories can be reached, and what their stores keep
///
/// Shows the id of each, and whether it is sealed; needs no password. In a bucket, tries with small
/// objects whether the store keeps apart what several machines write; where the credentials may not
/// delete, these objects stay. Continues after a problem, and then exits with 1.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Names, as @NAME, or other addresses [default: all that have names]
    #[arg(value_name = "REPO", value_hint = clap::ValueHint::DirPath)]
    repositories: Vec<OsString>,
    /// Write nothing into buckets
    #[arg(long)]
    no_probe: bool,
}

impl CheckArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let all = match self.repositories.is_empty() {
            false => self.repositories.clone(),
            true => {
                let named = host::surroundings().repositories()?.into_iter();
                named.map(|named| OsString::from(format!("@{}", named.name))).collect()
            }
        };
        let repositories: Vec<json::Checked> = all.iter().map(|address| self.check(address)).collect();
        let is_fine = repositories.iter().all(|checked| checked.problem.is_none());
        let text: String = all.iter().zip(&repositories).map(|(address, it)| lines(address, it)).collect();
        app.ui.result(&json::RepoCheckResult { repositories }, &text)?;
        Ok(Verdict::from_findings(!is_fine))
    }

    fn check(&self, address: &OsString) -> json::Checked {
        let shown = address.display().to_string();
        let mut checked = json::Checked {
            name: shown.strip_prefix('@').map(str::to_owned),
            address: shown,
            id: None,
            sealed: None,
            only_writer: None,
            store: None,
            problem: None,
        };
        checked.problem = self.look(address, &mut checked).err().map(|error| problem(&error));
        checked
    }

    fn look(&self, address: &OsString, into: &mut json::Checked) -> Result<()> {
        let at = Place::at(address)?.at;
        into.address = at.to_string();
        let about = at.about()?;
        into.id = Some(about.id.to_string());
        into.sealed = Some(about.is_sealed);
        into.only_writer = at.only_writer()?;
        if !self.no_probe {
            into.store = at.probe()?.map(json::Store::from);
        }
        Ok(())
    }
}

fn problem(error: &Error) -> String {
    match hint_of(error) {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

fn lines(address: &OsString, checked: &json::Checked) -> String {
    let mut lines = vec![("address", checked.address.clone())];
    lines.extend(checked.id.clone().map(|id| ("id", id)));
    lines.extend(checked.sealed.map(|sealed| ("kind", if sealed { "sealed" } else { "plain" }.to_owned())));
    lines.extend(checked.store.as_ref().map(|store| ("store", told(store.into()).replace('\n', "; "))));
    lines.extend(checked.only_writer.clone().map(|host| ("writer", format!("the machine {host} only"))));
    lines.extend(checked.problem.clone().map(|problem| ("problem", problem)));
    format!("{}\n{}", address.display(), ui::pairs(2, &lines))
}
