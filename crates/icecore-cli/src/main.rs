//! The program `icecore`. All code is in the library, so that the parsers can be fuzzed.

use std::process::ExitCode;

fn main() -> ExitCode {
    icecore_cli::main()
}
