//! The command line of icecore: the only place that prints, reads the environment and the clock, and knows exit codes.

mod app;
mod args;
mod commands;
mod exit;
mod host;
mod json;
mod ui;
mod units;

use std::process::ExitCode;

fn main() -> ExitCode {
    args::main()
}
