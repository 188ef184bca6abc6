//! Maps of images against the images themselves, block by block.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use icecore::BLOCK_BYTES;
use icecore::ErrorKind;
use icecore::Meter;
use icecore::NoProgress;
use icecore::Progress;
use icecore::image::WriteAt;
use icecore::repository::Repository;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::ImageMap;
use icecore::snapshot::MAP_CELLS_MAX;
use icecore::snapshot::MapCell;
use icecore::snapshot::MapOptions;
use icecore::snapshot::SnapshotId;
use icecore::snapshot::image_map;
use icecore::storage::Storage;
use icecore::volume::create_volume;
use icecore_testing::images::TestImage;
use icecore_testing::images::blocks;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;

use crate::volumes::support::open;
use crate::volumes::support::snapshot;
use crate::volumes::support::volume_options;

const MIB: usize = 1 << 20;

/// Snapshots with their images.
type History = Vec<(SnapshotId, Vec<u8>)>;

/// Draws a map of one of the snapshots from all images.
fn expected(history: &History, which: usize, cell_bytes: u64, against: Option<&[u8]>) -> Vec<MapCell> {
    let (id, image) = &history[which];
    let others = history.iter().filter(|(other, _)| other != id);
    let elsewhere: HashSet<Vec<u8>> = others.flat_map(|(_, image)| blocks(image)).flatten().collect();
    let cell_bytes = usize::try_from(cell_bytes).unwrap();
    let mut cells = vec![MapCell::default(); image.len().div_ceil(cell_bytes)];
    let before = against.map(|image| (image.len(), blocks(image)));
    for (at, block) in blocks(image).iter().enumerate() {
        let (begin, end) = (at * BLOCK_BYTES, ((at + 1) * BLOCK_BYTES).min(image.len()));
        let cell = &mut cells[begin / cell_bytes];
        let bytes = (end - begin) as u64;
        if let Some(block) = block {
            cell.data_bytes += bytes;
            cell.shared_bytes += if elsewhere.contains(block) { bytes } else { 0 };
        }
        if let Some((len, before)) = &before {
            // What is beyond the end of the other image is new, whatever it is.
            let both = end.min(*len).max(begin);
            cell.changed_bytes += (end - both) as u64;
            if before.get(at).is_some_and(|before| before != block) {
                cell.changed_bytes += (both - begin) as u64;
            }
        }
    }
    cells
}

fn options(cells: usize, against: Option<SnapshotId>) -> MapOptions {
    MapOptions { cells, against, sharing: true }
}

fn draw(
    repo: &Repository,
    id: SnapshotId,
    cells: usize,
    against: Option<SnapshotId>,
) -> icecore::Result<ImageMap> {
    image_map(repo, id, &options(cells, against), &NoProgress)
}

fn check(bench: &TestRepository, history: &History, which: usize, cells: usize) {
    let (id, image) = &history[which];
    for against in [None, history.first(), history.last()] {
        let map = draw(&bench.repo, *id, cells, against.map(|(id, _)| *id)).unwrap();
        assert!(
            map.cells.len() <= cells && map.cell_bytes.is_multiple_of(BLOCK_BYTES as u64),
            "{}",
            map.cell_bytes
        );
        let one_less = image.len().div_ceil(cells.max(2) - 1);
        assert!(map.cell_bytes <= one_less.next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES) as u64);
        assert_eq!(map.snapshot.id, *id);
        assert_eq!(map.against.as_ref().map(|it| it.id), against.map(|(id, _)| *id));
        let wanted = expected(history, which, map.cell_bytes, against.map(|(_, image)| &image[..]));
        let differs = map.cells.iter().zip(&wanted).position(|(found, wanted)| found != wanted);
        assert_eq!(map.cells.len(), wanted.len());
        assert_eq!(differs.map(|at| (at, map.cells[at], wanted[at])), None, "{} cells", cells);
    }
}

#[test]
fn a_map_is_what_the_blocks_of_the_images_say() {
    let bench = TestRepository::new();
    let mut noise = Random::new(21);
    let mut history = History::new();
    let mut disk = noise.disk(9 * MIB + 1000);
    for (volume, len) in
        [("a", 9 * MIB + 1000), ("a", 11 * MIB + 5000), ("b", 6 * MIB), ("a", 13 * MIB + 4095)]
    {
        disk.resize(len, 7);
        (0..4).for_each(|_| noise.scribble(&mut disk));
        // Blocks of the middle of a chunk, and of no other.
        for _ in 0..30 {
            let at = noise.below(disk.len() / BLOCK_BYTES) * BLOCK_BYTES;
            noise.fill(&mut disk[at..at + BLOCK_BYTES]);
        }
        history.push((bench.snapshot(volume, &disk), disk.clone()));
    }
    // Of the second, the third has kept parts of chunks.
    for (which, cells) in [(0, 1), (1, 100), (2, 7), (3, MAP_CELLS_MAX)] {
        check(&bench, &history, which, cells);
    }
    history.push((bench.snapshot("a", &disk), disk.clone()));
    check(&bench, &history, 3, 13);
    let whole = draw(&bench.repo, history.last().unwrap().0, 50, None).unwrap().total();
    assert_eq!(whole.shared_bytes, whole.data_bytes, "the same image once more");
}

#[test]
fn images_without_data_have_empty_cells_and_empty_images_none() {
    let bench = TestRepository::new();
    let empty = bench.snapshot("empty", &Vec::new());
    assert_eq!(draw(&bench.repo, empty, 10, Some(empty)).unwrap().cells, []);
    let zeros = bench.snapshot("zeros", &vec![0; MIB]);
    assert_eq!(draw(&bench.repo, zeros, 4, None).unwrap().cells, [MapCell::default(); 4]);
    let grown = draw(&bench.repo, zeros, 4, Some(empty)).unwrap();
    assert_eq!(grown.total(), MapCell { changed_bytes: MIB as u64, ..MapCell::default() });
}

