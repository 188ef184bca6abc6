//! Data that resembles disk images, made from a seed: the same seed and size give the same bytes on
//! every machine.
//!
//! An image is cut into groups of 32 MiB, as ext4 does it. A group begins with its metadata; files
//! of all kinds follow, each at a block boundary; free space ends it. Of an image's size,
//!
//! | part | share | what it is like |
//! |---|---|---|
//! | metadata | 3 % | bitmaps, and tables of inodes of which most are not in use |
//! | text | 14 % | logs: few kinds of lines, with times, numbers and addresses in them |
//! | binaries | 35 % | machine code from a skewed set of instructions, tables of relocations and names, padding |
//! | media | 8 % | what is compressed already |
//! | free space | 40 % | half of it holes, half zeros that were written |
//!
//! and one file in sixteen is a copy of another. zstd at level 1 leaves 42 % of the data; of an
//! installed Debian, about as much.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use icecore::BLOCK_BYTES;
use icecore::image::ReadAt;
use icecore_testing::random::Random;

const GROUP_BYTES: usize = 32 << 20;
/// In thousandths of a group, one after the other; text, binaries and media are mixed between.
const METADATA: usize = 30;
const FILES: usize = 570;
const HOLES: usize = 200;
/// In thousandths of the files.
const TEXT: usize = 246;
const BINARIES: usize = 614;

/// Returns a number below `end`; small ones are much more frequent.
fn skewed(random: &mut Random, end: usize) -> usize {
    let end = random.below(end) + 1;
    let end = random.below(end) + 1;
    random.below(end)
}

/// A disk image in memory.
#[derive(Clone)]
pub(crate) struct Disk {
    bytes: Vec<u8>,
    /// What is no hole, in order.
    data: Vec<Range<usize>>,
    files: Vec<Range<usize>>,
    seed: u64,
}

impl Disk {
    /// Makes an image of `len` bytes, a whole number of blocks.
    pub(crate) fn new(seed: u64, len: usize) -> Self {
        assert!(len.is_multiple_of(BLOCK_BYTES), "an image is made of whole blocks");
        let mut disk = Self { bytes: vec![0; len], data: Vec::new(), files: Vec::new(), seed };
        let mut kinds = Kinds::new(seed);
        for start in (0..len).step_by(GROUP_BYTES) {
            disk.fill_group(&mut kinds, start..len.min(start + GROUP_BYTES));
        }
        disk
    }

    fn fill_group(&mut self, kinds: &mut Kinds, group: Range<usize>) {
        let at = |thousandths: usize| group.start + blocks(group.len() * thousandths / 1000);
        let (files_at, free_at) = (at(METADATA), at(METADATA + FILES));
        kinds.metadata(&mut self.bytes[group.start..files_at]);
        let mut file_at = files_at;
        while file_at < free_at {
            let len = BLOCK_BYTES << kinds.noise.below(9);
            let file = file_at..free_at.min(file_at + len + blocks(kinds.noise.below(len)));
            file_at = file.end;
            if kinds.noise.below(16) == 0 && !self.files.is_empty() {
                let other = self.files[kinds.noise.below(self.files.len())].clone();
                let len = other.len().min(file.len());
                self.bytes.copy_within(other.start..other.start + len, file.start);
            } else {
                kinds.file(&mut self.bytes[file.clone()]);
            }
            self.files.push(file);
        }
        self.data.push(group.start..at(METADATA + FILES));
        self.data.push(at(METADATA + FILES + HOLES)..group.end);
    }

