//! Programs of others, which say what is on a disk without asking the server's code.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

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

/// Runs a program of the system, which has to work, and returns what it says.
#[track_caller]
pub(crate) fn works(name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(name);
    let done = command.env("PATH", PATH).env("LC_ALL", "C").args(arguments).output().unwrap();
    let [out, err] = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(done.status.success(), "{name} {arguments:?}: {out}{err}");
    out
}

/// Runs a script of `nbdsh` with a connection `h` to an export; it fails where an `assert` does.
#[track_caller]
pub(crate) fn nbdsh(uri: &str, text: &str) -> String {
    works("nbdsh", &["-u", uri, "-c", text])
}

/// Copies a disk into a file.
pub(crate) fn copy(uri: &str, to: &Path) {
    works("nbdcopy", &[uri, to.to_str().unwrap()]);
}

/// Writes an image to a disk that is at least as large.
pub(crate) fn write_image(image: &Path, uri: &str) {
    works("qemu-img", &["convert", "-n", "-f", "raw", "-O", "raw", image.to_str().unwrap(), uri]);
}

/// Fails the test if a disk is not the same as an image; what one is longer than the other must be zero.
#[track_caller]
pub(crate) fn same(image: &Path, uri: &str) {
    works("qemu-img", &["compare", "-f", "raw", "-F", "raw", image.to_str().unwrap(), uri]);
}

/// Returns where a volume of an answer is served.
pub(crate) fn uri(volume: &Value) -> String {
    volume["nbd_uri"].as_str().unwrap().to_owned()
}

/// Makes an image with an ext4 file system and the files of this project in it.
pub(crate) fn real_image(dir: &Path, mib: u64) -> std::path::PathBuf {
    let image = dir.join("real.raw");
    std::fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let options = ["-q", "-F", "-d", files, "-E", "lazy_itable_init=1"];
    works("mkfs.ext4", &[&options[..], &[image.to_str().unwrap()]].concat());
    image
}
