//! What tests need of the system: loop devices, mounted file systems, other processes. All of it
//! ends with its value.
#![expect(clippy::disallowed_methods, reason = "tests make files, devices and processes to try things on")]

use std::error::Error;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use rustix::fs::FlockOperation;

pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// A process that is being started holds copies of all open files for a moment, so that a device
/// that was just closed is still busy. Tests that start processes, or depend on who has what open,
/// run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::print_stderr, reason = "a test that was skipped must say so")]
pub(crate) fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

/// The right to make loop devices and to mount.
pub(crate) struct Root {
    _alone: MutexGuard<'static, ()>,
}

impl Root {
    pub(crate) fn get() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip("this needs root, for loop devices and mounts");
            return None;
        }
        let alone = alone();
        let works = run("losetup", &["--find"]).is_ok_and(|device| !device.is_empty());
        if !works {
            skip("`losetup` finds no loop device here");
        }
        works.then_some(Self { _alone: alone })
    }

    pub(crate) fn loop_device(&self, file: &Path) -> Result<LoopDevice, Box<dyn Error>> {
        let path = run("losetup", &["--find", "--show", &file.to_string_lossy()])?;
        Ok(LoopDevice { path: path.into() })
    }

    /// Mounts a new, empty ext4 file system that is kept in the file `name` in `dir`.
    pub(crate) fn ext4(&self, dir: &Path, name: &str, bytes: u64) -> Result<Mounted, Box<dyn Error>> {
        let image = dir.join(name);
        std::fs::File::create(&image)?.set_len(bytes)?;
        run("mkfs.ext4", &["-q", "-b", "4096", "-m", "0", "-O", "^has_journal", &image.to_string_lossy()])?;
        let device = self.loop_device(&image)?;
        let point = dir.join(format!("{name} mounted"));
        std::fs::create_dir(&point)?;
        run("mount", &[&device.path.to_string_lossy(), &point.to_string_lossy()])?;
        Ok(Mounted { point, image, device })
    }
}

pub(crate) struct LoopDevice {
    pub(crate) path: PathBuf,
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = run("losetup", &["-d", &self.path.to_string_lossy()]);
    }
}

pub(crate) struct Mounted {
    pub(crate) point: PathBuf,
    pub(crate) image: PathBuf,
    pub(crate) device: LoopDevice,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = run("umount", &[&self.point.to_string_lossy()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let output = Command::new(program).args(arguments).output()?;
    if !output.status.success() {
        return Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Another process that has a lock on a file, until this is dropped.
pub(crate) struct LockHolder {
    child: Child,
}

impl LockHolder {
    /// Runs this test program once more, for the one "test" below.
    pub(crate) fn start(file: &Path) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", "world::scratch::another_process_holds_a_lock", "--nocapture"]);
        Self::wait_for(command.env(LOCK_FILE, file), "locked", "")
    }

    /// Runs qemu-io, which locks an image as a virtual machine does. None if there is no such
    /// program.
    pub(crate) fn start_qemu(file: &Path) -> Result<Option<Self>, Box<dyn Error>> {
        if Command::new("qemu-io").arg("--version").output().is_err() {
            skip("qemu-io is not installed");
            return Ok(None);
        }
        let mut command = Command::new("qemu-io");
        Self::wait_for(command.args(["-f", "raw"]).arg(file), "MiB", "length\n").map(Some)
    }

    fn wait_for(command: &mut Command, word: &str, input: &str) -> Result<Self, Box<dyn Error>> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut holder = Self { child };
        holder.child.stdin.as_mut().ok_or("no stdin")?.write_all(input.as_bytes())?;
        for line in BufReader::new(holder.child.stdout.as_mut().ok_or("no stdout")?).lines() {
            if line?.contains(word) {
                return Ok(holder);
            }
        }
        Err("the other process ended without a lock".into())
    }
}

impl Drop for LockHolder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LOCK_FILE: &str = "ICECORE_TEST_LOCK_FILE";

/// No test, but what [`LockHolder::start`] runs in a process of its own; does nothing without the
/// variable.
#[test]
fn another_process_holds_a_lock() -> Outcome {
    let Some(path) = std::env::var_os(LOCK_FILE) else { return Ok(()) };
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
    rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)?;
    std::io::stdout().write_all(b"locked\n")?;
    std::io::stdout().flush()?;
    // The end of the input is the end of the lock.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(file);
    Ok(())
}

/// Returns bytes that are all different from zero and do not repeat soon.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3] | 1
    };
    (0..len).map(|_| next()).collect()
}

/// Returns the space that a file takes.
pub(crate) fn allocated_bytes(path: &Path) -> std::io::Result<u64> {
    Ok(std::fs::metadata(path)?.blocks() * 512)
}