    /// Returns the image some time later: of its data blocks, `thousandths` of 1000 were
    /// overwritten one by one, and one file in 64 was moved to free space.
    pub(crate) fn later(&self, thousandths: usize) -> Self {
        let mut later = self.clone();
        let mut noise = Random::new(self.seed ^ 0x1a7e);
        let filled: Vec<usize> = (0..self.bytes.len())
            .step_by(BLOCK_BYTES)
            .filter(|at| self.bytes[*at..*at + BLOCK_BYTES].iter().any(|byte| *byte != 0))
            .collect();
        for _ in 0..filled.len() * thousandths / 1000 {
            let at = filled[noise.below(filled.len())];
            // As a database changes a page: its head, and a few rows.
            noise.fill(&mut later.bytes[at..at + 64]);
            for _ in 0..8 {
                let row = at + noise.below(BLOCK_BYTES / 128) * 128;
                noise.fill(&mut later.bytes[row..row + 48]);
            }
        }
        let free: Vec<Range<usize>> = self.data.iter().skip(1).step_by(2).cloned().collect();
        let mut free_at: Vec<usize> = free.iter().map(|range| range.start).collect();
        for file in self.files.iter().step_by(64) {
            let fixture = noise.below(free.len());
            let to = free_at[fixture];
            if to + file.len() <= free[fixture].end {
                later.bytes.copy_within(file.clone(), to);
                later.bytes[file.clone()].fill(0);
                free_at[fixture] += file.len();
            }
        }
        later
    }

    /// Returns how many bytes of it are in blocks that are not zero.
    pub(crate) fn data_bytes(&self) -> u64 {
        let filled = |block: &&[u8]| block.iter().any(|byte| *byte != 0);
        (self.bytes.chunks(BLOCK_BYTES).filter(filled).count() * BLOCK_BYTES) as u64
    }

    /// Returns the spans that are not all zero, one after the other.
    pub(crate) fn filled_spans(&self) -> Vec<u8> {
        let filled = |span: &&[u8]| span.iter().any(|byte| *byte != 0);
        self.bytes.chunks(icecore::SPAN_BYTES).filter(filled).flatten().copied().collect()
    }

    /// Writes it to a file, holes as holes.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.bytes.len() as u64)?;
        self.data
            .iter()
            .try_for_each(|range| file.write_all_at(&self.bytes[range.clone()], range.start as u64))
    }
}

impl ReadAt for Disk {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.bytes.read_at(offset, buffer)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let data = self.data.iter().map(|range| range.start as u64..range.end as u64);
        let mut behind = data.filter(|range| range.end > offset);
        Ok(behind.next().map(|range| range.start.max(offset)..range.end))
    }
}

/// A large image with little in it: pieces of 1 MiB at equal distances, and nothing between.
pub(crate) struct Sparse {
    pub(crate) len: u64,
    pub(crate) pieces: Vec<u8>,
}

impl Sparse {
    const PIECE: u64 = 1 << 20;

    fn distance(&self) -> u64 {
        self.len / (self.pieces.len() as u64 / Self::PIECE)
    }
}

impl ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (piece, within) = (offset / self.distance(), offset % self.distance());
        if within + buffer.len() as u64 > Self::PIECE {
            return Err(io::Error::other("a hole is read"));
        }
        self.pieces.read_at(piece * Self::PIECE + within, buffer)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let starts = (0..self.len).step_by(usize::try_from(self.distance()).unwrap());
        let mut pieces = starts.skip(usize::try_from(offset / self.distance()).unwrap());
        let next = pieces.find(|start| start + Self::PIECE > offset);
        Ok(next.map(|start| start.max(offset)..start + Self::PIECE))
    }
}

fn blocks(bytes: usize) -> usize {
    bytes / BLOCK_BYTES * BLOCK_BYTES
}

/// Makes the content of files.
struct Kinds {
    noise: Random,
    /// Machine instructions, the frequent ones first.
    instructions: Vec<Vec<u8>>,
    clock: u64,
}

impl Kinds {
    fn new(seed: u64) -> Self {
        let mut noise = Random::new(seed);
        let mut instruction = |number: usize| {
            let mut bytes = vec![0; 2 + number % 6];
            noise.fill(&mut bytes);
            bytes
        };
        let instructions = (0..800).map(&mut instruction).collect();
        Self { noise, instructions, clock: 1_764_000_000 }
    }

    fn file(&mut self, bytes: &mut [u8]) {
        match self.noise.below(1000) {
            kind if kind < TEXT => self.text(bytes),
            kind if kind < TEXT + BINARIES => self.binary(bytes),
            _ => self.noise.fill(bytes),
        }
    }

