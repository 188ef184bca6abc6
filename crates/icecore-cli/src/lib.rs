//! The command line of icecore: the only crate that prints, reads the environment and the clock,
//! and knows exit codes.

mod app;
mod args;
mod commands;
mod exit;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod fuzzing;
mod hints;
mod host;
mod json;
mod ui;
mod units;

use std::process::ExitCode;

/// Runs the command in the process's arguments.
pub fn main() -> ExitCode {
    args::main()
}
