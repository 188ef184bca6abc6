//! `icecore completions`.

use clap_complete::Shell;
use icecore::Result;

use crate::app::App;
use crate::exit::Verdict;
use crate::json;

/// Print a script for shell completion of icecore's commands
///
/// For example, in ~/.bashrc: source <(icecore completions bash)
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl CompletionsArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut (app.model)(), "icecore", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        app.ui.result(
            &json::CompletionsResult { shell: self.shell.to_string(), script: script.clone() },
            &script,
        )?;
        Ok(Verdict::Clean)
    }
}
