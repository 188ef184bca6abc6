//! The stages that all data goes through, each alone and on one thread.

use criterion::Criterion;
use criterion::Throughput;
use icecore::BLOCK_BYTES;
use icecore::BlockId;
use icecore::SPAN_BYTES;
use icecore::stages::Compressing;
use icecore::stages::Decompressing;
use icecore::stages::Hashing;
use icecore::stages::Stored;
use icecore::stages::find_blocks;
use icecore::stages::is_zero;

use crate::fixtures::Fixture;
use crate::fixtures::KEY;
use crate::images::Disk;

const IMAGE_BYTES: usize = 64 << 20;

pub(crate) fn all(criterion: &mut Criterion) {
    let disk = Disk::new(1, IMAGE_BYTES);
    let data = disk.filled_spans();
    pure(criterion, &data);
    look_up(criterion, &disk, &data);
}

fn pure(criterion: &mut Criterion, data: &[u8]) {
    let mut group = criterion.benchmark_group("stage");
    group.throughput(Throughput::Bytes(data.len() as u64));
    let zeros = vec![0; data.len()];
    group.bench_function("zero scan of zeros", |bench| {
        bench.iter(|| zeros.chunks(SPAN_BYTES).filter(|span| is_zero(span)).count());
    });
    let hashing = Hashing::new(&KEY);
    group.bench_function("hash", |bench| bench.iter(|| hashing.hash_spans(data)));
    for (title, check) in [("compress", false), ("compress and check", true)] {
        let mut compressing = Compressing::new(icecore::repository::DEFAULT_LEVEL, check).unwrap();
        group.bench_function(title, |bench| {
            let mut stored = |span| compressing.compress(span).unwrap().stored_bytes();
            bench.iter(|| data.chunks(SPAN_BYTES).map(&mut stored).sum::<usize>());
        });
    }
    let mut compressing = Compressing::new(icecore::repository::DEFAULT_LEVEL, false).unwrap();
    let chunks: Vec<Stored> =
        data.chunks(SPAN_BYTES).map(|span| compressing.compress(span).unwrap()).collect();
    let mut decompressing = Decompressing::new().unwrap();
    group.bench_function("decompress", |bench| {
        let mut raw = |stored| decompressing.decompress(stored).unwrap().len();
        bench.iter(|| chunks.iter().map(&mut raw).sum::<usize>());
    });
    group.finish();
}

/// Counts blocks, not bytes.
fn look_up(criterion: &mut Criterion, disk: &Disk, data: &[u8]) {
    let fixture = Fixture::new(false);
    fixture.capture(disk);
    let hashing = Hashing::new(&KEY);
    let zero = hashing.block_ids(&[0; BLOCK_BYTES]);
    let stored: Vec<BlockId> = hashing.block_ids(data).into_iter().filter(|id| !zero.contains(id)).collect();
    let strange = Hashing::new(&[8; 32]).block_ids(&data[..stored.len() * BLOCK_BYTES]);
    let mut group = criterion.benchmark_group("stage");
    group.throughput(Throughput::Elements(stored.len() as u64));
    for (title, ids, found) in
        [("look-up of known blocks", &stored, stored.len()), ("look-up of new blocks", &strange, 0)]
    {
        assert_eq!(find_blocks(&fixture.repo, ids).unwrap(), found, "{title}");
        group.bench_function(title, |bench| bench.iter(|| find_blocks(&fixture.repo, ids).unwrap()));
    }
    group.finish();
}
