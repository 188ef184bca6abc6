//! An index that says something else than the packs do. It holds hints: whoever follows one looks
//! in the pack whether it leads to the block that is wanted, and whether the block still has its
//! data there.

use icecore::BLOCK_BYTES;
use icecore::NoProgress;
use icecore::fuzzing::seal;
use icecore::maintenance::repair_index;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::capture;
use icecore::snapshot::delete;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use icecore_testing::bytes::assert_same;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::image_of;
use icecore_testing::repository::options;

use crate::damage::CHUNK;
use crate::damage::Fixture;
use crate::damage::read;
use crate::damage::take;

const HEADER: usize = 64;
const PACK_ID: usize = 32;
/// Of an entry of a table: pack u24, entry u16, detail u8.
const PLACE: usize = 6;

/// An index run, taken apart as docs/format.md has it.
struct RunBytes {
    bytes: Vec<u8>,
    /// Where the places of chunks and pages are, one for each entry.
    chunks: Vec<usize>,
    /// Where the places of blocks are.
    blocks: Vec<usize>,
}

impl RunBytes {
    fn new(bytes: Vec<u8>) -> Self {
        let number =
            |at: usize| usize::try_from(u32::from_le_bytes(*bytes[at..].first_chunk().unwrap())).unwrap();
        let mut at = HEADER + (number(12) * PACK_ID).next_multiple_of(64) + number(36) * 64;
        let mut table = |bits: usize, entries: usize| {
            let entry = 6 - bits / 8 + PLACE;
            let begin = at + ((1 << bits) + 1) * 4;
            at = begin + entries * entry;
            (0..entries).map(|number| begin + (number + 1) * entry - PLACE).collect::<Vec<_>>()
        };
        let chunks = table(bytes[10].into(), number(16));
        let blocks = table(bytes[11].into(), number(24));
        assert_eq!(at, bytes.len(), "the tables end where the run does");
        Self { bytes, chunks, blocks }
    }

    /// Returns the run of a repository that names a pack.
    fn that_names(storage: &MemoryStorage, pack: &str) -> (String, Self) {
        let named = |bytes: &[u8]| bytes[HEADER..].chunks(PACK_ID).next() == Some(&id_of(pack));
        let mut runs = storage.files().into_iter().filter(|(name, _)| name.starts_with("index/"));
        let (name, bytes) = runs.find(|(_, bytes)| named(bytes)).unwrap();
        (name, Self::new(bytes))
    }

    /// Gives each entry of a table the place of the one after it.
    fn rotate(&mut self, places: &[usize]) {
        let place = |at: &usize| self.bytes[*at..*at + PLACE].to_vec();
        let mut all: Vec<Vec<u8>> = places.iter().map(place).collect();
        all.rotate_left(1);
        for (at, place) in places.iter().zip(all) {
            self.bytes[*at..*at + PLACE].copy_from_slice(&place);
        }
    }

    /// Names another pack in the place of the first one.
    fn rename_pack(&mut self, pack: &str) {
        self.bytes[HEADER..HEADER + PACK_ID].copy_from_slice(&id_of(pack));
    }

    /// Publishes it under the name and with the checksums that it must have.
    fn publish(mut self, storage: &MemoryStorage, key: [u8; 32]) {
        let name = seal::file(&key, "index/x", &mut self.bytes);
        storage.put(&name, self.bytes);
    }
}

/// Returns the id that the name of a pack's file is.
fn id_of(pack: &str) -> [u8; 32] {
    let hex = pack.rsplit('/').next().unwrap();
    std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
}

/// What is changed in the run of the first of two packs; the second is given to it.
type Lie = fn(&mut RunBytes, &str);

/// Lies about blocks.
const LIES: [(&str, Lie); 4] = [
    ("blocks are at each other's places", |run, _| {
        let blocks = run.blocks.clone();
        run.rotate(&blocks);
    }),
    ("all is in another pack", |run, other| run.rename_pack(other)),
    ("blocks are in slots that their chunks do not have", |run, _| {
        run.blocks.iter().for_each(|at| run.bytes[at + PLACE - 1] |= 0x10);
    }),
    ("blocks are in chunks that their packs do not have", |run, _| {
        run.blocks.iter().for_each(|at| run.bytes[at + PLACE - 2] = 0x70);
    }),
];

const ABOUT_CHUNKS: (&str, Lie) = ("chunks are at each other's places", |run, _| {
    let chunks = run.chunks.clone();
    run.rotate(&chunks);
});

/// Returns a repository of two volumes, each with a pack of as many chunks, in which the index lies
/// about the first.
fn lied_to(tell: Lie) -> Fixture {
    let fixture =
        Fixture::new(vec![("a", Random::new(1).bytes(6 * CHUNK)), ("b", Random::new(2).bytes(6 * CHUNK))]);
    let (name, mut run) = RunBytes::that_names(&fixture.storage, &fixture.packs[0].0);
    tell(&mut run, &fixture.packs[1].0);
    fixture.storage.remove(&name).unwrap();
    run.publish(&fixture.storage, [7; 32]);
    fixture
}

