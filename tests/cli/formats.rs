//! Files that hold a disk in a format of another program are not captured as if they were the disk.

use std::process::Command;

use serde_json::Value;

use crate::support::Fixture;
use crate::support::finish;
use crate::volumes::tools::have;
use crate::volumes::tools::tool;

/// Formats that `qemu-img` writes: the name of a file, and how it is made.
const OF_QEMU: [(&str, &[&str]); 9] = [
    ("old.qcow", &["-O", "qcow"]),
    ("a disk.qcow2", &["-O", "qcow2"]),
    ("packed.qcow2", &["-O", "qcow2", "-c"]),
    ("x.vmdk", &["-O", "vmdk"]),
    ("flat.vmdk", &["-O", "vmdk", "-o", "subformat=monolithicFlat"]),
    ("x.vhdx", &["-O", "vhdx"]),
    ("x.vhd", &["-O", "vpc", "-o", "subformat=dynamic,force_size=on"]),
    ("fixed.vhd", &["-O", "vpc", "-o", "subformat=fixed,force_size=on"]),
    ("x.vdi", &["-O", "vdi"]),
];

/// Makes `disk.raw`: a partition table and something behind it, of a length that all formats can
/// have.
fn disk(fixture: &Fixture) -> Vec<u8> {
    let mut bytes = crate::support::noise(5, 1 << 20);
    bytes[..510].fill(0);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes.resize(4 << 20, 0);
    std::fs::write(fixture.path("disk.raw"), &bytes).unwrap();
    bytes
}

/// Checks that a file is refused, and that the line that is told makes the disk of it.
#[track_caller]
fn refused(fixture: &Fixture, name: &str, disk: &[u8]) {
    let before = std::fs::read(fixture.path(name)).unwrap();
    let done =
        fixture.run(&["snapshot", "create", name]).exits(2).says(&["is not a raw disk", "--format raw"]);
    let line = done.err.split('`').nth(1).unwrap().to_owned();
    let made = finish(Command::new("sh").args(["-c", &line]).current_dir(fixture.path("")));
    assert_eq!(made.code, 0, "{line}: {made:?}");
    let raw = if name.ends_with(".raw") {
        format!("{name}.raw")
    } else {
        name.rsplit_once('.').map_or_else(String::new, |(stem, end)| match end {
            "gz" | "xz" | "zst" | "bz2" | "zip" => stem.to_owned(),
            _ => format!("{stem}.raw"),
        })
    };
    assert!(std::fs::read(fixture.path(&raw)).unwrap() == disk, "{line} does not make the disk");
    std::fs::remove_file(fixture.path(&raw)).unwrap();
    fixture.run(&["restore", "--in-place", "base", name]).exits(2).says(&["is not a raw disk", &line]);
    assert!(std::fs::read(fixture.path(name)).unwrap() == before, "{name} was written to");
    fixture.run(&["snapshot", "create", "--dry-run", "--format", "raw", name]).exits(0);
}

#[test]
fn what_qemu_img_makes_is_refused_with_the_line_that_makes_a_disk_of_it() {
    if !have(&["qemu-img"]) {
        return;
    }
    let fixture = Fixture::with_snapshot();
    let disk = disk(&fixture);
    for (name, how) in OF_QEMU {
        let to = fixture.path(name);
        let mut convert = tool("qemu-img");
        convert.args(["convert", "-f", "raw"]).args(how).arg(fixture.path("disk.raw")).arg(&to);
        finish(&mut convert).exits(0);
        refused(&fixture, name, &disk);
    }
    // One that is called raw, as a virtual machine may have it.
    std::fs::copy(fixture.path("a disk.qcow2"), fixture.path("vm.raw")).unwrap();
    refused(&fixture, "vm.raw", &disk);
    let to = fixture.path("in.raw");
    std::fs::write(&to, vec![1; 4 << 20]).unwrap();
    fixture.run(&["restore", "--in-place", "base", "in.raw"]).exits(0);
    fixture.run(&["restore", "--in-place", "--format", "raw", "base", "x.vdi"]).exits(0);
}

#[test]
fn packed_disks_are_refused_with_the_line_that_unpacks_them() {
    let fixture = Fixture::with_snapshot();
    let disk = disk(&fixture);
    for (program, ending) in [("gzip", "gz"), ("xz", "xz"), ("zstd", "zst"), ("bzip2", "bz2")] {
        if have(&[program]) {
            std::fs::copy(fixture.path("disk.raw"), fixture.path("vm.img")).unwrap();
            finish(tool(program).arg("-q").arg(fixture.path("vm.img"))).exits(0);
            refused(&fixture, &format!("vm.img.{ending}"), &disk);
            let _ = std::fs::remove_file(fixture.path("vm.img"));
        }
    }
}

fn oddities(fixture: &Fixture, arguments: &[&str]) -> (Value, String) {
    let done =
        fixture.run(&[&["-o", "json", "snapshot", "create", "--dry-run"], arguments].concat()).exits(0);
    (done.json()["result"]["oddities"].clone(), done.err)
}

#[test]
fn what_may_not_be_the_image_that_was_meant_is_a_warning() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("empty.raw"), b"").unwrap();
    std::fs::write(fixture.path("letter.txt"), b"dear reader").unwrap();
    std::fs::write(fixture.path("zeros.raw"), vec![0; 1 << 20]).unwrap();
    disk(&fixture);
    for (name, words, says) in [
        ("empty.raw", &["empty"][..], "has no bytes"),
        ("/proc/self/status", &["empty"], "has no bytes"),
        ("letter.txt", &["part_of_a_sector", "unknown_content"], "not a multiple of 512"),
        ("zeros.raw", &["unknown_content"], "no partition table"),
    ] {
        let (odd, err) = oddities(&fixture, &[name]);
        assert_eq!(odd, serde_json::json!(words), "{name}");
        assert!(err.contains("warning: ") && err.contains(says), "{err}");
        let (odd, err) = oddities(&fixture, &["--format", "raw", name]);
        assert_eq!((odd, err), (serde_json::json!([]), String::new()), "{name}");
    }
    assert_eq!(oddities(&fixture, &["disk.raw"]), (serde_json::json!([]), String::new()));
}

#[test]
fn file_systems_are_known() {
    let fixture = Fixture::new();
    for (program, size, options) in [
        ("mkfs.ext4", 8, &["-q"][..]),
        ("mkfs.xfs", 320, &["-q"]),
        ("mkfs.btrfs", 128, &["-q"]),
        ("mkfs.vfat", 8, &[]),
        ("mkswap", 8, &["-q"]),
    ] {
        let path = fixture.path("fs.raw");
        std::fs::File::create(&path).unwrap().set_len(size << 20).unwrap();
        if have(&[program]) && finish(tool(program).args(options).arg(&path)).code == 0 {
            assert_eq!(oddities(&fixture, &["fs.raw"]), (serde_json::json!([]), String::new()), "{program}");
        }
    }
}
