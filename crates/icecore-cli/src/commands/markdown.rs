//! `icecore markdown`: `docs/cli.md`, generated from the same model as the help.

use icecore::Result;

use crate::app::App;
use crate::exit::Verdict;
use crate::json;

const HEAD: &str = "\
# The command line

This page is generated from the program's own help. `just docs-cli` writes it again, and a test compares it. The
global options, which the first section lists, work with every command. [json.md](json.md) describes the output of
`-o json`.
";

/// Print docs/cli.md
#[derive(Debug, clap::Args)]
pub(crate) struct MarkdownArgs {}

impl MarkdownArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let mut markdown = HEAD.to_owned();
        section((app.model)(), "icecore", &mut markdown);
        app.ui.result(&json::MarkdownResult { markdown: markdown.clone() }, &markdown)?;
        Ok(Verdict::Clean)
    }
}

/// Adds the help of a command and of its subcommands. The command is not built, so that the global
/// options appear only in the first section.
fn section(command: clap::Command, words: &str, markdown: &mut String) {
    let mut shown = command.clone().bin_name(words).term_width(100).disable_help_subcommand(true);
    let help = shown.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    *markdown += &format!("\n## {words}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    for part in command.get_subcommands().filter(|part| !part.is_hide_set()) {
        section(part.clone(), &format!("{words} {}", part.get_name()), markdown);
    }
}
