//! A volume that is used while every change of the storage is noted, and what it may show wherever
//! a power cut comes.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use icecore::BLOCK_BYTES;
use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::Progress;
use icecore::image::WriteAt;
use icecore::repository::Repository;
use icecore::snapshot::SnapshotId;
use icecore::volume::Volume;
use icecore_testing::repository::collect;
use icecore_testing::repository::open_with_small_packs;
use icecore_testing::repository::restores;

use crate::crash::fixture::Fixture;
use crate::crash::noise;
use crate::volumes::support::content;
use crate::volumes::support::open;
use crate::volumes::support::snapshot;
use crate::volumes::support::snapshot_with;

pub(crate) const NAME: &str = "disk";

/// How an operation changes a volume.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Each block on its own: after a cut it is there or not.
    Blocks,
    /// Whole or not at all, and certain once it has returned.
    Whole,
    /// Not: what was written before it is certain once it has returned.
    Sync,
}

/// What a volume held before the first operation and after each: nothing while there is none.
#[derive(Clone)]
struct History {
    images: Vec<Option<Vec<u8>>>,
    how: Vec<How>,
    /// The image that was certain when as many operations had returned.
    certain: Vec<usize>,
}

impl History {
    fn push(&mut self, how: How, image: Option<Vec<u8>>) {
        self.images.push(image);
        self.how.push(how);
        let certain = if how == How::Blocks { self.certain[self.certain.len() - 1] } else { self.how.len() };
        self.certain.push(certain);
    }

    fn last(&self) -> Vec<u8> {
        self.images.last().cloned().flatten().unwrap()
    }

    /// Checks what a volume holds after a cut that came when `returned` operations had returned.
    fn check(&self, returned: usize, found: Option<&[u8]>) -> Result<(), String> {
        let before = self.certain[returned]..returned + 1;
        let result = match self.how.get(returned) {
            None | Some(How::Sync) => self.check_range(before, found),
            Some(How::Blocks) => self.check_range(before.start..returned + 2, found),
            Some(How::Whole) => self.check_range(before, found).or_else(|why| {
                self.check_range(returned + 1..returned + 2, found)
                    .map_err(|other| format!("{why}, and {other}"))
            }),
        };
        result.map_err(|why| format!("the volume after a cut: {why}"))
    }

    fn check_range(&self, range: Range<usize>, found: Option<&[u8]>) -> Result<(), String> {
        let images = &self.images[range];
        let Some(found) = found else {
            let may_be_gone = images.iter().any(Option::is_none);
            return if may_be_gone { Ok(()) } else { Err("it is not there".to_owned()) };
        };
        let images: Vec<&Vec<u8>> = images.iter().flatten().collect();
        if images.iter().all(|image| image.len() != found.len()) {
            return Err(format!("it has {} bytes", found.len()));
        }
        for (number, block) in found.chunks(BLOCK_BYTES).enumerate() {
            let at = number * BLOCK_BYTES;
            if !images.iter().any(|image| image.get(at..at + block.len()) == Some(block)) {
                return Err(format!("its block {number} holds what was not written, or too old"));
            }
        }
        Ok(())
    }
}

/// Stops what it is told of.
struct Stops;

impl Progress for Stops {
    fn total(&self, _meter: icecore::Meter, _total: u64) {}
    fn advance(&self, _meter: icecore::Meter, _amount: u64) {}
    fn cancelled(&self) -> bool {
        true
    }
}

/// Does something once, and stops what it is told of.
struct Beside<F>(AtomicBool, F);

impl<F: Fn() + Sync> Progress for Beside<F> {
    fn total(&self, _meter: icecore::Meter, _total: u64) {}
    fn advance(&self, _meter: icecore::Meter, _amount: u64) {}
    fn cancelled(&self) -> bool {
        if !self.0.swap(true, Ordering::SeqCst) {
            (self.1)();
        }
        true
    }
}

/// Operations on a volume, done once.
pub(crate) struct VolumeFixture {
    pub(crate) fixture: Fixture,
    volume: Option<Volume>,
    history: History,
}

impl VolumeFixture {
    /// Begins in a repository that `prepared` has filled. All that was done so far is durable.
    pub(crate) fn new(mut fixture: Fixture) -> Self {
        fixture.settle();
        let history = History { images: vec![None], how: Vec::new(), certain: vec![0] };
        Self { fixture, volume: None, history }
    }

    fn repo(&self) -> Arc<Repository> {
        Arc::new(self.fixture.open())
    }

    fn step(&mut self, how: How, image: Option<Vec<u8>>, what: impl FnOnce(&Arc<Repository>)) {
        let repo = self.repo();
        self.fixture.step(|_| what(&repo));
        self.history.push(how, image);
    }

    /// Makes the volume: of a snapshot with this image, or empty.
    pub(crate) fn create(&mut self, of: Option<SnapshotId>, image: &[u8]) {
        let options = crate::volumes::support::volume_options(NAME, of, Some(image.len() as u64));
        self.step(How::Whole, Some(image.to_vec()), |repo| {
            icecore::volume::create_volume(repo, &options).unwrap();
        });
    }

    /// Does something to the volume while nobody has it open.
    pub(crate) fn whole(&mut self, image: Option<Vec<u8>>, what: impl FnOnce(&Arc<Repository>)) {
        self.close();
        self.step(How::Whole, image, what);
    }

    pub(crate) fn close(&mut self) {
        self.volume = None;
    }

