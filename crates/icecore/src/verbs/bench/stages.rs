//! Measures each stage of the pipeline alone with real data, in batches, so that memory is bounded.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::hint::black_box;

use rayon::prelude::*;

use crate::pure::compress::Encoded;
use crate::repository::Repository;
use crate::stores::pack::writer::Item;
use crate::verbs::bench::append::Appender;
use crate::verbs::bench::batch::Chunk;
use crate::verbs::bench::batch::Chunks;
use crate::verbs::bench::batch::Hashed;
use crate::verbs::bench::batch::Leaf;
use crate::verbs::bench::batch::Spans;
use crate::verbs::bench::codec::decode;
use crate::verbs::bench::codec::encode;
use crate::verbs::bench::place::BenchPlace;
use crate::verbs::bench::place::Watch;
use crate::verbs::bench::report::Stage;
use crate::verbs::bench::report::StageTime;
use crate::verbs::bench::report::WhatIf;
use crate::verbs::bench::sample::next_region;
use crate::verbs::bench::what_if::WhatIfs;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::to_u64;
use crate::words::units::LeafNumber;
use crate::words::units::block_bytes;
use crate::world::io::ReadAt;
use crate::world::io::WriteAt;

/// The fewest leaves (4 MiB each) in a batch; with many cores, each core gets some.
const BATCH_LEAVES: usize = 8;
/// The most blocks to look up.
const LOOK_UPS_MAX: usize = 1 << 20;

/// The measurement of the stages.
pub(crate) struct Stages<'a> {
    repo: &'a Repository,
    watch: Watch<'a>,
    level: i32,
    progress: &'a dyn Progress,
    times: BTreeMap<Stage, StageTime>,
    leaves: Vec<Leaf>,
    chunks: Chunks,
    appender: Appender<'a>,
    what_if: WhatIfs,
    /// The bytes of the images that are not zero.
    pub(crate) data_bytes: u64,
    /// The unique data of each image, summed over all images.
    pub(crate) image_unique_bytes: u64,
}

impl<'a> Stages<'a> {
    /// Starts the measurement. It writes packs to `repo`, which is useless afterwards.
    pub(crate) fn new(
        repo: &'a Repository,
        watch: Watch<'a>,
        level: i32,
        used_bytes: u64,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        let leaves = BATCH_LEAVES.max(2 * rayon::current_num_threads());
        Ok(Self {
            repo,
            watch,
            level,
            progress,
            times: BTreeMap::new(),
            leaves: (0..leaves).map(|_| Leaf::new()).collect(),
            chunks: Chunks::default(),
            appender: Appender::new(repo)?,
            what_if: WhatIfs::new(used_bytes),
            data_bytes: 0,
            image_unique_bytes: 0,
        })
    }

    fn add(&mut self, stage: Stage, amount: u64, one_core: f64, all_cores: Option<f64>) {
        let zero =
            StageTime { stage, amount: 0, one_core_seconds: 0.0, all_cores_seconds: all_cores.map(|_| 0.0) };
        let time = self.times.entry(stage).or_insert(zero);
        time.amount += amount;
        time.one_core_seconds += one_core;
        time.all_cores_seconds = time.all_cores_seconds.zip(all_cores).map(|(sum, more)| sum + more);
    }

    /// Does `work` for each input, on one core and on all. Returns the results and both times.
    fn both<'i, I: Sync, T: Send>(
        &self,
        inputs: &'i [I],
        work: impl Fn(&'i I) -> Result<T> + Sync,
    ) -> Result<(Vec<T>, f64, Option<f64>)> {
        let (_, one) = self.watch.median(|| inputs.iter().map(&work).collect::<Result<Vec<T>>>())?;
        let (done, all) = self.watch.median(|| inputs.par_iter().map(&work).collect::<Result<Vec<T>>>())?;
        Ok((done, one, Some(all)))
    }

    /// Measures all stages except the look-up with the data of one image.
    pub(crate) fn measure(&mut self, image: &dyn ReadAt, place: &BenchPlace<'_>) -> Result<()> {
        let target = (place.target)(image.len())?;
        let mut leaves = std::mem::take(&mut self.leaves);
        let mut in_image = HashSet::<BlockId>::new();
        let mut from = LeafNumber(0);
        loop {
            if self.progress.cancelled() {
                return Err(Error::interrupted());
            }
            let mut count = 0;
            while let Some(leaf) = leaves.get_mut(count)
                && let Some((number, mask)) = next_region(image, from)?
            {
                leaf.begin(number, mask);
                (from, count) = (number.next(), count + 1);
            }
            if count == 0 {
                break;
            }
            self.read(image, &mut leaves[..count])?;
            let hashed = self.hash_and_store(&leaves[..count], &*target)?;
            in_image.extend(hashed.iter().flat_map(|leaf| leaf.blocks.iter()).flatten());
        }
        self.image_unique_bytes += block_bytes(to_u64(in_image.len()));
        self.leaves = leaves;
        let last: Vec<Chunk> = self.chunks.close().into_iter().collect();
        self.store(&last)?;
        self.what_if.add(&self.repo.files().hasher, std::iter::empty(), &last)
    }