    fn text(&mut self, bytes: &mut [u8]) {
        const LINES: [&str; 8] = [
            "systemd[1]: Started session of user root",
            "sshd: Accepted publickey for admin from",
            "kernel: EXT4-fs (vda1): mounted filesystem with ordered data mode, quota mode none",
            "nginx: GET /api/v1/items?page HTTP/1.1 200",
            "postgres: checkpoint complete: wrote buffers; write, sync, total, files, longest",
            "cron: (root) CMD (run-parts --report /etc/cron.hourly)",
            "nginx: POST /login HTTP/1.1 302",
            "dockerd: level=info msg=\"ignoring event\" container topic=/tasks/delete",
        ];
        let mut text = Vec::with_capacity(bytes.len() + 256);
        while text.len() < bytes.len() {
            self.clock += self.noise.below(30) as u64;
            let line = LINES[skewed(&mut self.noise, LINES.len())];
            let (a, b) = (self.noise.next(), self.noise.below(65536));
            let entry = format!("{} host-1 {line} {:016x} 10.0.{}.{} {b}\n", self.clock, a, b % 7, b % 251);
            text.extend_from_slice(entry.as_bytes());
        }
        bytes.copy_from_slice(&text[..bytes.len()]);
    }

    fn binary(&mut self, bytes: &mut [u8]) {
        let mut code = Vec::with_capacity(bytes.len() + 64);
        let mut section = 0;
        while code.len() < bytes.len() {
            let end = bytes.len().min(code.len() + 4096 + self.noise.below(16384));
            match section % 4 {
                0 | 1 => self.instructions(&mut code, end),
                2 => self.relocations(&mut code, end),
                _ => code.resize(end, 0),
            }
            section += 1 + usize::from(self.noise.below(3) == 0);
        }
        bytes.copy_from_slice(&code[..bytes.len()]);
    }

    fn instructions(&mut self, code: &mut Vec<u8>, end: usize) {
        while code.len() < end {
            let at = skewed(&mut self.noise, self.instructions.len());
            code.extend_from_slice(&self.instructions[at]);
            // One instruction in three has an address or a constant in it; most of these are near.
            if self.noise.below(3) == 0 {
                let distance = skewed(&mut self.noise, 1 << 20) as u64;
                code.extend_from_slice(&distance.to_le_bytes()[..4]);
            }
        }
    }

    fn relocations(&mut self, code: &mut Vec<u8>, end: usize) {
        let mut address = 0x40_0000;
        while code.len() < end {
            address += 8 * (1 + skewed(&mut self.noise, 8) as u64);
            let symbol = skewed(&mut self.noise, 4096) as u64;
            code.extend_from_slice(&address.to_le_bytes());
            code.extend_from_slice(&((symbol << 32) | 7).to_le_bytes());
            code.extend_from_slice(&(address + 0x20_0000 + symbol * 16).to_le_bytes());
        }
    }

    /// Two bitmaps, and inodes of 256 bytes of which one in four is in use.
    fn metadata(&mut self, bytes: &mut [u8]) {
        let (bitmaps, inodes) = bytes.split_at_mut(bytes.len().min(2 * BLOCK_BYTES));
        let used = bitmaps.len() * FILES / 1000;
        bitmaps[..used].fill(0xff);
        for inode in inodes.chunks_exact_mut(256) {
            if self.noise.below(4) != 0 {
                continue;
            }
            self.clock += self.noise.below(1000) as u64;
            let time = self.clock.to_le_bytes();
            inode[..8].copy_from_slice(&0x81a4_u64.to_le_bytes());
            for at in [8, 12, 16] {
                inode[at..at + 4].copy_from_slice(&time[..4]);
            }
            let extent = self.noise.below(1 << 24).to_le_bytes();
            inode[40..44].copy_from_slice(&0x0001_f30a_u32.to_le_bytes());
            inode[60..64].copy_from_slice(&extent[..4]);
        }
    }
}
