//! `icecore key list`.

use icecore::Result;
use icecore::keys::SlotInfo;
use icecore::keys::SlotState;
use icecore_host::keys::manage;

use crate::app::App;
use crate::exit::Verdict;
use crate::json;
use crate::ui;
use crate::units;

/// List the key slots, oldest first
///
/// Kind is `password`, the kind of a public key, or the name of a plugin. State is `sound`, `one
/// copy` (`icecore repair catalog` restores the other one), `lost`, `damaged`, or `unknown`: the
/// repository has no record of it, because adding it was interrupted or somebody else has put it
/// there. Exits with 1 if a slot is not sound.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  icecore key list")]
pub(crate) struct ListArgs {
    /// Do not show the header
    #[arg(long)]
    no_header: bool,
}

impl ListArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        let slots = icecore::keys::list_slots(&repo)?;
        let epoch = icecore::keys::epoch(&repo)?;
        let columns = [
            ui::Column::Text("ID"),
            ui::Column::Text("Kind"),
            ui::Column::Text("Added"),
            ui::Column::Text("State"),
        ];
        let rows: Vec<_> = slots.iter().map(row).collect();
        let result = json::KeysResult { keys: slots.iter().map(json::Key::new).collect(), epoch };
        app.ui.result(&result, &ui::table(&columns, &rows, !self.no_header))?;
        let any = |bad: &dyn Fn(SlotState) -> bool| slots.iter().any(|slot| bad(slot.state));
        if any(&|state| state == SlotState::OneCopy) {
            app.ui.note("`icecore repair catalog` restores the second copy of a key slot");
        }
        if any(&|state| !matches!(state, SlotState::Sound | SlotState::OneCopy)) {
            app.ui.note("`icecore key remove ID` removes a lost, damaged or unknown key slot; `icecore key add` adds a new one");
        }
        Ok(Verdict::from_findings(any(&|state| state != SlotState::Sound)))
    }
}

fn row(slot: &SlotInfo) -> Vec<String> {
    vec![
        slot.id.to_string(),
        manage::kind(slot).to_owned(),
        slot.created_unix_ms.map_or_else(|| "unknown".to_owned(), units::time_for_people),
        json::slot_state(slot.state).replace('_', " "),
    ]
}
