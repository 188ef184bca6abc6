//! The program `icecore`. All of it is in the library, so that its parsers can be fuzzed.

use std::process::ExitCode;

fn main() -> ExitCode {
    icecore_cli::main()
}