#[test]
fn a_capture_takes_no_block_for_known_because_the_index_says_so() {
    for (lie, tell) in LIES {
        let fixture = lied_to(tell);
        let image = fixture.images[0].1.clone();
        let mut shifted = image.clone();
        shifted.rotate_left(3 * BLOCK_BYTES);
        for (number, image) in [(8, &image), (9, &shifted)] {
            let taken = take(&fixture.open(), number, "c", image).snapshot.id;
            let restored = read(&fixture.open(), taken).unwrap_or_else(|error| panic!("{lie}: {error}"));
            assert_same(&restored, image, lie);
        }
    }
}

#[test]
fn a_restore_takes_no_chunk_for_another_because_the_index_says_so() {
    for (lie, tell) in LIES.into_iter().chain([ABOUT_CHUNKS]) {
        let fixture = lied_to(tell);
        if let Ok(restored) = read(&fixture.open(), fixture.id(0)) {
            assert_same(&restored, &fixture.images[0].1, lie);
        }
        repair_index(&fixture.open(), &NoProgress).unwrap();
        fixture.assert_sound();
    }
}

/// A repository with one pack of data whose two chunks have lost blocks to gc, and what they had.
struct Punched {
    bench: TestRepository,
    chunks: Vec<u8>,
    /// The run of the pack that had all of it.
    old_run: RunBytes,
    pack: String,
}

impl Punched {
    /// Keeps some of 32 blocks.
    fn new(kept: &[usize]) -> Self {
        let bench = TestRepository::apart();
        let chunks = Random::new(5).bytes(2 * CHUNK);
        let all = bench.snapshot("all", &chunks);
        let before = data_pack(&bench.storage);
        let (_, old_run) = RunBytes::that_names(&bench.storage, &before);
        bench.snapshot("kept", &blocks(&chunks, kept));
        delete(&bench.repo, all, DeleteOptions::default()).unwrap();
        collect(&bench.repo).unwrap();
        let pack = data_pack(&bench.storage);
        assert_ne!(pack, before, "it was rewritten");
        Self { bench, chunks, old_run, pack }
    }

    /// Captures blocks, and asserts that they come back.
    fn take(&self, wanted: &[usize]) {
        let image = blocks(&self.chunks, wanted);
        let repo = self.bench.another();
        let id = capture(&repo, &image, &options("again"), &NoProgress).unwrap().snapshot.id;
        assert_sound(&self.bench.another(), "with it");
        assert_same(&image_of(&self.bench.another(), id), &image, "blocks that gc had taken out");
    }
}

fn blocks(chunks: &[u8], numbers: &[usize]) -> Vec<u8> {
    numbers.iter().flat_map(|at| chunks[at * BLOCK_BYTES..(at + 1) * BLOCK_BYTES].to_vec()).collect()
}

fn data_pack(storage: &MemoryStorage) -> String {
    let mut packs =
        storage.files().into_iter().filter(|(name, bytes)| name.starts_with("packs/") && bytes[10] == 1);
    let (name, _) = packs.next().unwrap();
    assert!(packs.next().is_none(), "one pack of data");
    name
}

#[test]
fn a_block_that_gc_took_out_of_its_chunk_is_stored_anew_although_the_index_says_where_it_was() {
    let mut punched = Punched::new(&[0, 1, 2, 3, 16, 17]);
    punched.old_run.rename_pack(&punched.pack);
    let old_run = RunBytes::new(punched.old_run.bytes.clone());
    old_run.publish(&punched.bench.storage, [3; 32]);
    // Each is looked up, since none of them stands behind the one before.
    punched.take(&[9, 8, 31, 30, 4]);
}

#[test]
fn a_block_that_gc_took_out_of_its_chunk_is_stored_anew_behind_one_that_is_still_there() {
    // In the chunk, and at the beginning of the chunk after it.
    Punched::new(&[0, 1, 2, 3, 8]).take(&(0..16).collect::<Vec<_>>());
    Punched::new(&[14, 15, 17, 18]).take(&(14..20).collect::<Vec<_>>());
}

#[test]
fn what_stands_behind_a_known_block_is_not_taken_for_the_next_one() {
    let bench = TestRepository::new();
    let known = Random::new(6).bytes(3 * CHUNK);
    bench.snapshot("known", &known);
    let new = Random::new(7).bytes(BLOCK_BYTES);
    // In the chunk, and at the beginning of the chunk after it; something new, and something that
    // stands elsewhere.
    for last in [3, 15] {
        for next in [new.clone(), blocks(&known, &[40])] {
            let image = [blocks(&known, &[last]), next].concat();
            let id = bench.snapshot("next", &image);
            assert_same(&image_of(&bench.repo, id), &image, "another block than the next one");
        }
    }
}
