//! Detection of an image file's format from its first bytes. It refuses formats that would make a
//! program read other files.

use std::fs::File;
use std::os::unix::fs::FileExt;

use icecore::image::ForeignFormat;

use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The number of bytes read from the start of a file.
const HEAD_BYTES: usize = 64 << 10;

/// A format of image files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Raw,
    /// A format that `qemu-img` reads, by its name there.
    Qemu(&'static str),
    /// A compressed file, with the program that unpacks it.
    Packed(&'static str),
}

/// Detects the format of a file.
///
/// # Errors
/// 422 for a format that cannot be imported.
pub(crate) fn probe(file: &File, name: &str) -> ApiResult<Format> {
    let mut head = vec![0; HEAD_BYTES];
    let mut filled = 0;
    while filled < head.len() {
        let read = file.read_at(&mut head[filled..], u64::try_from(filled).unwrap_or(0));
        match read.map_err(|error| ApiError::unprocessable(format!("cannot read {name}: {error}")))? {
            0 => break,
            count => filled += count,
        }
    }
    head.truncate(filled);
    let length = file.metadata().map_or(u64::MAX, |about| about.len());
    let mut tail = vec![0; length.min(512).try_into().unwrap_or(0)];
    if file.read_exact_at(&mut tail, length.saturating_sub(512)).is_err() {
        // A block device does not report its length this way.
        tail.clear();
    }
    format_of(&head, &tail, length)
        .map_err(|why| ApiError::unprocessable(format!("cannot import {name}: {why}")))
}

fn format_of(head: &[u8], tail: &[u8], length: u64) -> Result<Format, &'static str> {
    if head.starts_with(b"QFI\xfb") {
        return check_qcow2(head).map(|()| Format::Qemu("qcow2"));
    }
    if head.starts_with(b"KDMV") {
        return check_vmdk(head).map(|()| Format::Qemu("vmdk"));
    }
    if head.starts_with(b"vhdxfile") {
        return Ok(Format::Qemu("vhdx"));
    }
    if head.get(64..68) == Some(&[0x7f, 0x10, 0xda, 0xbe]) {
        return check_vdi(head, length).map(|()| Format::Qemu("vdi"));
    }
    if head.starts_with(b"# Disk DescriptorFile") {
        return Err(
            "it only lists the files of a VMDK image: combine them into one file with `qemu-img convert -O qcow2`",
        );
    }
    let packed = [
        (&b"\x1f\x8b\x08"[..], "gzip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
    ];
    let found = packed.into_iter().find(|(magic, _)| head.starts_with(magic));
    match (found, ForeignFormat::of(head, tail)) {
        (Some((_, program)), _) => Ok(Format::Packed(program)),
        (None, None) => Ok(Format::Raw),
        (None, Some(_)) => {
            Err("its format is not supported: unpack it, or convert it with `qemu-img convert -O qcow2`")
        }
    }
}

/// Returns the big-endian number at an offset.
fn number(head: &[u8], offset: usize, bytes: usize) -> u64 {
    let bytes = head.get(offset..offset + bytes).unwrap_or_default();
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Checks that a VDI is complete, because `qemu-img check` does not notice a missing end.
fn check_vdi(head: &[u8], length: u64) -> Result<(), &'static str> {
    let number = |offset: usize| {
        let bytes = head.get(offset..offset + 4).unwrap_or_default();
        bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let (data, block_bytes, blocks) = (number(344), number(376), number(388));
    if head.len() < 512 || data + block_bytes * blocks > length {
        return Err("it is a truncated VDI image: copy it again");
    }
    Ok(())
}

fn check_qcow2(head: &[u8]) -> Result<(), &'static str> {
    const EXTERNAL_DATA: u64 = 1 << 2;
    let (version, backing, crypt) = (number(head, 4, 4), number(head, 8, 8), number(head, 32, 4));
    if head.len() < 72 || !(2..=3).contains(&version) {
        return Err("its qcow2 header is incomplete or of an unknown version");
    }
    if backing != 0 {
        return Err(
            "it is a qcow2 image with a backing file: merge both first with `qemu-img convert -O qcow2`",
        );
    }
    if version == 3 && number(head, 72, 8) & EXTERNAL_DATA != 0 {
        return Err(
            "it is a qcow2 image with its data in another file: merge both first with `qemu-img convert -O qcow2`",
        );
    }
    if crypt != 0 {
        return Err("it is an encrypted qcow2 image: decrypt it first with `qemu-img convert`");
    }
    Ok(())
}

fn check_vmdk(head: &[u8]) -> Result<(), &'static str> {
    const PARENT: &[u8] = b"parentfilenamehint";
    if number(head, 12, 8) == 0 || head.len() < 512 {
        return Err(
            "it is a VMDK image whose data is in other files: combine them into one file with `qemu-img convert -O qcow2`",
        );
    }
    let lower = head.to_ascii_lowercase();
    if lower.windows(PARENT.len()).any(|window| window == PARENT) {
        return Err(
            "it is a VMDK image on top of another one: merge both first with `qemu-img convert -O qcow2`",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qcow2(version: u8, backing: u8, features: u8, crypt: u8) -> Vec<u8> {
        let mut head = vec![0; 512];
        head[..8].copy_from_slice(&[b'Q', b'F', b'I', 0xfb, 0, 0, 0, version]);
        (head[15], head[35], head[79]) = (backing, crypt, features);
        head
    }

    fn vmdk(capacity: u8, descriptor: &str) -> Vec<u8> {
        let mut head = vec![0; 512];
        head[..4].copy_from_slice(b"KDMV");
        head[12] = capacity;
        head.extend(descriptor.bytes());
        head
    }

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        let mut vdi = b"<<< Oracle VM VirtualBox Disk Image >>>\n".to_vec();
        vdi.resize(512, 0);
        vdi[64..68].copy_from_slice(&[0x7f, 0x10, 0xda, 0xbe]);
        // Two blocks of 1 MiB after 2 MiB.
        (vdi[346], vdi[378], vdi[388]) = (0x20, 0x10, 2);
        assert!(format_of(&vdi, &[], (4 << 20) - 1).unwrap_err().contains("truncated"));
        for (head, format) in [
            (Vec::new(), Format::Raw),
            (vec![0; 4096], Format::Raw),
            (b"\xeb\x63\x90 a boot sector".to_vec(), Format::Raw),
            (qcow2(3, 0, 0, 0), Format::Qemu("qcow2")),
            (qcow2(2, 0, 4, 0), Format::Qemu("qcow2")),
            (vmdk(9, "createType=\"monolithicSparse\""), Format::Qemu("vmdk")),
            (b"vhdxfile".to_vec(), Format::Qemu("vhdx")),
            (vdi, Format::Qemu("vdi")),
            (b"\x1f\x8b\x08".to_vec(), Format::Packed("gzip")),
            (b"BZh9".to_vec(), Format::Packed("bzip2")),
            (b"\xfd7zXZ\0".to_vec(), Format::Packed("xz")),
            (b"\x28\xb5\x2f\xfd".to_vec(), Format::Packed("zstd")),
        ] {
            assert_eq!(format_of(&head, &[], 4 << 20), Ok(format));
        }
    }

    #[test]
    fn what_would_read_other_files_is_refused() {
        for (head, says) in [
            (qcow2(3, 1, 0, 0), "backing file"),
            (qcow2(2, 1, 0, 0), "backing file"),
            (qcow2(3, 0, 4, 0), "another file"),
            (qcow2(3, 0, 0, 1), "encrypted"),
            (qcow2(9, 0, 0, 0), "version"),
            (qcow2(3, 0, 0, 0)[..40].to_vec(), "incomplete"),
            (vmdk(0, "RW 8 FLAT \"/etc/shadow\" 0"), "other files"),
            (vmdk(9, "ParentFileNameHint=\"/etc/shadow\""), "on top of another"),
            (b"# Disk DescriptorFile\nRW 8 FLAT \"/etc/shadow\" 0".to_vec(), "only lists"),
            (b"COWD".to_vec(), "not supported"),
            (b"QED\0".to_vec(), "not supported"),
            (b"PK\x03\x04".to_vec(), "not supported"),
        ] {
            let why = format_of(&head, &[], 4 << 20).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
        // A fixed-size VHD, read as raw, would make a disk that is one sector too long.
        let footer = [&b"conectix"[..], &[0; 504]].concat();
        assert!(format_of(&[0; 512], &footer, 4 << 20).unwrap_err().contains("not supported"));
    }
}
