//! Makes parts of repositories by hand, from docs/format.md alone: what no capture would write.

use std::path::Path;
use std::path::PathBuf;

/// Bytes of a block.
const BLOCK: usize = 4096;

/// Writes into a repository with its own key.
pub(crate) struct Forge {
    repo: PathBuf,
    pub(crate) key: [u8; 32],
    id: [u8; 16],
}

/// An id of a page and the digest of the content node that it stands for.
pub(crate) type PageRef = ([u8; 16], [u8; 16]);

/// A chunk or a page, as it will lie in a pack.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) id: [u8; 16],
    /// 0 as it is, 1 zstd.
    pub(crate) codec: u8,
    pub(crate) raw_bytes: u32,
    pub(crate) stored: Vec<u8>,
    pub(crate) blocks: Vec<[u8; 16]>,
}

/// A snapshot, and who made it.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) id: u128,
    pub(crate) name: String,
    pub(crate) resource: String,
    pub(crate) tags: Vec<String>,
    pub(crate) size: u64,
    pub(crate) root: Option<PageRef>,
    pub(crate) stats: [u64; 4],
    pub(crate) host: String,
    pub(crate) account: Option<String>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            id: 0x0190_0000_0000_7000_8000_0000_0000_0001,
            name: "forged".into(),
            resource: "disk".into(),
            tags: Vec::new(),
            size: 4 << 20,
            root: None,
            stats: [0; 4],
            host: "forge".into(),
            account: None,
        }
    }
}

fn uint(bytes: &mut Vec<u8>, n: u64) {
    match n {
        0..=250 => bytes.extend(&n.to_le_bytes()[..1]),
        251..=0xffff => [&[0xfb], &n.to_le_bytes()[..2]].iter().for_each(|part| bytes.extend(*part)),
        0x1_0000..=0xffff_ffff => {
            [&[0xfc], &n.to_le_bytes()[..4]].iter().for_each(|part| bytes.extend(*part))
        }
        _ => [&[0xfd], &n.to_le_bytes()[..]].iter().for_each(|part| bytes.extend(*part)),
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    uint(bytes, text.len() as u64);
    bytes.extend(text.as_bytes());
}

fn reference(bytes: &mut Vec<u8>, (id, content): &PageRef) {
    bytes.extend(id);
    bytes.extend(content);
}

/// Returns the CRC-32 of Ethernet and zip.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn half(digest: [u8; 32]) -> [u8; 16] {
    digest[..16].try_into().unwrap()
}

impl Forge {
    pub(crate) fn of(repo: &Path) -> Self {
        let config = std::fs::read(repo.join("config")).unwrap();
        let body = &config[16..config.len() - 32];
        Self {
            repo: repo.to_path_buf(),
            // After it, that there is no parity.
            key: body[body.len() - 33..body.len() - 1].try_into().unwrap(),
            id: body[..16].try_into().unwrap(),
        }
    }

    fn digest(&self, kind: &str, bytes: &[u8]) -> [u8; 32] {
        let key = blake3::derive_key(&format!("icecore 2026-11-24 {kind}"), &self.key);
        *blake3::keyed_hash(&key, bytes).as_bytes()
    }

    /// Writes an entry of the journal with a snapshot, and returns its id as the program tells it.
    pub(crate) fn record(&self, record: &Record) -> String {
        let mut id = record.id.to_le_bytes();
        // A UUID is written from its highest byte to its lowest.
        id.reverse();
        let mut body = id.to_vec();
        uint(&mut body, 2 * 1_800_000_000_000);
        text(&mut body, &record.name);
        uint(&mut body, 1);
        text(&mut body, &record.resource);
        uint(&mut body, record.tags.len() as u64);
        record.tags.iter().for_each(|tag| text(&mut body, tag));
        body.extend([0, 0]);
        uint(&mut body, record.size);
        match &record.root {
            Some(root) => {
                body.push(1);
                reference(&mut body, root);
            }
            None => body.push(0),
        }
        let content = record.root.map_or([0; 16], |(_, content)| content);
        body.extend(self.digest("image", &[&record.size.to_le_bytes()[..], &content].concat()));
        record.stats.iter().for_each(|n| uint(&mut body, *n));
        // No source, no labels.
        body.extend([0, 0]);
        self.entry(record, &body);
        let name = hex(&id);
        [&name[..8], &name[8..12], &name[12..16], &name[16..20], &name[20..]].join("-")
    }

    /// Writes the next entry of the journal. It says that this snapshot was made.
    fn entry(&self, record: &Record, snapshot: &[u8]) {
        let last = self.last_entry();
        let number_of = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let number = last.as_ref().map_or(0, |last| u64::from_str_radix(&number_of(last), 16).unwrap()) + 1;
        let before = last.map_or(vec![0; 32], |last| std::fs::read(last).unwrap());
        let mut head = Vec::new();
        uint(&mut head, number);
        head.extend(&before[before.len() - 32..]);
        uint(&mut head, 2 * 1_800_000_000_000);
        text(&mut head, &record.host);
        text(&mut head, "forge");
        match &record.account {
            Some(account) => {
                head.push(1);
                text(&mut head, account);
            }
            None => head.push(0),
        }
        // The token.
        head.extend([u8::try_from(number).unwrap(); 16]);
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let body = [&len(&head), &head[..], &[1, 0], &len(snapshot), snapshot].concat();
        let config = std::fs::read(self.repo.join("config")).unwrap();
        let mut file = [b"ICEJRNL\n", &config[8..10], &[0, 0], &len(&body), &body].concat();
        file.extend(self.digest("journal entry", &file));
        std::fs::write(self.repo.join(format!("journal/{number:016x}")), file).unwrap();
    }

