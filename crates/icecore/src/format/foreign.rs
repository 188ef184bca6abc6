//! File formats of other programs that contain a disk but are not raw disks. Without this check
//! they would be captured as if they were the disk.

use std::path::Path;

/// The number of bytes to check at the beginning and at the end of a file.
pub(crate) const LOOK_BYTES: usize = 512;

/// A format of files that contain a disk, other than the raw disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignFormat {
    /// The name of the format.
    pub name: &'static str,
    reader: Reader,
}

/// The conversion to a raw disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// `qemu-img`, with its name of the format.
    QemuImg(&'static str),
    /// A program that unpacks to standard output, and the file name extension.
    Unpacker(&'static str, &'static str),
}

/// Signatures: the offset, the bytes, the format.
const HEADS: [(usize, &[u8], ForeignFormat); 16] = [
    (0, b"QFI\xfb\0\0\0\x01", qemu("qcow", "qcow")),
    (0, b"QFI\xfb", qemu("qcow2", "qcow2")),
    (0, b"QED\0", qemu("QED", "qed")),
    (0, b"KDMV", qemu("VMDK", "vmdk")),
    (0, b"COWD", qemu("VMDK", "vmdk")),
    (0, b"# Disk DescriptorFile", qemu("VMDK", "vmdk")),
    (0, b"vhdxfile", qemu("VHDX", "vhdx")),
    (0, b"conectix", qemu("VHD", "vpc")),
    (64, b"\x7f\x10\xda\xbe", qemu("VDI", "vdi")),
    (0, b"\x1f\x8b\x08", packed("gzip", "gzip -dc", "gz")),
    (0, b"\xfd7zXZ\0", packed("xz", "xz -dc", "xz")),
    (0, b"\x28\xb5\x2f\xfd", packed("zstd", "zstd -dc", "zst")),
    (0, b"\x04\x22\x4d\x18", packed("lz4", "lz4 -dc", "lz4")),
    (4, b"1AY&SY", packed("bzip2", "bzip2 -dc", "bz2")),
    (0, b"PK\x03\x04", packed("zip", "unzip -p", "zip")),
    (0, b"7z\xbc\xaf\x27\x1c", packed("7z", "7z x -so", "7z")),
];

const fn qemu(name: &'static str, format: &'static str) -> ForeignFormat {
    ForeignFormat { name, reader: Reader::QemuImg(format) }
}

const fn packed(name: &'static str, command: &'static str, ending: &'static str) -> ForeignFormat {
    ForeignFormat { name, reader: Reader::Unpacker(command, ending) }
}

impl ForeignFormat {
    /// Detects the format of a file by its first and its last 512 bytes, or fewer if the file is
    /// shorter. None means a raw disk, as far as can be determined.
    pub fn of(head: &[u8], tail: &[u8]) -> Option<Self> {
        let begins = |(at, magic, _): &&(usize, &[u8], Self)| {
            head.get(*at..).is_some_and(|rest| rest.starts_with(magic))
        };
        if let Some((_, _, format)) = HEADS.iter().find(begins) {
            return Some(*format);
        }
        // A fixed-size VHD is a raw disk with a footer; older programs wrote the footer one byte
        // shorter.
        let ends = |len: usize| tail.len() >= len && tail[tail.len() - len..].starts_with(b"conectix");
        (ends(512) || ends(511)).then_some(qemu("VHD", "vpc"))
    }

    /// Returns the shell command that converts the file at `path` to a raw disk.
    pub fn command(&self, path: &Path) -> String {
        let from = for_shell(&path.to_string_lossy());
        match self.reader {
            Reader::QemuImg(format) => {
                let to = for_shell(&path.with_extension("raw").to_string_lossy());
                // A file that is called raw but is not keeps its name.
                let to = if to == from { for_shell(&format!("{}.raw", path.to_string_lossy())) } else { to };
                format!("qemu-img convert -f {format} -O raw {from} {to}")
            }
            Reader::Unpacker(command, ending) => {
                let text = path.to_string_lossy();
                let to = text.strip_suffix(&format!(".{ending}"));
                let to = to.map_or_else(|| format!("{text}.raw"), str::to_owned);
                format!("{command} {from} > {}", for_shell(&to))
            }
        }
    }
}

