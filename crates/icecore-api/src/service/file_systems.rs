//! File systems of new volumes: the system's programs make them in a sparse file, and its data is
//! then copied to the volume.

use std::fs::File;
use std::io;
use std::process::Command;
use std::process::Stdio;

use icecore::Error;
use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::image::ImageFile;
use icecore::image::WriteAt;
use icecore_host::exports::Lent;
use tempfile::NamedTempFile;

use crate::service::items::VolumeItem;
use crate::service::scratch::Scratch;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The directories to search for programs that make file systems.
const PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin";
/// How much shorter than the volume the file is, if the server's own file system cannot hold a file
/// of 16 TiB.
const SHORTER_BYTES: u64 = 1 << 20;

/// A file system for a new volume.
pub(super) struct FileSystem(NamedTempFile);

/// Makes a file system, `ext4` or `xfs`, for a volume of this size.
pub(super) fn make(scratch: &Scratch, kind: &str, label: &str, size_bytes: u64) -> ApiResult<FileSystem> {
    let file = scratch.file()?;
    stretch(file.as_file(), size_bytes)
        .map_err(|error| Error::io("creating a file for a file system", error))?;
    let (program, package, arguments): (_, _, &[&str]) = match kind {
        // The kernel writes the rest when the file system is mounted.
        "ext4" => (
            "mkfs.ext4",
            "e2fsprogs",
            &["-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"],
        ),
        _ => ("mkfs.xfs", "xfsprogs", &["-q", "-f", "-K"]),
    };
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C").args(arguments);
    if !label.is_empty() {
        command.args(["-L", label]);
    }
    run(command.arg(file.path()), program, package)?;
    Ok(FileSystem(file))
}

/// Writes a file system to a volume, durably.
pub(super) fn write(made: &FileSystem, volume: &VolumeItem) -> ApiResult<()> {
    let image = ImageFile::open(made.0.path())?;
    let disk = volume.pool.disks().open(&volume.info.name)?;
    let written = disk.with(|volume| {
        icecore::volume::export_volume(&image, volume, &NoProgress)?;
        volume.sync().map_err(|error| Error::io("writing a file system to a volume", error))
    });
    Ok(written.map_err(|error| Error::io("writing a file system to a volume", error))??)
}

/// Extends a file to this length without writing data.
fn stretch(file: &File, size_bytes: u64) -> io::Result<()> {
    match file.set_len(size_bytes) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            file.set_len(size_bytes.saturating_sub(SHORTER_BYTES))
        }
        done => done,
    }
}

fn run(command: &mut Command, program: &str, package: &str) -> ApiResult<()> {
    let done = command.stdin(Stdio::null()).output();
    let done = done.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ApiError::unprocessable(format!(
            "failed to create volume: the server has no {program}; install the package {package}, or leave out \
                 filesystem_type"
        )),
        _ => Error::io(format!("running {program}"), error).into(),
    })?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let said: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if said.iter().any(|line| line.contains("No space left")) {
        return Err(Error::new(ErrorKind::NoSpace, format!("{program} ran out of space for its file")).into());
    }
    Err(ApiError::unprocessable(format!("failed to create volume: {program} reported: {}", said.join("; "))))
}

/// Checks the requested file system.
pub(super) fn check(kind: &str, label: &str) -> ApiResult<()> {
    let label_max = match kind {
        "" => 0,
        "ext4" => 16,
        "xfs" => 12,
        _ => return Err(ApiError::unprocessable("filesystem_type must be ext4 or xfs")),
    };
    if label.len() > label_max {
        return Err(ApiError::unprocessable(
            "filesystem_label needs a filesystem_type, and can have at most 16 bytes for ext4 and 12 for xfs",
        ));
    }
    let good = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '\\' | '"' | '\'');
    if !label.chars().all(good) {
        return Err(ApiError::unprocessable(
            "filesystem_label can have letters, digits and punctuation, but no spaces",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_or_fails_says_what_to_do() {
        let missing = run(&mut Command::new("/nowhere/mkfs.xfs"), "mkfs.xfs", "xfsprogs").unwrap_err();
        assert_eq!(missing.status, 422);
        assert!(missing.message.contains("install the package xfsprogs"), "{missing}");
        let say = |text: &str| {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", "echo \"$1\" >&2; exit 1", "sh", text]);
            run(&mut shell, "mkfs.ext4", "e2fsprogs").unwrap_err()
        };
        assert_eq!(say("bad label").message, "failed to create volume: mkfs.ext4 reported: bad label");
        let full = say("mkfs.ext4: No space left on device while writing");
        assert_eq!(full.status, 403);
        assert!(full.message.contains("capacity limit exceeded"), "{full}");
    }
}