    /// Returns the file of the last entry of the journal.
    pub(crate) fn last_entry(&self) -> Option<PathBuf> {
        let entries = std::fs::read_dir(self.repo.join("journal")).unwrap();
        let names = entries.map(|entry| entry.unwrap().path());
        let is_hex = |name: &str| name.bytes().all(|digit| digit.is_ascii_hexdigit());
        let is_entry =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_str().is_some_and(is_hex));
        names.filter(is_entry).max()
    }

    /// Returns a chunk of one block.
    pub(crate) fn chunk(&self, block: &[u8; BLOCK]) -> Item {
        let blocks = vec![half(self.digest("block", block))];
        let id = half(self.digest("chunk", &blocks.concat()));
        Item { id, codec: 0, raw_bytes: 4096, stored: block.to_vec(), blocks }
    }

    /// Returns a leaf whose first block is that of a chunk of one block, and the rest zero.
    pub(crate) fn leaf(&self, chunk: &Item, block: &[u8; BLOCK]) -> (Item, PageRef) {
        let zero = self.digest("block", &[0; BLOCK]);
        let mut digests = self.digest("block", block).to_vec();
        (0..15).for_each(|_| digests.extend(zero));
        let span = half(self.digest("span", &digests));
        let mut bytes = vec![0];
        uint(&mut bytes, 1);
        uint(&mut bytes, 1);
        bytes.extend(span);
        uint(&mut bytes, 1);
        bytes.extend(chunk.id);
        uint(&mut bytes, 2);
        // One block of the next chunk, from its slot 0.
        bytes.extend([1, 1, 0]);
        uint(&mut bytes, 1023);
        bytes.push(0);
        let mut content = span.to_vec();
        content.resize(64 * 16, 0);
        self.page(bytes, &content)
    }

    /// Returns an inner page that has one child `times` times.
    pub(crate) fn inner(&self, level: u8, child: &PageRef, times: u32) -> (Item, PageRef) {
        let mut bytes = vec![1, level];
        let mask = u128::MAX >> (128 - times);
        uint(&mut bytes, u64::try_from(mask & u128::from(u64::MAX)).unwrap());
        uint(&mut bytes, u64::try_from(mask >> 64).unwrap());
        uint(&mut bytes, u64::from(times));
        (0..times).for_each(|_| reference(&mut bytes, child));
        let mut content = child.1.repeat(times as usize);
        content.resize(128 * 16, 0);
        self.page(bytes, &content)
    }

    fn page(&self, bytes: Vec<u8>, node: &[u8]) -> (Item, PageRef) {
        let id = half(self.digest("page", &bytes));
        let raw_bytes = u32::try_from(bytes.len()).unwrap();
        let item = Item { id, codec: 0, raw_bytes, stored: bytes, blocks: Vec::new() };
        (item, (id, half(self.digest("node", node))))
    }

    /// Publishes a pack. The index learns of it by `repair index`.
    pub(crate) fn pack(&self, items: &[Item]) {
        let word = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
        let kind = if items[0].blocks.is_empty() { 2 } else { 1 };
        let mut file = [b"ICEPACK\n", &[3, 0, kind, 0][..], &[0; 4], &self.id, &[0; 28]].concat();
        file.extend(crc32(&file).to_le_bytes());
        let header = file.clone();
        let (mut entries, mut ids) = (Vec::new(), Vec::new());
        for item in items {
            let slots = u16::try_from(item.blocks.len()).unwrap().to_le_bytes();
            let (raw, stored) = (item.raw_bytes.to_le_bytes(), word(item.stored.len()));
            let crc = crc32(&item.stored).to_le_bytes();
            let mut head = [b"ICER", &[item.codec, 0][..], &slots, &raw, &stored, &crc, &item.id].concat();
            head.extend(crc32(&head).to_le_bytes());
            file.extend(head);
            entries.extend(
                [&item.id[..], &word(file.len()), &stored, &raw, &crc, &word(ids.len() / 16)].concat(),
            );
            entries.extend([&[0xff; 4][..], &slots, &[item.codec, 0]].concat());
            ids.extend(item.blocks.concat());
            file.extend(&item.stored);
        }
        let directory = [entries, ids.clone()].concat();
        let at = (file.len() as u64).to_le_bytes();
        let mut trailer = [b"ICEPEND\n", &word(items.len())[..], &word(ids.len() / 16), &[0; 4]].concat();
        trailer.extend([&crc32(&directory).to_le_bytes()[..], &at, &[0; 28]].concat());
        trailer.extend(crc32(&trailer).to_le_bytes());
        let name = hex(&self.digest("pack", &[&header[..], &directory, &trailer].concat()));
        std::fs::write(self.repo.join("packs").join(name), [file, directory, trailer].concat()).unwrap();
    }

    /// Publishes an image of which every region of 4 MiB is one and the same leaf.
    pub(crate) fn endless(&self, record: Record, block: &[u8; BLOCK], with_data: bool) -> String {
        let chunk = self.chunk(block);
        let (leaf, mut page) = self.leaf(&chunk, block);
        let mut pages = vec![leaf];
        let mut mapped = 4 << 20;
        let mut level = 0;
        while mapped < record.size {
            level += 1;
            let times = u32::try_from((record.size / mapped).min(128)).unwrap();
            let (item, above) = self.inner(level, &page, times);
            pages.push(item);
            page = above;
            mapped = mapped.saturating_mul(128);
        }
        if with_data {
            self.pack(&[chunk]);
        }
        self.pack(&pages);
        self.record(&Record { root: Some(page), ..record })
    }
}