/// Quotes a word for a shell if needed.
fn for_shell(word: &str) -> String {
    let word = if word.starts_with('-') { format!("./{word}") } else { word.to_owned() };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// Signatures on disks: partition tables, and content of disks without one. Each is an offset and
/// its bytes.
const SIGNS: [(usize, &[u8]); 34] = [
    (510, b"\x55\xaa"),             // MBR, and the boot sectors of FAT, exFAT and NTFS
    (512, b"EFI PART"),             // GPT
    (4096, b"EFI PART"),            // GPT on sectors of 4 KiB
    (1080, b"\x53\xef"),            // ext2, ext3, ext4
    (0, b"XFSB"),                   // XFS
    (65600, b"_BHRfS_M"),           // btrfs
    (0, b"LUKS\xba\xbe"),           // LUKS
    (4086, b"SWAPSPACE2"),          // swap space
    (65526, b"SWAPSPACE2"),         // swap space on pages of 64 KiB
    (512, b"LABELONE"),             // LVM
    (0, b"LABELONE"),               // LVM in another sector
    (1024, b"LABELONE"),            // LVM in another sector
    (1536, b"LABELONE"),            // LVM in another sector
    (0, b"\xfc\x4e\x2b\xa9"),       // MD RAID 1.1
    (4096, b"\xfc\x4e\x2b\xa9"),    // MD RAID 1.2
    (1024, b"\x10\x20\xf5\xf2"),    // F2FS
    (4120, b"\xc6\x85\x73\xf6"),    // bcachefs, bcache
    (65588, b"ReIsEr"),             // ReiserFS
    (32768, b"JFS1"),               // JFS
    (32769, b"CD001"),              // ISO 9660
    (32769, b"BEA01"),              // UDF
    (0, b"hsqs"),                   // SquashFS
    (1024, b"\xe2\xe1\xf5\xe0"),    // EROFS
    (1030, b"\x34\x34"),            // NILFS2
    (1024, b"H+"),                  // HFS+
    (1024, b"HX"),                  // HFS+ with case
    (32, b"NXSB"),                  // APFS
    (512, b"PM\0\0"),               // Apple partition map
    (512, b"\x57\x45\x56\x82"),     // BSD disklabel
    (9564, b"\x19\x01\x54\x19"),    // UFS
    (66908, b"\x19\x01\x54\x19"),   // UFS2
    (131_072, b"\x0c\xb1\xba\0"),   // ZFS
    (0, b"bluestore block device"), // Ceph
    (32, b"ORCLDISK"),              // Oracle ASM
];

/// The number of bytes that [`is_known_disk`] needs.
pub(crate) const SIGN_BYTES: usize = 132 << 10;

/// Returns whether a disk that begins with `head` has a known partition table or file system.
pub(crate) fn is_known_disk(head: &[u8]) -> bool {
    SIGNS.iter().any(|(at, sign)| head.get(*at..).is_some_and(|rest| rest.starts_with(sign)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_is_told_by_its_beginning_or_its_end() {
        for (at, magic, format) in HEADS {
            let mut head = vec![0; 512];
            head[at..at + magic.len()].copy_from_slice(magic);
            assert_eq!(ForeignFormat::of(&head, &[0; 512]), Some(format));
            head[at] ^= 1;
            assert_eq!(ForeignFormat::of(&head, &[0; 512]), None);
            assert_eq!(ForeignFormat::of(&head[..at], &[]), None);
        }
        for len in [511, 512] {
            let mut tail = vec![0; 512];
            tail[512 - len..][..8].copy_from_slice(b"conectix");
            assert_eq!(ForeignFormat::of(&[], &tail).map(|format| format.name), Some("VHD"));
        }
        assert_eq!(ForeignFormat::of(b"\xeb\x63\x90", b""), None);
    }

    #[test]
    fn the_line_is_one_for_a_shell() {
        let line = |format: ForeignFormat, path: &str| format.command(Path::new(path));
        assert_eq!(line(qemu("VHD", "vpc"), "/a/b.vhd"), "qemu-img convert -f vpc -O raw /a/b.vhd /a/b.raw");
        let of = |path| line(qemu("qcow2", "qcow2"), path);
        assert_eq!(of("it's.raw"), "qemu-img convert -f qcow2 -O raw 'it'\\''s.raw' 'it'\\''s.raw.raw'");
        assert_eq!(of("-O.img"), "qemu-img convert -f qcow2 -O raw ./-O.img ./-O.raw");
        assert_eq!(line(packed("xz", "xz -dc", "xz"), "a b.raw.xz"), "xz -dc 'a b.raw.xz' > 'a b.raw'");
        assert_eq!(line(packed("gzip", "gzip -dc", "gz"), "disk"), "gzip -dc disk > disk.raw");
    }

    #[test]
    fn signs_are_looked_for_in_what_is_read() {
        for (at, sign) in SIGNS {
            assert!(at + sign.len() <= SIGN_BYTES);
            let mut head = vec![0; SIGN_BYTES];
            assert!(!is_known_disk(&head));
            head[at..at + sign.len()].copy_from_slice(sign);
            assert!(is_known_disk(&head));
        }
    }
}
