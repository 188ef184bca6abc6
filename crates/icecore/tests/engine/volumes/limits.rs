//! Volumes that are damaged, hostile, or very large.

use std::sync::Arc;

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::maintenance::Depth;
use icecore::repository::Repository;
use icecore::snapshot::DeleteOptions;
use icecore::storage::FsStorage;
use icecore::storage::LockMode;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use icecore::storage::Wait;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::collect;
use icecore_testing::repository::init_options;
use icecore_testing::repository::open as open_repo;
use icecore_testing::repository::session;

use crate::volumes::support::open;
use crate::volumes::support::snapshot;
use crate::volumes::support::volume_options;

#[test]
fn a_record_that_cannot_be_read_is_told_and_stops_gc() {
    let bench = TestRepository::new();
    let base = bench.snapshot("base", &Random::new(1).disk(1 << 20));
    let repo = Arc::new(bench.another());
    icecore::volume::create_volume(&repo, &volume_options("disk", Some(base), None)).unwrap();
    let storage: &MemoryStorage = &bench.storage;
    let name = "local/volumes/disk/record";
    let mut bytes = storage.files()[name].clone();
    bytes[40] ^= 1;
    storage.put(name, bytes);
    let error = open(&repo, "disk").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("volume disk"), "{error}");
    assert_eq!(icecore::volume::list_volumes(&repo).unwrap().unreadable[0].name, "disk");
    // It could stand on anything.
    assert!(collect(&repo).unwrap_err().to_string().contains("volume disk"));
    assert!(
        icecore::snapshot::delete(&repo, base, DeleteOptions::default())
            .unwrap_err()
            .to_string()
            .contains("volume disk")
    );
    let report = icecore::maintenance::verify(&repo, None, Depth::ReadData, &NoProgress).unwrap();
    assert!(format!("{:?}", report.findings).contains(name), "{:?}", report.findings);
}

#[test]
fn a_map_of_a_larger_volume_is_refused() {
    let bench = TestRepository::new();
    let repo = Arc::new(bench.another());
    for (name, bytes) in [("small", 5 << 20), ("large", 9 << 20)] {
        icecore::volume::create_volume(&repo, &volume_options(name, None, Some(bytes))).unwrap();
    }
    let volume = open(&repo, "large").unwrap();
    volume.write_at(8 << 20, &[1; 4096]).unwrap();
    volume.sync().unwrap();
    drop(volume);
    for kind in ["map-0", "overlay-0"] {
        let bytes = bench.storage.files()[&format!("local/volumes/large/{kind}")].clone();
        bench.storage.put(&format!("local/volumes/small/{kind}"), bytes);
    }
    let error = open(&repo, "small").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    icecore::volume::reset_volume(&repo, "small").unwrap();
    assert!(open(&repo, "small").is_ok());
}

#[test]
fn names_and_sizes_that_cannot_be_are_refused() {
    let bench = TestRepository::new();
    let repo: Repository = open_repo(bench.storage.clone());
    for name in ["", ".", "..", "a/b", "a b", "ä", "a\n", &"n".repeat(300)] {
        let error =
            icecore::volume::create_volume(&repo, &volume_options(name, None, Some(4096))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}: {error}");
    }
    for bytes in [None, Some(0), Some(u64::MAX)] {
        let error = icecore::volume::create_volume(&repo, &volume_options("disk", None, bytes)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bytes:?}: {error}");
    }
    assert!(bench.storage.files().keys().all(|name| !name.starts_with("local/volumes/")));
}

