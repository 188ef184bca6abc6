//! The external programs of the demonstration.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;

use crate::host;

/// Directories of system programs that a user's search path may leave out.
const SYSTEM_DIRS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Fails if a program is missing.
pub(crate) fn check() -> Result<()> {
    for (name, package) in
        [("mke2fs", "e2fsprogs"), ("debugfs", "e2fsprogs"), ("cmp", "diffutils"), ("cp", "coreutils")]
    {
        let there = start(name).arg("--version").stdin(Stdio::null()).output();
        if matches!(&there, Err(error) if error.kind() == io::ErrorKind::NotFound) {
            return Err(Error::new(ErrorKind::NotFound, format!("the program {name} is not installed"))
                .with_hint(format!("on Debian and Ubuntu, install it with `apt install {package}`")));
        }
    }
    Ok(())
}

/// Returns a command for a program, wherever it is.
fn start(name: &str) -> Command {
    let system = SYSTEM_DIRS.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.exists());
    let mut command = Command::new(system.as_deref().map_or(OsStr::new(name), Path::as_os_str));
    command.stdin(Stdio::null()).env("LC_ALL", "C");
    command
}

/// Runs a program to its end. Returns its output on stderr.
pub(crate) fn run<S: AsRef<OsStr>>(name: &str, arguments: &[S]) -> Result<String> {
    let done = start(name)
        .args(arguments)
        .output()
        .map_err(|error| Error::io(format!("starting the program {name}"), error))?;
    if host::asked_to_stop() {
        return Err(
            Error::new(ErrorKind::Interrupted, "interrupted").with_hint("the demonstration is removed")
        );
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if done.status.success() {
        return Ok(said);
    }
    Err(Error::new(ErrorKind::Io, format!("the program {name} failed: {}", said.trim())))
}

/// Fails if two files are not equal.
pub(crate) fn compare(one: &Path, other: &Path) -> Result<()> {
    run("cmp", &[one, other]).map(drop).map_err(|error| {
        let message = format!("{} was not restored correctly: {error}", one.display());
        if error.kind() == ErrorKind::Interrupted { error } else { Error::new(ErrorKind::Corrupt, message) }
    })
}

/// Returns the directory of the Rust toolchain, if there is one.
pub(crate) fn rust_toolchain() -> Option<PathBuf> {
    let done = start("rustc").args(["--print", "sysroot"]).output().ok()?;
    let dir = PathBuf::from(String::from_utf8(done.stdout).ok()?.trim());
    (done.status.success() && dir.is_dir()).then_some(dir)
}