    fn read(&mut self, image: &dyn ReadAt, leaves: &mut [Leaf]) -> Result<()> {
        let (_, one) = self
            .watch
            .median(|| leaves.iter_mut().map(|leaf| leaf.read(image)).collect::<Result<Vec<u64>>>())?;
        let (read, all) = self
            .watch
            .median(|| leaves.par_iter_mut().map(|leaf| leaf.read(image)).collect::<Result<Vec<u64>>>())?;
        let bytes = read.iter().sum();
        self.add(Stage::Read, bytes, one, Some(all));
        self.progress.advance(Meter::Scanned, bytes);
        Ok(())
    }

    fn hash_and_store(&mut self, leaves: &[Leaf], target: &dyn WriteAt) -> Result<Vec<Hashed>> {
        let hasher = &self.repo.files().hasher;
        let (spans, one, all) = self.both(leaves, |leaf| Ok(leaf.scan()))?;
        let looked_at: u64 = spans.iter().flatten().map(|(at, _)| to_u64(leaves[0].span(*at).len())).sum();
        self.add(Stage::ZeroScan, looked_at, one, all);

        let data_bytes = block_bytes(spans.iter().flatten().map(|(_, span)| to_u64(span.count())).sum());
        let (hashed, one, all) = self.both(&spans, |spans| Ok(Hashed::of(hasher, spans)))?;
        self.add(Stage::Hash, data_bytes, one, all);
        self.data_bytes += data_bytes;

        let pairs: Vec<(&Leaf, &Spans<'_>)> = leaves.iter().zip(&spans).collect();
        self.write(&pairs, target)?;

        let mut chunks = Vec::new();
        for (leaf, hashed) in leaves.iter().zip(&hashed) {
            self.chunks.add(leaf, hashed, &mut chunks);
        }
        self.store(&chunks)?;
        self.what_if.add(hasher, leaves.iter().zip(&hashed), &chunks)?;
        Ok(hashed)
    }

    /// Writes to a target that is a hole wherever it is written: earlier writes are turned into
    /// holes before they reach the medium.
    fn write(&mut self, pairs: &[(&Leaf, &Spans<'_>)], target: &dyn WriteAt) -> Result<()> {
        let write = |(leaf, spans): &(&Leaf, &Spans<'_>)| leaf.write(spans, target);
        let again = || pairs.iter().try_for_each(|(leaf, _)| leaf.unwrite(target));
        let one = || pairs.iter().map(write).collect::<Result<Vec<u64>>>();
        let all = || pairs.par_iter().map(write).collect::<Result<Vec<u64>>>();
        let (_, one) = self.watch.median_after(again, one)?;
        let (written, all) = self.watch.median_after(again, all)?;
        again()?;
        self.add(Stage::Write, written.iter().sum(), one, Some(all));
        Ok(())
    }

    /// Compresses, checks and appends chunks.
    fn store(&mut self, chunks: &[Chunk]) -> Result<()> {
        let level = self.level;
        let bytes = chunks.iter().map(|chunk| to_u64(chunk.raw.len())).sum();
        let (encoded, one, all) = self.both(chunks, |chunk| encode(level, &chunk.raw))?;
        self.add(Stage::Compress, bytes, one, all);
        let pairs: Vec<(&Chunk, &Encoded)> = chunks.iter().zip(&encoded).collect();
        let (_, one, all) = self.both(&pairs, |(chunk, encoded)| decode(encoded, chunk.raw.len()))?;
        self.add(Stage::Check, bytes, one, all);
        let hasher = &self.repo.files().hasher;
        let item = |(chunk, encoded): (&Chunk, Encoded)| {
            let raw_bytes = chunk.raw.len();
            Item::new(hasher.chunk(&chunk.blocks).0, encoded, raw_bytes, chunk.blocks.clone())
        };
        let items: Vec<Item> = chunks.iter().zip(encoded).map(item).collect();
        self.appender.append(&self.watch, &items)
    }

    /// Measures how fast a repository that has all the blocks finds them, and how fast it rejects
    /// others.
    pub(crate) fn look_up(&mut self, repo: &Repository) -> Result<()> {
        let hits: Vec<BlockId> = self.chunks.known.iter().take(LOOK_UPS_MAX).copied().collect();
        let misses: Vec<BlockId> = hits.iter().map(|id| BlockId(id.0.map(|byte| !byte))).collect();
        for (stage, ids) in [(Stage::LookUpHit, hits), (Stage::LookUpMiss, misses)] {
            let (found, one) = self.watch.median(|| repo.store.count_known(&ids))?;
            black_box(found);
            self.add(stage, to_u64(ids.len()), one, None);
        }
        Ok(())
    }

    /// Publishes the last pack.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.appender.publish(&self.watch)?;
        // Whole verbs come next and have their own buffers.
        self.leaves = Vec::new();
        let Appender { bytes, append_seconds, sync_seconds, .. } = self.appender;
        self.add(Stage::Append, bytes, append_seconds, None);
        self.add(Stage::Sync, bytes, sync_seconds, None);
        Ok(())
    }

    /// Returns the size of the unique data, each block counted once.
    pub(crate) fn unique_bytes(&self) -> u64 {
        block_bytes(to_u64(self.chunks.known.len()))
    }

    /// Returns all times, and the sizes in other layouts.
    pub(crate) fn finish(self) -> (Vec<StageTime>, Vec<WhatIf>) {
        (self.times.into_values().collect(), self.what_if.finish())
    }
}
