//! Programs of others, which say what is on a disk without asking the server's code.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

use icecore_testing::random::Random;
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

/// Fails the test if a disk is not the same as an image; what one is longer than the other must be
/// zero.
#[track_caller]
pub(crate) fn same(image: &Path, uri: &str) {
    works("qemu-img", &["compare", "-f", "raw", "-F", "raw", image.to_str().unwrap(), uri]);
}

/// Returns where a volume of an answer is served.
pub(crate) fn uri(volume: &Value) -> String {
    volume["nbd_uri"].as_str().unwrap().to_owned()
}

/// Makes an image of so many MiB with an ext4 file system and the files of this project in it; or
/// takes the image that `ICECORE_API_IMAGE` names, whatever its size.
pub(crate) fn real_image(dir: &Path, mib: u64) -> std::path::PathBuf {
    if let Some(image) = std::env::var_os("ICECORE_API_IMAGE") {
        return image.into();
    }
    let image = dir.join("real.raw");
    std::fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let options = ["-q", "-F", "-d", files, "-E", "lazy_itable_init=1"];
    works("mkfs.ext4", &[&options[..], &[image.to_str().unwrap()]].concat());
    image
}

/// Returns the size of an image in GiB, rounded up.
pub(crate) fn gib(image: &Path) -> u64 {
    image.metadata().unwrap().len().div_ceil(1 << 30)
}

/// Makes a file that cannot be compressed.
pub(crate) fn noise(path: &Path, bytes: usize) {
    std::fs::write(path, Random::new(0).bytes(bytes)).unwrap();
}

/// Makes a file with a file system of so many bytes in it, with files of noise.
pub(crate) fn file_system(path: &Path, bytes: u64) {
    let files = path.with_extension("files");
    std::fs::create_dir_all(files.join("etc")).unwrap();
    for number in 1..=12_usize {
        noise(&files.join(format!("etc/{number}")), 40_000 * number);
    }
    std::fs::File::create(path).unwrap().set_len(bytes).unwrap();
    let (from, to) = (files.to_str().unwrap(), path.to_str().unwrap());
    works("mkfs.ext4", &["-q", "-F", "-d", from, to]);
    std::fs::remove_dir_all(files).unwrap();
}

/// Writes the same to several disks or files.
#[track_caller]
pub(crate) fn write(disks: &[&str], pattern: u8, at: u64, len: u64) {
    for disk in disks {
        let write = format!("write -P {pattern} {at} {len}");
        works("qemu-io", &["-f", "raw", "-c", &write, "-c", "flush", disk]);
    }
}

/// A client that stays connected.
pub(crate) struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Client {
    pub(crate) fn connect(uri: &str) -> Self {
        let mut command = Command::new("qemu-io");
        command.args(["-f", "raw", uri]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    /// Tells whether a read works.
    pub(crate) fn reads(&mut self, at: u64, len: u64) -> bool {
        writeln!(self.input, "read {at} {len}").unwrap();
        self.input.flush().unwrap();
        let mut line = String::new();
        while !line.contains("read ") {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the client has ended");
        }
        !line.contains("failed")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
