//! Snapshots as disks: read from one end to the other, and here and there.

use std::hint::black_box;
use std::sync::Arc;

use criterion::BatchSize;
use criterion::Criterion;
use criterion::SamplingMode;
use criterion::Throughput;
use icecore::NoProgress;
use icecore::image::ReadAt;
use icecore::snapshot::BlockCache;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotDisk;
use icecore_testing::random::Random;

use crate::fixtures::Fixture;
use crate::images::Disk;

const IMAGE_BYTES: usize = 256 << 20;
/// Reads in one round of reads here and there, and the part of the image that they are in where all
/// of it is in memory.
const READS: usize = 1000;
const WARM_BYTES: usize = 32 << 20;

pub(crate) fn all(criterion: &mut Criterion) {
    let image = Disk::new(2, IMAGE_BYTES);
    for (title, in_memory) in [("disk from memory", true), ("disk from a directory", false)] {
        let fixture = Fixture::new(in_memory);
        let id = fixture.capture(&image);
        let repo = Arc::new(fixture.open());
        let open = || SnapshotDisk::open(Arc::clone(&repo), id, BlockCache::usual()).unwrap();
        let mut group = criterion.benchmark_group(title);
        group.sampling_mode(SamplingMode::Flat);
        group.bench_function("opened, and one block read", |bench| {
            bench.iter(|| open().read_at(0, black_box(&mut [0; 4096])).unwrap());
        });

        group.throughput(Throughput::Bytes(image.data_bytes()));
        group.bench_function("as a restore reads it", |bench| {
            bench.iter(|| {
                icecore::snapshot::restore(
                    &repo,
                    id,
                    RestoreTo::Stream(&mut std::io::sink()),
                    OnDamage::Stop,
                    &NoProgress,
                )
                .unwrap()
            });
        });
        for (title, at_once) in
            [("1 MiB at once, from end to end", 1 << 20), ("4 KiB at once, from end to end", 4096)]
        {
            group.bench_function(title, |bench| {
                bench.iter_batched_ref(open, |disk| read_all(disk, at_once), BatchSize::PerIteration);
            });
        }

        group.throughput(Throughput::Elements(READS as u64));
        group.bench_function("4 KiB here and there, nothing in memory", |bench| {
            bench.iter_batched_ref(
                open,
                |disk| read_here_and_there(disk, IMAGE_BYTES),
                BatchSize::PerIteration,
            );
        });
        let warm = open();
        read_all(&warm, 4096);
        (0..4).for_each(|_| read_range(&warm, WARM_BYTES));
        group.bench_function("4 KiB here and there, all in memory", |bench| {
            bench.iter(|| read_here_and_there(&warm, WARM_BYTES));
        });
        group.finish();
    }
}

fn read_all(disk: &SnapshotDisk, at_once: usize) {
    let mut buffer = vec![0; at_once];
    for at in (0..disk.len()).step_by(at_once) {
        disk.read_at(at, &mut buffer).unwrap();
    }
}

fn read_range(disk: &SnapshotDisk, bytes: usize) {
    (0..bytes as u64).step_by(4096).for_each(|at| disk.read_at(at, &mut [0; 4096]).unwrap());
}

fn read_here_and_there(disk: &SnapshotDisk, bytes: usize) {
    let (mut noise, mut buffer) = (Random::new(5), [0; 4096]);
    for _ in 0..READS {
        disk.read_at((noise.below(bytes / 4096) * 4096) as u64, &mut buffer).unwrap();
    }
    black_box(&buffer);
}
