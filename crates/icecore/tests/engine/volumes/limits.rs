//! Volumes that are damaged, hostile, or very large.

use std::sync::Arc;

use icecore::Depth;
use icecore::ErrorKind;
use icecore::FsStorage;
use icecore::MemoryStorage;
use icecore::NoProgress;
use icecore::ReadAt;
use icecore::Repository;
use icecore::WriteAt;

use crate::noise::Noise;
use crate::support::Bench;
use crate::support::collect;
use crate::support::init_options;
use crate::support::open as open_repo;
use crate::support::session;
use crate::volumes::support::open;
use crate::volumes::support::snapshot;
use crate::volumes::support::volume_options;

#[test]
fn a_record_that_cannot_be_read_is_told_and_stops_gc() {
    let bench = Bench::new();
    let base = bench.snapshot("base", &Noise(1).disk(1 << 20));
    let repo = Arc::new(bench.another());
    icecore::create_volume(&repo, &volume_options("disk", Some(base), None)).unwrap();
    let storage: &MemoryStorage = &bench.storage;
    let name = "volumes/disk/record";
    let mut bytes = storage.files()[name].clone();
    bytes[40] ^= 1;
    storage.put(name, bytes);
    let error = open(&repo, "disk").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("volume disk"), "{error}");
    assert_eq!(icecore::list_volumes(&repo).unwrap().unreadable[0].name, "disk");
    // It could stand on anything.
    assert!(collect(&repo).unwrap_err().to_string().contains("volume disk"));
    assert!(icecore::delete(&repo, base).unwrap_err().to_string().contains("volume disk"));
    let report = icecore::verify(&repo, None, Depth::ReadData, &NoProgress).unwrap();
    assert!(format!("{:?}", report.findings).contains(name), "{:?}", report.findings);
}

#[test]
fn a_map_of_a_larger_volume_is_refused() {
    let bench = Bench::new();
    let repo = Arc::new(bench.another());
    for (name, bytes) in [("small", 5 << 20), ("large", 9 << 20)] {
        icecore::create_volume(&repo, &volume_options(name, None, Some(bytes))).unwrap();
    }
    let volume = open(&repo, "large").unwrap();
    volume.write_at(8 << 20, &[1; 4096]).unwrap();
    volume.sync().unwrap();
    drop(volume);
    for kind in ["map-0", "overlay-0"] {
        let bytes = bench.storage.files()[&format!("volumes/large/{kind}")].clone();
        bench.storage.put(&format!("volumes/small/{kind}"), bytes);
    }
    let error = open(&repo, "small").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    icecore::reset_volume(&repo, "small").unwrap();
    assert!(open(&repo, "small").is_ok());
}

#[test]
fn names_and_sizes_that_cannot_be_are_refused() {
    let bench = Bench::new();
    let repo: Repository = open_repo(bench.storage.clone());
    for name in ["", ".", "..", "a/b", "a b", "ä", "a\n", &"n".repeat(300)] {
        let error = icecore::create_volume(&repo, &volume_options(name, None, Some(4096))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}: {error}");
    }
    for bytes in [None, Some(0), Some(u64::MAX)] {
        let error = icecore::create_volume(&repo, &volume_options("disk", None, bytes)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bytes:?}: {error}");
    }
    assert!(bench.storage.files().keys().all(|name| !name.starts_with("volumes/")));
}

#[test]
fn a_volume_of_16_tib_takes_no_more_than_what_is_written_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let storage = FsStorage::new(dir.path().join("repo"));
    let repo = Arc::new(Repository::init(Arc::new(storage), session(), &init_options()).unwrap());
    let size = (16 << 40) + 5000;
    icecore::create_volume(&repo, &volume_options("disk", None, Some(size))).unwrap();
    let volume = open(&repo, "disk").unwrap();
    volume.write_at(size - 5, b"hello").unwrap();
    volume.write_at((8 << 40) - 3, b"bridge").unwrap();
    volume.sync().unwrap();
    drop(volume);
    let volume = open(&repo, "disk").unwrap();
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
    let data = |id| icecore::find(&repo, &format!("{id}")).unwrap().stats.data_bytes;
    assert_eq!((data(id), data(empty)), (3 * 4096, 0));
}