#[test]
fn a_volume_of_16_tib_takes_no_more_than_what_is_written_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let storage = FsStorage::new(dir.path().join("repo"));
    let repo = Arc::new(Repository::init(Arc::new(storage), session(), &init_options()).unwrap());
    let size = (16 << 40) + 5000;
    icecore::volume::create_volume(&repo, &volume_options("disk", None, Some(size))).unwrap();
    let volume = open(&repo, "disk").unwrap();
    volume.write_at(size - 5, b"hello").unwrap();
    volume.write_at((8 << 40) - 3, b"bridge").unwrap();
    volume.sync().unwrap();
    drop(volume);
    let volume = open(&repo, "disk").unwrap();
    // What it takes is what was written, and not how far its files go.
    let stats = icecore::maintenance::stats(&repo, &NoProgress).unwrap().repository;
    assert!(stats.volume_bytes > 8192 && stats.total_bytes < 8 << 20, "{stats:?}");
    let id = snapshot(&volume).unwrap();
    let read = |at: u64, bytes: usize| {
        let mut buffer = vec![0; bytes];
        volume.read_at(at, &mut buffer).unwrap();
        buffer
    };
    assert_eq!(read(size - 6, 6), *b"\0hello");
    assert_eq!(read((8 << 40) - 4, 8), *b"\0bridge\0");
    volume.zero_at(0..size).unwrap();
    volume.sync().unwrap();
    assert_eq!(volume.next_data(0).unwrap(), None);
    let empty = snapshot(&volume).unwrap();
    let data = |id| icecore::snapshot::find(&repo, &format!("{id}")).unwrap().stats.data_bytes;
    assert_eq!((data(id), data(empty)), (3 * 4096, 0));
}

#[test]
fn files_of_no_volume_are_collected_and_those_of_volumes_counted() {
    // After a crash in a deletion the overlays stayed for ever, and nothing counted them.
    let bench = TestRepository::new();
    let files = &bench.storage;
    let repo = Arc::new(bench.another());
    let total = || icecore::maintenance::stats(&repo, &NoProgress).unwrap().repository;
    let before = total();
    for name in ["gone", "open", "there"] {
        icecore::volume::create_volume(&repo, &volume_options(name, None, Some(1 << 20))).unwrap();
        let volume = open(&repo, name).unwrap();
        volume.write_at(0, &Random::new(3).bytes(1 << 20)).unwrap();
        volume.sync().unwrap();
    }
    assert!(total().volume_bytes > 3 << 20);
    assert!(total().total_bytes > before.total_bytes + (3 << 20));
    let overlay = |name: &str, number: u64| format!("local/volumes/{name}/overlay-{number}");
    let bytes = files.files()[&overlay("gone", 0)].clone();
    // A deletion that was cut off, and a seal of each of the others.
    let record = files.files()["local/volumes/gone/record"].clone();
    files.remove("local/volumes/gone/record").unwrap();
    files.put("local/volumes/gone/record.new", record);
    for name in ["open", "there"] {
        files.put(&overlay(name, 1), bytes.clone());
        files.put(&format!("local/volumes/{name}/map-1"), Vec::new());
    }
    let open_volume = open(&repo, "open").unwrap();
    files.put(&overlay("open", 7), bytes.clone());
    files.put("local/volumes/made/overlay-0", bytes);
    let made = files.lock("local/locks/volume-made", LockMode::Exclusive, Wait::No).unwrap().unwrap();
    let totals = collect(&repo).unwrap();
    // Of the volume that is gone, data, map and record; and two of what is there.
    assert_eq!(totals.leftovers_removed, 3 + 2);
    let names = |volume: &str| {
        let dir = format!("local/volumes/{volume}/");
        files.files().into_keys().filter(|name| name.starts_with(&dir)).count()
    };
    assert_eq!([names("gone"), names("there")], [0, 3]);
    // Whoever makes a volume, or has one open, has its files.
    assert_eq!([names("made"), names("open")], [1, 4]);
    drop((made, open_volume));
    assert_eq!(collect(&repo).unwrap().leftovers_removed, 2);
    assert_eq!([names("made"), names("open")], [0, 3]);
    assert!(total().volume_bytes > 2 << 20 && total().volume_bytes < 3 << 20);
    assert_eq!(open(&repo, "open").unwrap().len(), 1 << 20);
}