    fn volume(&mut self) -> &Volume {
        if self.volume.is_none() {
            self.volume = Some(open(&self.repo(), NAME).unwrap());
        }
        self.volume.as_ref().unwrap()
    }

    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        let mut image = self.history.last();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        self.volume().write_at(at as u64, bytes).unwrap();
        self.step(How::Blocks, Some(image), |_| {});
    }

    pub(crate) fn zero(&mut self, range: Range<usize>) {
        let mut image = self.history.last();
        image[range.clone()].fill(0);
        self.volume().zero_at(range.start as u64..range.end as u64).unwrap();
        self.step(How::Blocks, Some(image), |_| {});
    }

    pub(crate) fn sync(&mut self) {
        self.volume().sync().unwrap();
        self.step(How::Sync, Some(self.history.last()), |_| {});
    }

    pub(crate) fn snapshot(&mut self) -> SnapshotId {
        let id = snapshot(self.volume()).unwrap();
        self.snapshot_taken(id);
        id
    }

    fn snapshot_taken(&mut self, id: SnapshotId) {
        let image = self.history.last();
        self.fixture.know(id, &image);
        self.step(How::Sync, Some(image), |_| {});
    }

    /// Takes a snapshot that is stopped when what was written is sealed.
    pub(crate) fn failed_snapshot(&mut self) {
        let error = snapshot_with(self.volume(), &Stops).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        self.step(How::Sync, Some(self.history.last()), |_| {});
    }

    /// Takes a snapshot that is stopped after something was written beside it, and flushed.
    pub(crate) fn failed_snapshot_beside(&mut self, at: usize, bytes: &[u8]) {
        let volume = self.volume();
        let writes = Beside(AtomicBool::new(false), || {
            volume.write_at(at as u64, bytes).unwrap();
            volume.sync().unwrap();
        });
        let error = snapshot_with(volume, &writes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        let mut image = self.history.last();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        self.step(How::Blocks, Some(image.clone()), |_| {});
        self.step(How::Sync, Some(image), |_| {});
    }

    /// Makes durable what was done so far. The volume is closed, for what is open has files of
    /// before.
    pub(crate) fn settle(&mut self) {
        self.close();
        self.fixture.settle();
        let image = self.history.last();
        self.history = History { images: vec![Some(image)], how: Vec::new(), certain: vec![0] };
    }

    /// Does something that does not change what the volume holds, while it may be open.
    pub(crate) fn beside(&mut self, what: impl FnOnce(&Arc<Repository>)) {
        self.step(How::Blocks, Some(self.history.last()), what);
    }

    /// Returns the fixture, which looks at the volume in each state.
    pub(crate) fn ready(mut self) -> Fixture {
        self.close();
        let history = self.history;
        self.fixture.look_closer = Box::new(move |returned, storage, is_last| {
            let repo = Arc::new(open_with_small_packs(storage.clone()).map_err(|error| error.to_string())?);
            match icecore::volume::find_volume(&repo, NAME) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    history.check(returned, None)?;
                    if is_last { used_again(&repo) } else { Ok(()) }
                }
                Err(error) => Err(error.to_string()),
                Ok(_) => {
                    let image = read(&repo)?;
                    history.check(returned, Some(&image))?;
                    if is_last { goes_on(&repo, image) } else { Ok(()) }
                }
            }
        });
        self.fixture
    }
}

fn read(repo: &Arc<Repository>) -> Result<Vec<u8>, String> {
    let told = |error: icecore::Error| format!("opening or reading the volume: {error}");
    content(&open(repo, NAME).map_err(told)?).map_err(told)
}

/// Makes a volume where one was made half, or was deleted: nothing of it may show.
fn used_again(repo: &Arc<Repository>) -> Result<(), String> {
    let told = |error: icecore::Error| format!("making the volume again: {error}");
    let options = crate::volumes::support::volume_options(NAME, None, Some(50_000));
    icecore::volume::create_volume(repo, &options).map_err(told)?;
    let image = read(repo)?;
    if image.iter().any(|byte| *byte != 0) {
        return Err("a new volume shows what an old one held".to_owned());
    }
    goes_on(repo, image)
}

/// Writes, syncs, takes a snapshot and collects: everything must be there.
fn goes_on(repo: &Arc<Repository>, mut image: Vec<u8>) -> Result<(), String> {
    let told = |error: icecore::Error| format!("going on with the volume: {error}");
    let io = |error: std::io::Error| format!("going on with the volume: {error}");
    let bytes = noise(99, 6000);
    let volume = open(repo, NAME).map_err(told)?;
    volume.write_at(3000, &bytes).map_err(io)?;
    image[3000..9000].copy_from_slice(&bytes);
    volume.sync().map_err(io)?;
    drop(volume);
    if read(repo)? != image {
        return Err("what was written after the cut is not there".to_owned());
    }
    let id = snapshot(&open(repo, NAME).map_err(told)?).map_err(told)?;
    collect(repo).map_err(told)?;
    restores(repo, id, &image)?;
    if read(repo)? != image {
        return Err("the volume is another after a snapshot and a gc".to_owned());
    }
    let report = icecore::maintenance::verify(repo, None, icecore::maintenance::Depth::ReadData, &NoProgress)
        .map_err(told)?;
    if report.findings.is_empty() { Ok(()) } else { Err(format!("verify at the end: {:?}", report.findings)) }
}
