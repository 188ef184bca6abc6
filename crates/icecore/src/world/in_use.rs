//! Detection of other users of a file or a block device that is to be overwritten.
#![expect(clippy::disallowed_methods, reason = "one of the modules that open files outside the repository")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::io::retry_on_intr;

use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;

/// The identity of a file: its device and its inode.
pub(crate) type FileKey = (u64, u64);

/// The files that this process overwrites. The kernel's locks belong to a process, so they do not
/// distinguish its threads.
static CLAIMED: Mutex<BTreeSet<FileKey>> = Mutex::new(BTreeSet::new());

/// A claim: the right of one owner in this process to overwrite a file, and its lock against other
/// processes.
#[derive(Debug)]
pub(crate) struct Claim(FileKey);

impl Claim {
    /// Claims a file in this process.
    pub(crate) fn take(path: &Path, key: FileKey) -> Result<Self> {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        if !claimed.insert(key) {
            return Err(in_use(
                format!("{} is already being restored", path.display()),
                "wait until that restore ends",
            ));
        }
        Ok(Self(key))
    }

    /// Returns whether this is the claim on the file `key`.
    pub(crate) fn is_for(&self, key: FileKey) -> bool {
        self.0 == key
    }

    /// Locks the claimed file against other processes that check locks, as qemu and libvirt do. The
    /// lock ends when this process closes any descriptor of the file; that is why the claim comes
    /// first.
    pub(crate) fn lock(&self, path: &Path, file: &File) -> Result<()> {
        let lock = |operation| retry_on_intr(|| rustix::fs::fcntl_lock(file, operation));
        let locked = match lock(FlockOperation::NonBlockingLockExclusive) {
            // It could only be opened for reading.
            Err(Errno::BADF) => lock(FlockOperation::NonBlockingLockShared),
            locked => locked,
        };
        match locked {
            Err(Errno::AGAIN | Errno::ACCESS) => Err(in_use(
                format!("another process, such as qemu, has {} open and locked", path.display()),
                "shut the virtual machine down, or end the process that uses the file (`lslocks` lists locks)",
            )),
            // Some file systems have no locks, or no server for them: then there is nothing to see.
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

fn in_use(message: String, hint: impl Into<String>) -> Error {
    Error::new(ErrorKind::InUse, message).with_hint(hint)
}

/// Refuses a file that backs a loop device.
pub(crate) fn refuse_loop_backing(path: &Path, key: FileKey) -> Result<()> {
    // Without sysfs there is nothing to see.
    let Ok(devices) = std::fs::read_dir("/sys/block") else { return Ok(()) };
    let canonical = std::fs::canonicalize(path).ok();
    for device in devices.flatten() {
        let Ok(mut line) = std::fs::read(device.path().join("loop/backing_file")) else { continue };
        line.pop_if(|last| *last == b'\n');
        let backing = PathBuf::from(OsString::from_vec(line));
        // The file may have another name: a hard link, or a bind mount.
        let same_file = std::fs::metadata(&backing).is_ok_and(|found| (found.dev(), found.ino()) == key);
        if same_file || canonical.as_ref() == Some(&backing) {
            return Err(backs_loop(path, &Path::new("/dev").join(device.file_name())));
        }
    }
    Ok(())
}

fn backs_loop(path: &Path, device: &Path) -> Error {
    let mounted = std::fs::metadata(device).ok().and_then(|found| mounted_at(&family(found.rdev())));
    let (mounted, first) = match mounted {
        Some(at) => {
            (format!(", which is mounted at {}", at.display()), format!("umount {} && ", at.display()))
        }
        None => (String::new(), String::new()),
    };
    let message = format!("{} is in use by the loop device {}{mounted}", path.display(), device.display());
    in_use(message, format!("free it with `{first}losetup -d {}`", device.display()))
}

/// Returns the error for a device that could not be opened exclusively. It names the user of the
/// device if possible.
pub(crate) fn busy_device(path: &Path, device: u64) -> Error {
    let family = family(device);
    let path = path.display();
    if let Some(at) = mounted_at(&family) {
        let at = at.display();
        return in_use(
            format!("{path} is in use: it is mounted at {at}"),
            format!("unmount it with `umount {at}`"),
        );
    }
    if let Some(holder) = family.iter().find_map(|&device| holder(device)) {
        return in_use(
            format!("{path} is in use by the block device {holder}"),
            "`lsblk` shows what uses it",
        );
    }
    if is_swap(&family) {
        return in_use(format!("{path} is in use as swap space"), "free it with `swapoff`");
    }
    in_use(
        format!("{path} is mounted or in use"),
        "unmount it and stop its users; `lsblk` and `fuser -v` show them",
    )
}

fn sys_dir(device: u64) -> PathBuf {
    PathBuf::from(format!("/sys/dev/block/{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))
}

/// Returns the device and its partitions: a disk is in use when one of them is.
fn family(device: u64) -> Vec<u64> {
    let mut family = vec![device];
    for entry in std::fs::read_dir(sys_dir(device)).into_iter().flatten().flatten() {
        let dir = entry.path();
        if dir.join("partition").exists() {
            family.extend(
                std::fs::read_to_string(dir.join("dev")).ok().and_then(|numbers| parse_device(&numbers)),
            );
        }
    }
    family
}

fn parse_device(numbers: &str) -> Option<u64> {
    let (major, minor) = numbers.trim().split_once(':')?;
    Some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
}

fn holder(device: u64) -> Option<String> {
    let entry = std::fs::read_dir(sys_dir(device).join("holders")).ok()?.flatten().next()?;
    Some(format!("/dev/{}", entry.file_name().display()))
}

fn is_swap(family: &[u64]) -> bool {
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    let names = swaps.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next());
    names.filter_map(|name| device_at(Path::new(name))).any(|device| family.contains(&device))
}

fn device_at(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().filter(|found| found.file_type().is_block_device()).map(|found| found.rdev())
}

fn mounted_at(family: &[u64]) -> Option<PathBuf> {
    let info = std::fs::read("/proc/self/mountinfo").ok()?;
    let mounts = info.split(|&byte| byte == b'\n').filter_map(Mount::parse);
    // Some file systems, such as btrfs, have their own device number and name the disk only as
    // their source.
    let of_family = |mount: &Mount| {
        family.contains(&mount.device)
            || mount.source.is_absolute()
                && device_at(&mount.source).is_some_and(|found| family.contains(&found))
    };
    mounts.filter(of_family).map(|mount| mount.point).next()
}

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    device: u64,
    point: PathBuf,
    source: PathBuf,
}

impl Mount {
    /// Parses `36 35 98:0 /root /mnt rw,noatime master:1 - ext4 /dev/sda1 rw`. There may be any
    /// number of optional fields before the dash.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let device = parse_device(str::from_utf8(fields.nth(2)?).ok()?)?;
        let point = unescape(fields.nth(1)?);
        let source = unescape(fields.skip_while(|&field| field != b"-").nth(2)?);
        Some(Self { device, point, source })
    }
}

/// Decodes `\040` and the like.
fn unescape(mut field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    while let Some((&first, rest)) = field.split_first() {
        let code = rest.get(..3).and_then(|digits| str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                field = &rest[3..];
            }
            _ => {
                bytes.push(first);
                field = rest;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_with_any_number_of_optional_fields_and_with_spaces_in_names() {
        let mount = |point: &str, source: &str| {
            Some(Mount { device: rustix::fs::makedev(98, 0), point: point.into(), source: source.into() })
        };
        let plain = b"36 35 98:0 / /mnt rw,noatime - ext3 /dev/sda1 rw,errors=continue";
        assert_eq!(Mount::parse(plain), mount("/mnt", "/dev/sda1"));
        let optional = b"36 35 98:0 / /a\\040b\\134c rw shared:7 master:1 - btrfs /dev/a\\011b rw";
        assert_eq!(Mount::parse(optional), mount("/a b\\c", "/dev/a\tb"));
        assert_eq!(Mount::parse(b"36 35 98:0 / /mnt rw"), None);
        assert_eq!(Mount::parse(b""), None);
        assert_eq!(unescape(b"\\04"), PathBuf::from("\\04"));
    }

    #[test]
    fn a_file_is_claimed_once_at_a_time() -> Result<()> {
        let key = (u64::MAX, 1);
        let first = Claim::take(Path::new("disk"), key)?;
        let second = Claim::take(Path::new("disk"), key);
        assert_eq!(second.err().map(|error| error.kind()), Some(ErrorKind::InUse));
        drop(first);
        Claim::take(Path::new("disk"), key).map(drop)
    }
}
