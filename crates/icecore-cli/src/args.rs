//! The arguments of the program, and what runs for them.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::CommandFactory;
use clap::Parser;
use clap::error::ErrorKind as ClapErrorKind;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore_host::places::Reading;

use crate::app::App;
use crate::commands::bench::BenchArgs;
#[cfg(feature = "bucket")]
use crate::commands::cache::CacheArgs;
use crate::commands::completions::CompletionsArgs;
use crate::commands::demo::DemoArgs;
use crate::commands::gc::GcArgs;
use crate::commands::init::InitArgs;
use crate::commands::key::KeyArgs;
use crate::commands::log::LogArgs;
use crate::commands::man::ManArgs;
use crate::commands::markdown::MarkdownArgs;
use crate::commands::parity::ParityArgs;
use crate::commands::repair::RepairArgs;
use crate::commands::repo::RepoArgs;
use crate::commands::restore::RestoreArgs;
#[cfg(feature = "server")]
use crate::commands::serve::ServeArgs;
use crate::commands::snapshot::SnapshotArgs;
use crate::commands::stats::StatsArgs;
#[cfg(feature = "server")]
use crate::commands::token::TokenArgs;
use crate::commands::verify::VerifyArgs;
use crate::commands::volume::VolumeArgs;
use crate::exit;
use crate::exit::EXIT_CODES;
use crate::exit::Verdict;
use crate::host;
use crate::ui::Output;
use crate::ui::Ui;

const EXAMPLES: &str = "\
Examples:
  icecore snapshot create web-1.raw --droplet web-1
  icecore snapshot list
  icecore restore web-1@latest restored.raw

The default repository is $XDG_DATA_HOME/icecore, or ~/.local/share/icecore.";

const HELP: &str = "`icecore --help` lists commands and options";

/// Snapshots of raw disk images: each is a full, verified image, and stores only new blocks
#[derive(Debug, Parser)]
#[command(name = "icecore", version, max_term_width = 100, arg_required_else_help = true, after_help = EXAMPLES,
          after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
struct GlobalArgs {
    /// The repository: a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, or
    /// @NAME (see `icecore repo`) [default: icecore in your data directory]
    #[arg(long, global = true, value_name = "REPO", env = "ICECORE_REPO", hide_env_values = true,
          value_hint = clap::ValueHint::DirPath)]
    repo: Option<OsString>,
    /// The format of results
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "text")]
    output: Output,
    /// Print only results, warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more details
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Do not show progress
    #[arg(long, global = true)]
    no_progress: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Init(InitArgs),
    #[command(visible_alias = "snap")]
    Snapshot(SnapshotArgs),
    Restore(RestoreArgs),
    #[command(visible_alias = "vol")]
    Volume(VolumeArgs),
    Log(LogArgs),
    Key(KeyArgs),
    Repo(RepoArgs),
    #[cfg(feature = "bucket")]
    Cache(CacheArgs),
    #[cfg(feature = "server")]
    Serve(ServeArgs),
    #[cfg(feature = "server")]
    Token(TokenArgs),
    Verify(VerifyArgs),
    Gc(GcArgs),
    Repair(RepairArgs),
    Parity(ParityArgs),
    Stats(StatsArgs),
    Bench(BenchArgs),
    Demo(DemoArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    #[command(hide = true)]
    Markdown(MarkdownArgs),
}

impl Command {
    /// Returns how it reads a bucket.
    fn reading(&self) -> Reading {
        match self {
            Self::Verify(_) | Self::Repair(_) => Reading::Checked,
            Self::Volume(_) => Reading::Served,
            _ => Reading::Usual,
        }
    }

