//! Sparse images as large as a file system lets them be, up to the largest that there may be: what
//! they cost follows from their data.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::SeekFrom;
use rustix::fs::seek;
use tempfile::TempDir;

use crate::support::Fixture;
use crate::support::noise;

/// The largest image that there may be.
const LARGEST: u64 = 1 << 62;

/// Returns where a file has data: its beginnings and ends.
fn data(file: &File) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let mut from = 0;
    while let Ok(start) = seek(file, SeekFrom::Data(from)) {
        from = seek(file, SeekFrom::Hole(start)).unwrap();
        ranges.push((start, from));
    }
    ranges
}

/// Fails unless what one file has is in the other one too.
fn assert_within(one: &File, other: &File) {
    for (start, end) in data(one) {
        let part = |file: &File| {
            let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
            file.read_exact_at(&mut bytes, start).unwrap();
            bytes
        };
        assert!(part(one) == part(other), "{start} to {end}");
    }
}

/// Makes an image as large as a directory allows, with data at both ends and in the middle, and
/// returns its length.
fn image_in(dir: &Path) -> u64 {
    let image = File::create(dir.join("image.raw")).unwrap();
    let sizes = (0..=22).map(|halved| LARGEST >> halved);
    // The last block of what is allowed is left out: the most that ext4 has is 16 TiB without it.
    let size = sizes.flat_map(|size| [size, size - 4096]).find(|size| image.set_len(*size).is_ok()).unwrap();
    for (seed, at) in [(1, 0), (2, size / 2 + 12_345), (3, size - 70_000)] {
        image.write_all_at(&noise(seed, 70_000), at).unwrap();
    }
    size
}

#[test]
fn sparse_images_of_any_size_are_captured_and_restored_for_what_they_have() {
    // Most file systems of temporary files end at 16 TiB, and those in memory do not.
    let mut dirs = vec![TempDir::new().unwrap()];
    dirs.extend(TempDir::new_in("/dev/shm").ok());
    let fixture = Fixture::new();
    for (number, dir) in dirs.iter().enumerate() {
        let size = image_in(dir.path());
        assert!(size >= 1 << 40, "{size}");
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (image, restored, name) = (path("image.raw"), path("restored.raw"), format!("n{number}"));
        let made = fixture.result(&["snapshot", "create", &image, "--name", &name, "--volume", &name]);
        assert_eq!(made["snapshot"]["size_bytes"], size);
        let read = made["read_bytes"].as_u64().unwrap();
        assert!((210_000..1 << 20).contains(&read), "{made}");
        fixture.run(&["verify", "--read-data", &name]).exits(0);
        fixture.run(&["restore", &name, &restored]).exits(0);
        let [image, restored] = [image, restored].map(|path| File::open(path).unwrap());
        let about = restored.metadata().unwrap();
        assert_eq!(about.len(), size);
        assert!(about.blocks() * 512 < 1 << 20, "{about:?}");
        assert!(!data(&image).is_empty());
        assert_within(&image, &restored);
        assert_within(&restored, &image);
    }
}

#[test]
fn a_volume_may_be_as_large_as_the_largest_image_and_no_larger() {
    let fixture = Fixture::new();
    fixture.run(&["volume", "create", "v", "--size", "4EiB"]).exits(0);
    assert_eq!(fixture.result(&["volume", "get", "v"])["volumes"][0]["size_bytes"], LARGEST);
    fixture
        .run(&["volume", "create", "w", "--size", &(LARGEST + 1).to_string()])
        .exits(2)
        .says(&["4611686018427387905"]);
    fixture.run(&["volume", "create", "w", "--size", "8EiB"]).exits(2);
    let Ok(dir) = TempDir::new_in("/dev/shm") else { return };
    let image = dir.path().join("image.raw");
    if File::create(&image).unwrap().set_len(LARGEST + 1).is_ok() {
        fixture.run(&["snapshot", "create", image.to_str().unwrap()]).exits(2).says(&["4611686018427387905"]);
    }
    assert_eq!(fixture.run(&["snapshot", "list", "--no-header"]).out, "");
}