#[test]
fn sixteen_tebibytes_are_drawn_from_the_pages_that_have_data() {
    const TIB: u64 = 1 << 40;
    let bench = TestRepository::new();
    let bytes = Random::new(22).bytes(3 * BLOCK_BYTES);
    let places = [0, 5 * TIB + 8192, 16 * TIB - 3 * BLOCK_BYTES as u64];
    let image = |count: usize| {
        places.iter().take(count).fold(TestImage::new(16 * TIB), |image, at| image.with(*at, &bytes))
    };
    let first = bench.snapshot("v", &image(2));
    let second = bench.snapshot("v", &image(3));
    let map: ImageMap = draw(&bench.repo, second, 4096, Some(first)).unwrap();
    assert_eq!((map.cells.len(), map.cell_bytes), (4096, 4 << 30));
    let all = bytes.len() as u64;
    let cell = |changed_bytes| MapCell { data_bytes: all, shared_bytes: all, changed_bytes };
    assert_eq!([map.cells[0], map.cells[1280], map.cells[4095]], [cell(0), cell(0), cell(all)]);
    assert_eq!(map.total(), MapCell { data_bytes: 3 * all, shared_bytes: 3 * all, changed_bytes: all });
}

#[test]
fn what_a_volume_stands_on_shares_too() {
    let bench = TestRepository::new();
    let repo = Arc::new(bench.another());
    let mut noise = Random::new(23);
    let disk = noise.bytes(MIB);
    let origin = bench.snapshot("disk", &disk);
    create_volume(&repo, &volume_options("vol", Some(origin), None)).unwrap();
    let volume = open(&repo, "vol").unwrap();
    volume.write_at(0, &noise.bytes(BLOCK_BYTES)).unwrap();
    let base = snapshot(&volume).unwrap();
    volume.sync().unwrap();
    drop(volume);
    let shared = |id| draw(&bench.repo, id, 1, None).unwrap().cells[0].shared_bytes;
    assert_eq!(shared(origin), (MIB - BLOCK_BYTES) as u64);
    icecore::snapshot::delete(&repo, base, DeleteOptions::default()).unwrap();
    assert_eq!(shared(origin), (MIB - BLOCK_BYTES) as u64, "the volume still needs it");
    icecore::volume::delete_volume(&repo, "vol").unwrap();
    assert_eq!(shared(origin), 0);
}

#[test]
fn a_map_that_cannot_be_drawn_says_why() {
    let bench = TestRepository::new();
    let id = bench.snapshot("disk", &Random::new(24).bytes(100_000));
    let other = bench.snapshot("other", &Random::new(25).bytes(100_000));
    for cells in [0, MAP_CELLS_MAX + 1] {
        assert_eq!(draw(&bench.repo, id, cells, None).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let nobody = SnapshotId(uuid::Uuid::from_u128(1));
    assert_eq!(draw(&bench.repo, nobody, 1, None).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(draw(&bench.repo, id, 1, Some(nobody)).unwrap_err().kind(), ErrorKind::NotFound);
    // The small packs are those of the pages.
    let files = bench.storage.files();
    for pack in files.keys().filter(|name| name.starts_with("packs/") && files[*name].len() < 50_000) {
        bench.storage.remove(pack).unwrap();
        for id in [id, other] {
            let error = draw(&bench.another(), id, 1, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains("snapshot-") && error.next_step().is_some(), "{error}");
        }
        bench.storage.put(pack, files[pack].clone());
    }
}

#[test]
fn without_sharing_nothing_is_read_of_others() {
    let bench = TestRepository::new();
    let disk = Random::new(26).bytes(100_000);
    let [id, other] = [1, 2].map(|_| bench.snapshot("disk", &disk));
    let alone = MapOptions { sharing: false, ..options(1, None) };
    let found = || image_map(&bench.another(), id, &alone, &NoProgress).unwrap().cells;
    assert!(draw(&bench.repo, id, 1, None).unwrap().cells[0].shared_bytes > 0);
    let cell = found()[0];
    assert_eq!((cell.data_bytes, cell.shared_bytes), (disk.len() as u64, 0));
    // The pages of another one are none of its business.
    icecore::snapshot::delete(&bench.repo, other, DeleteOptions::default()).unwrap();
    assert_eq!(found(), [cell]);
}

/// Is cancelled when it was asked so many times.
struct Enough(AtomicUsize);

impl Progress for Enough {
    fn total(&self, _meter: Meter, _total: u64) {}
    fn advance(&self, _meter: Meter, _amount: u64) {}
    fn cancelled(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    }
}

#[test]
fn a_map_that_nobody_waits_for_any_more_is_not_drawn() {
    let bench = TestRepository::new();
    let first = bench.snapshot("a", &Random::new(31).bytes(100_000));
    let second = bench.snapshot("a", &vec![0; 100_000]);
    // One with pages of its own, one with what differs, and one with the pages of another only.
    for (id, against) in [(first, None), (second, Some(first)), (second, None)] {
        let asked = Enough(AtomicUsize::new(1000));
        image_map(&bench.repo, id, &options(4, against), &asked).unwrap();
        let times = 1000 - asked.0.into_inner();
        assert!(times > 0);
        for before in 0..times {
            let error = image_map(&bench.repo, id, &options(4, against), &Enough(AtomicUsize::new(before)));
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Interrupted, "asked {before} times");
        }
    }
}
