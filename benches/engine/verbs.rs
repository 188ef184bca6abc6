//! Whole captures, restores, and the other verbs.

use std::fs;
use std::path::Path;

use criterion::BatchSize;
use criterion::BenchmarkGroup;
use criterion::Criterion;
use criterion::SamplingMode;
use criterion::Throughput;
use criterion::measurement::WallTime;
use icecore::NoProgress;
use icecore::image::ImageFile;
use icecore::image::NewTarget;
use icecore::image::OpenTarget;
use icecore::image::ReadAt;
use icecore::maintenance::Depth;
use icecore::maintenance::gc;
use icecore::repository::Repository;
use icecore::snapshot::OnDamage;
use icecore::snapshot::Parent;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotId;
use icecore_testing::random::Random;

use crate::fixtures::Fixture;
use crate::fixtures::session;
use crate::images::Disk;
use crate::images::Sparse;

const IMAGE_BYTES: usize = 256 << 20;
const SPARSE_BYTES: u64 = 64 << 30;
const MANY_PACKS: u64 = 64;

/// An image and what became of it, both in memory and as files.
struct Versions {
    old: Disk,
    new: Disk,
    dir: tempfile::TempDir,
}

pub(crate) fn all(criterion: &mut Criterion) {
    let old = Disk::new(2, IMAGE_BYTES);
    let versions = Versions { new: old.later(10), old, dir: tempfile::tempdir().unwrap() };
    let path = |name| versions.dir.path().join(name);
    versions.old.write(&path("old.raw")).unwrap();
    versions.new.write(&path("new.raw")).unwrap();
    captures(criterion, "capture in memory", true, [&versions.old, &versions.new], versions.old.data_bytes());
    let files = ["old.raw", "new.raw"].map(|name| ImageFile::open(&path(name)).unwrap());
    captures(criterion, "capture of files", false, [&files[0], &files[1]], versions.old.data_bytes());
    sparse(criterion);

    for (title, in_memory) in [("from memory", true), ("from a directory", false)] {
        let fixture = Fixture::new(in_memory);
        let ids = [fixture.capture(&versions.old), fixture.capture(&versions.new)];
        restores(criterion, &format!("restore {title}"), &fixture.repo, ids, &versions);
        checks(criterion, &format!("look {title}"), &fixture.repo, ids, &versions);
    }
    opening(criterion);
}

fn group<'a>(criterion: &'a mut Criterion, title: &str, bytes: u64) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(title);
    group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Bytes(bytes));
    group
}

/// Images of files are read from the page cache.
fn captures(
    criterion: &mut Criterion,
    title: &str,
    in_memory: bool,
    [old, new]: [&dyn ReadAt; 2],
    data_bytes: u64,
) {
    let mut group = group(criterion, title, data_bytes);
    for (title, check) in [("new", true), ("new, without check", false)] {
        group.bench_function(title, |bench| {
            let capture = |fixture: &mut Fixture| fixture.capture_as(old, Parent::None, check);
            bench.iter_batched_ref(|| Fixture::new(in_memory), capture, BatchSize::PerIteration);
        });
    }
    let fixture = Fixture::new(in_memory);
    let first = fixture.capture(old);
    for (title, parent) in [("unchanged", Parent::Newest), ("known, without parent", Parent::None)] {
        group.bench_function(title, |bench| {
            let capture = |()| fixture.capture_as(old, parent, true);
            bench.iter_batched(|| fixture.keep_only(first), capture, BatchSize::PerIteration);
        });
    }
    fixture.keep_only(first);
    group.bench_function("1 % changed", |bench| {
        bench.iter_batched_ref(|| fixture.copy(), |fixture| fixture.capture(new), BatchSize::PerIteration);
    });
    group.finish();
}

/// Little data in a large image: to be compared with the same data alone.
fn sparse(criterion: &mut Criterion) {
    let mut pieces = Disk::new(3, 2 * IMAGE_BYTES).filled_spans();
    pieces.truncate(IMAGE_BYTES);
    assert_eq!(pieces.len(), IMAGE_BYTES, "the image has enough data");
    let mut group = group(criterion, "capture of 256 MiB of data", IMAGE_BYTES as u64);
    for (title, len) in [("alone", IMAGE_BYTES as u64), ("in 64 GiB", SPARSE_BYTES)] {
        let image = Sparse { len, pieces: pieces.clone() };
        group.bench_function(title, |bench| {
            bench.iter_batched_ref(
                || Fixture::new(true),
                |fixture| fixture.capture(&image),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// To files in the page cache, not synced.
fn restores(
    criterion: &mut Criterion,
    title: &str,
    repo: &Repository,
    [_, new]: [SnapshotId; 2],
    versions: &Versions,
) {
    let mut group = group(criterion, title, versions.new.data_bytes());
    let (image_bytes, path) = (IMAGE_BYTES as u64, versions.dir.path().join("restored.raw"));
    group.bench_function("to a new file", |bench| {
        let target = || NewTarget::create(&path, image_bytes, true, session()).unwrap();
        let restore = |target: &mut NewTarget| {
            icecore::snapshot::restore(repo, new, RestoreTo::Fresh(target), OnDamage::Stop, &NoProgress)
                .unwrap()
        };
        bench.iter_batched_ref(target, restore, BatchSize::PerIteration);
    });
    group.bench_function("in place, over the version before", |bench| {
        let restore = |target: &mut OpenTarget| {
            icecore::snapshot::restore(repo, new, RestoreTo::InPlace(target), OnDamage::Stop, &NoProgress)
                .unwrap()
        };
        bench.iter_batched_ref(
            || old_version(versions.dir.path(), &path, image_bytes),
            restore,
            BatchSize::PerIteration,
        );
    });
    group.bench_function("as a stream", |bench| {
        bench.iter(|| {
            icecore::snapshot::restore(
                repo,
                new,
                RestoreTo::Stream(&mut std::io::sink()),
                OnDamage::Stop,
                &NoProgress,
            )
            .unwrap()
        });
    });
    group.finish();
}

fn old_version(dir: &Path, path: &Path, image_bytes: u64) -> OpenTarget {
    fs::copy(dir.join("old.raw"), path).unwrap();
    OpenTarget::open(path, image_bytes).unwrap()
}

fn checks(
    criterion: &mut Criterion,
    title: &str,
    repo: &Repository,
    [old, new]: [SnapshotId; 2],
    versions: &Versions,
) {
    let mut group = group(criterion, title, versions.new.data_bytes());
    group.bench_function("diff", |bench| {
        bench.iter(|| icecore::snapshot::diff(repo, old, new, &mut |_| Ok(())).unwrap());
    });
    for (title, depth) in [("verify structure", Depth::Structure), ("verify all data", Depth::ReadData)] {
        group.bench_function(title, |bench| {
            bench.iter(|| {
                let report = icecore::maintenance::verify(repo, None, depth, &NoProgress).unwrap();
                assert!(report.findings.is_empty(), "the repository is sound");
            });
        });
    }
    group.bench_function("plan of a gc", |bench| {
        let options = gc::GcOptions::new(0.05);
        bench.iter(|| gc::plan(repo, &options, &NoProgress).unwrap().totals);
    });
    group.finish();
}

fn opening(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    for packs in [1, MANY_PACKS] {
        let fixture = Fixture::new(false);
        for number in 0..packs {
            let mut image = vec![0; 1 << 20];
            Random::new(number).fill(&mut image);
            fixture.capture(&image);
        }
        group.bench_function(format!("{packs} packs of data"), |bench| bench.iter(|| fixture.open()));
    }
    group.finish();
}