    fn words(&self) -> &'static str {
        match self {
            Self::Init(_) => "init",
            Self::Snapshot(args) => args.words(),
            Self::Restore(_) => "restore",
            Self::Volume(args) => args.words(),
            Self::Log(_) => "log",
            Self::Key(args) => args.words(),
            Self::Repo(args) => args.words(),
            #[cfg(feature = "bucket")]
            Self::Cache(args) => args.words(),
            #[cfg(feature = "server")]
            Self::Serve(_) => "serve",
            #[cfg(feature = "server")]
            Self::Token(args) => args.words(),
            Self::Verify(_) => "verify",
            Self::Gc(_) => "gc",
            Self::Repair(args) => args.words(),
            Self::Parity(_) => "parity",
            Self::Stats(_) => "stats",
            Self::Bench(_) => "bench",
            Self::Demo(_) => "demo",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
            Self::Markdown(_) => "markdown",
        }
    }

    fn run(&self, app: &App) -> Result<Verdict> {
        match self {
            Self::Init(args) => args.run(app),
            Self::Snapshot(args) => args.run(app),
            Self::Restore(args) => args.run(app),
            Self::Volume(args) => args.run(app),
            Self::Log(args) => args.run(app),
            Self::Key(args) => args.run(app),
            Self::Repo(args) => args.run(app),
            #[cfg(feature = "bucket")]
            Self::Cache(args) => args.run(app),
            #[cfg(feature = "server")]
            Self::Serve(args) => args.run(app),
            #[cfg(feature = "server")]
            Self::Token(args) => args.run(app),
            Self::Verify(args) => args.run(app),
            Self::Gc(args) => args.run(app),
            Self::Repair(args) => args.run(app),
            Self::Parity(args) => args.run(app),
            Self::Stats(args) => args.run(app),
            Self::Bench(args) => args.run(app),
            Self::Demo(args) => args.run(app),
            Self::Completions(args) => args.run(app),
            Self::Man(args) => args.run(app),
            Self::Markdown(args) => args.run(app),
        }
    }
}

/// Runs the command in the process's arguments.
pub(crate) fn main() -> ExitCode {
    host::survive_file_size_limit();
    // Without the guard, everything works until a part of the index becomes unreadable.
    let _ = icecore::guard_mappings();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_arguments(&error),
    };
    let ui = Ui {
        command: Some(cli.command.words()),
        output: cli.global.output,
        quiet: cli.global.quiet,
        verbose: cli.global.verbose,
        progress: !cli.global.no_progress,
    };
    if cli.command.words().ends_with("serve") {
        host::share_one_heap();
    }
    let app = App::new(ui, Cli::command, cli.global.repo, cli.command.reading());
    let code = match host::start_workers().and_then(|()| cli.command.run(&app)) {
        Ok(verdict) => verdict.exit_code(),
        Err(error) => {
            ui.error(&error);
            exit::exit_code(error.kind())
        }
    };
    ExitCode::from(code)
}

/// Parses arguments as [`main`] does, and returns the name of the command, or an error as JSON
/// shows it.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn parse(arguments: &[OsString]) -> Result<&'static str> {
    let _ = json_was_asked_for(arguments);
    let program = OsString::from("icecore");
    let cli = Cli::try_parse_from(std::iter::once(&program).chain(arguments));
    cli.map(|cli| cli.command.words()).map_err(|error| in_one_line(&error))
}

/// Prints the help or the version if the arguments ask for it, else the error in the arguments.
fn wrong_arguments(error: &clap::Error) -> ExitCode {
    let asked = matches!(error.kind(), ClapErrorKind::DisplayHelp | ClapErrorKind::DisplayVersion);
    let arguments = host::arguments();
    if !asked && json_was_asked_for(&arguments) {
        let ui = Ui { command: None, output: Output::Json, quiet: true, verbose: false, progress: false };
        // The program that reads an image there must not take this for one.
        let is_for_an_image = arguments.iter().any(|argument| argument == "-");
        let error = in_one_line(error);
        if is_for_an_image { ui.error_aside(&error) } else { ui.error(&error) }
    } else {
        // A closed pipe is not an error.
        let _ = error.print();
    }
    ExitCode::from(if asked { 0 } else { exit::exit_code(ErrorKind::InvalidInput) })
}

fn json_was_asked_for(arguments: &[OsString]) -> bool {
    let is = |argument: &OsString, words: &[&str]| words.iter().any(|word| argument == word);
    arguments.iter().any(|argument| is(argument, &["-ojson", "-o=json", "--output=json"]))
        || arguments.windows(2).any(|pair| is(&pair[0], &["-o", "--output"]) && is(&pair[1], &["json"]))
}

/// Returns an argument error without usage and help, for which JSON has no place.
fn in_one_line(error: &clap::Error) -> Error {
    if error.kind() == ClapErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Error::new(ErrorKind::InvalidInput, "a command is missing").with_hint(HELP);
    }
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let mut words: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    words.retain(|line| !line.starts_with("For more information"));
    let message = words.join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    Error::new(ErrorKind::InvalidInput, message).with_hint(HELP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn json_is_recognised_even_where_the_arguments_are_wrong() {
        let asked =
            |words: &[&str]| json_was_asked_for(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(asked(&["-o", "json", "nonsense"]) && asked(&["x", "--output=json"]));
        assert!(!asked(&["-o", "text", "json"]) && !asked(&[]));
    }
}
