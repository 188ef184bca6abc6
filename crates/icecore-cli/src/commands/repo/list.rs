//! `icecore repo list`.

use icecore::Result;

use crate::app::App;
use crate::exit::Verdict;
use crate::host;
use crate::json;
use crate::ui;
use crate::ui::Column;

/// List the repositories that have names
///
/// Asks none of them; `icecore repo check` does.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Do not print the header
    #[arg(long)]
    no_header: bool,
}

impl ListArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let one = |named: icecore_host::places::Named| json::NamedRepository {
            name: named.name,
            address: named.address.to_string(),
            file: named.file.display().to_string(),
        };
        let repositories: Vec<_> = host::surroundings().repositories()?.into_iter().map(one).collect();
        let columns = [Column::Text("Name"), Column::Text("Address"), Column::Text("File")];
        let row = |one: &json::NamedRepository| {
            vec![format!("@{}", one.name), one.address.clone(), one.file.clone()]
        };
        let rows: Vec<Vec<String>> = repositories.iter().map(row).collect();
        if rows.is_empty() {
            app.ui.note("no repository has a name; `icecore repo add NAME ADDRESS` gives one");
        }
        let text = match rows.is_empty() {
            true => String::new(),
            false => ui::table(&columns, &rows, !self.no_header),
        };
        app.ui.result(&json::RepoListResult { repositories }, &text)?;
        Ok(Verdict::Clean)
    }
}
