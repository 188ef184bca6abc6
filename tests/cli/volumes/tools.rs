//! Programs of others, and scripts for them.

use std::path::Path;
use std::process::Command;

use crate::support::Done;
use crate::support::finish;

/// Where programs of the system are. `nbdsh` has to find the Python that its module was made for.
const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// Tells whether programs are there, and says so if not.
#[expect(clippy::print_stderr, reason = "a test that was skipped must say so")]
pub(crate) fn have(programs: &[&str]) -> bool {
    let there = |name: &&&str| PATH.split(':').any(|dir| Path::new(dir).join(name).exists());
    let missing: Vec<_> = programs.iter().filter(|name| !there(name)).collect();
    if !missing.is_empty() {
        eprintln!("skipped: this needs {missing:?}");
    }
    missing.is_empty()
}

/// Returns a program of the system.
pub(crate) fn tool(name: &str) -> Command {
    let mut tool = Command::new(name);
    tool.env("PATH", PATH).env("LC_ALL", "C");
    tool
}

/// Runs a program of the system.
pub(crate) fn run(name: &str, arguments: &[&str]) -> Done {
    finish(tool(name).args(arguments))
}

/// Runs a program of the system, which has to work, and returns what it says.
#[track_caller]
pub(crate) fn works(name: &str, arguments: &[&str]) -> String {
    let done = run(name, arguments);
    assert_eq!(done.code, 0, "{name} {arguments:?}: {done:?}");
    done.out
}

/// Runs a script of `nbdsh` with a connection `h` to an export; it fails where an `assert` does.
#[track_caller]
pub(crate) fn script(uri: &str, text: &str) -> String {
    let connect = format!(
        "h.add_meta_context('base:allocation'); h.add_meta_context('icecore:dirty'); h.connect_uri({uri:?})"
    );
    works("nbdsh", &["-c", "h.set_export_name('')", "-c", &connect, "-c", text])
}
