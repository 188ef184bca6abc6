//! Block devices as images and as targets, also those with sectors of 4096 bytes, which take no
//! smaller reads and writes directly.

use std::path::Path;
use std::process::Command;

use crate::support::Fixture;
use crate::support::IMAGE_BYTES;
use crate::support::noise;

/// A loop device over a file, for as long as it lives.
pub(crate) struct Loop(pub(crate) String);

impl Loop {
    /// Makes one, or returns none, and says so, where that cannot be done.
    #[expect(clippy::print_stderr, reason = "a test that was skipped must say so")]
    pub(crate) fn over(file: &Path, sector_bytes: u64) -> Option<Self> {
        let sector = sector_bytes.to_string();
        let made =
            Command::new("losetup").args(["--find", "--show", "--sector-size", &sector]).arg(file).output();
        match made {
            Ok(made) if made.status.success() => {
                Some(Self(String::from_utf8_lossy(&made.stdout).trim().to_owned()))
            }
            made => {
                eprintln!("skipped: no loop device can be made here: {made:?}");
                None
            }
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

#[test]
fn a_device_with_sectors_of_4_kib_is_captured_and_restored_like_any_other() {
    let fixture = Fixture::with_snapshot();
    let image = std::fs::read(fixture.path("disk.raw")).unwrap();
    let before = noise(7, 8 << 20);
    std::fs::write(fixture.path("below.raw"), &before).unwrap();
    let Some(device) = Loop::over(&fixture.path("below.raw"), 4096) else { return };
    let sector = Command::new("blockdev").args(["--getss", &device.0]).output().unwrap();
    assert_eq!(sector.stdout, b"4096\n", "{sector:?}");
    let on_it = || std::fs::read(&device.0).unwrap();

    fixture.run(&["snapshot", "create", &device.0, "--name", "device", "--volume", "device"]).exits(0);
    fixture.run(&["restore", "device", "file.raw"]).exits(0);
    assert!(std::fs::read(fixture.path("file.raw")).unwrap() == before);
    for how in [&[][..], &["--force"]] {
        let refused = fixture.run(&[&["restore", "base", &device.0], how].concat());
        refused.exits(4).says(&["block device", "--in-place"]);
    }
    assert!(on_it() == before);

    // The image ends within a sector, and a sector more is zero only where that was asked for.
    for (size, end) in [(None, IMAGE_BYTES), (Some("4096000"), 4_096_000), (Some("8MiB"), 8 << 20)] {
        let size = size.map_or(Vec::new(), |size| vec!["--size", size]);
        let restore = [&["restore", "base", &device.0, "--in-place"][..], &size].concat();
        fixture.run(&restore).exits(0);
        let mut wanted = before.clone();
        wanted[..usize::try_from(end).unwrap()].fill(0);
        wanted[..image.len()].copy_from_slice(&image);
        assert!(on_it() == wanted, "{size:?}");
        let again = fixture.result(&restore);
        assert_eq!((&again["written_bytes"], &again["left_bytes"]), (&0.into(), &((8 << 20) - end).into()));
        assert!(on_it() == wanted, "{size:?}");
    }
    fixture.run(&["restore", "device", &device.0, "--in-place"]).exits(0);
    assert!(on_it() == before);
    std::fs::write(fixture.path("large.raw"), noise(8, (8 << 20) + 1)).unwrap();
    fixture.run(&["snapshot", "create", "large.raw", "--name", "large"]).exits(0);
    fixture.run(&["restore", "large", &device.0, "--in-place"]).exits(2).says(&["8388608", "8388609"]);
    assert!(on_it() == before);
}
