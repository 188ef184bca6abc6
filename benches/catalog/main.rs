//! How long the verbs take in repositories with few and with many snapshots, in a directory.
//!
//! `cargo bench -p icecore --bench catalog -- [--unchanged] [--mib=SIZE] DIR NUMBER...` makes a
//! repository in a new directory inside of DIR, takes snapshots of one disk of SIZE MiB (64) until
//! there is each NUMBER of them, and prints a line for it. Each snapshot has one block of its own, or,
//! with `--unchanged`, none: that is faster. Each time is the median of several calls, each with a
//! handle of its own as a process has it.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that measures, with arguments, a clock and files of its own"
)]

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use icecore::NoProgress;
use icecore::maintenance::Depth;
use icecore::maintenance::gc;
use icecore::maintenance::stats;
use icecore::maintenance::verify;
use icecore::repository::InitOptions;
use icecore::repository::Repository;
use icecore::repository::RepositoryId;
use icecore::repository::Secrets;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::RenameOptions;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::SnapshotId;
use icecore::snapshot::capture;
use icecore::snapshot::delete;
use icecore::snapshot::delete_all;
use icecore::snapshot::find;
use icecore::snapshot::list;
use icecore::snapshot::rename;
use icecore::storage::FsStorage;
use icecore::volume::VolumeId;
use icecore::volume::VolumeOptions;
use icecore::volume::create_volume;
use icecore::volume::delete_volume;
use icecore_testing::random::Random;
use uuid::Uuid;

/// How often each verb is called for its median.
const CALLS: usize = 15;
const IMAGE_MIB: usize = 64;
const BLOCK: usize = 4096;

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Bench {
    dir: PathBuf,
    image: Vec<u8>,
    random: Random,
    made: u64,
    unchanged: bool,
}

fn now_unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(0)
}

impl Bench {
    fn new(dir: PathBuf, unchanged: bool, image_mib: usize) -> Outcome<Self> {
        let options = InitOptions {
            id: RepositoryId(Uuid::from_u128(1)),
            secrets: Secrets::Plain([7; 32]),
            created_unix_ms: now_unix_ms(),
            level: 3,
            parity: None,
        };
        Repository::init(Arc::new(FsStorage::new(&dir)), Uuid::from_u128(2), &options)?;
        let mut random = Random::new(1);
        Ok(Self { dir, image: random.bytes(image_mib << 20), random, made: 0, unchanged })
    }

    fn open(&mut self) -> Outcome<Repository> {
        let session = u128::from_le_bytes(self.random.bytes(16).try_into().unwrap_or([0; 16]));
        Ok(Repository::open(Arc::new(FsStorage::new(&self.dir)), Uuid::from_u128(session))?)
    }

    fn options(&mut self) -> CaptureOptions {
        self.made += 1;
        let now = now_unix_ms();
        let id = u128::try_from(now).unwrap_or(0) << 80 | 7 << 76 | 2 << 62 | u128::from(self.made);
        let id = SnapshotId(Uuid::from_u128(id));
        CaptureOptions::new(id, now, ResourceKind::Volume, "disk", format!("snapshot {}", self.made))
    }

    fn change(&mut self) {
        let at = self.random.below(self.image.len() / BLOCK) * BLOCK;
        let block = self.random.bytes(BLOCK);
        self.image[at..at + BLOCK].copy_from_slice(&block);
    }

    fn fill(&mut self, number: usize) -> Outcome<()> {
        let repo = self.open()?;
        for _ in list(&repo)?.len()..number {
            if !self.unchanged {
                self.change();
            }
            let options = self.options();
            capture(&repo, &self.image, &options, &NoProgress)?;
        }
        Ok(())
    }

    /// Returns the median of what `call` takes, in milliseconds. Opening the repository counts.
    fn median(
        &mut self,
        calls: usize,
        mut call: impl FnMut(&mut Self, &Repository) -> Outcome<()>,
    ) -> Outcome<f64> {
        let mut times: Vec<Duration> = Vec::with_capacity(calls);
        for _ in 0..calls {
            let begun = Instant::now();
            let repo = self.open()?;
            call(self, &repo)?;
            times.push(begun.elapsed());
        }
        times.sort();
        Ok(times[times.len() / 2].as_secs_f64() * 1000.0)
    }

    fn line(&mut self, number: usize) -> Outcome<String> {
        self.fill(number)?;
        let mut taken = Vec::new();
        let unchanged = self.median(CALLS, |bench, repo| {
            let options = bench.options();
            taken.push(capture(repo, &bench.image, &options, &NoProgress)?.snapshot.id);
            Ok(())
        })?;
        let changed = self.median(CALLS, |bench, repo| {
            bench.change();
            let options = bench.options();
            taken.push(capture(repo, &bench.image, &options, &NoProgress)?.snapshot.id);
            Ok(())
        })?;
        let name = "snapshot 1";
        let get = self.median(CALLS, |_, repo| Ok(find(repo, name).map(drop)?))?;
        let id = find(&self.open()?, name)?.id;
        let mut turn = 0;
        let renamed = self.median(CALLS, |_, repo| {
            turn += 1;
            rename(repo, id, &format!("name {turn}"), RenameOptions::default())?;
            Ok(())
        })?;
        rename(&self.open()?, id, name, RenameOptions::default())?;
        let volume = self.median(CALLS, |_, repo| {
            turn += 1;
            let options = VolumeOptions {
                id: VolumeId(Uuid::from_u128(turn)),
                name: format!("volume-{turn}"),
                created_unix_ms: now_unix_ms(),
                kind: None,
                snapshot: Some(id),
                size_bytes: None,
                labels: Default::default(),
            };
            create_volume(repo, &options)?;
            Ok(())
        })?;
        let repo = self.open()?;
        (turn + 1 - CALLS as u128..=turn)
            .try_for_each(|turn| delete_volume(&repo, &format!("volume-{turn}")).map(drop))?;
        let mut gone = taken.into_iter();
        let deleted = self.median(CALLS, |_, repo| {
            gone.next().map_or(Ok(()), |id| delete(repo, id, DeleteOptions::default()).map(drop))?;
            Ok(())
        })?;
        let left: Vec<SnapshotId> = gone.collect();
        delete_all(&self.open()?, &left, DeleteOptions::default())?;
        let listed = self.median(5, |_, repo| Ok(list(repo).map(drop)?))?;
        let statistics = self.median(1, |_, repo| Ok(stats(repo, &NoProgress).map(drop)?))?;
        let verified =
            self.median(1, |_, repo| Ok(verify(repo, None, Depth::Structure, &NoProgress).map(drop)?))?;
        let planned =
            self.median(1, |_, repo| Ok(gc::plan(repo, &gc::GcOptions::new(0.2), &NoProgress).map(drop)?))?;
        let files = count(&self.dir)?;
        let mut cells =
            vec![unchanged, changed, get, renamed, deleted, volume, listed, statistics, verified, planned];
        // Deleted last, as it leaves fewer.
        let some: Vec<SnapshotId> =
            list(&self.open()?)?.iter().skip(1).take(1000).map(|snapshot| snapshot.id).collect();
        cells.push(
            self.median(1, |_, repo| Ok(delete_all(repo, &some, DeleteOptions::default()).map(drop)?))?,
        );
        let cells: Vec<String> = cells.iter().map(|ms| format!("{ms:.1}")).collect();
        Ok(format!("| {number} | {} | {files} |", cells.join(" | ")))
    }
}

/// Returns the number of files in a directory and below.
fn count(dir: &Path) -> Outcome<u64> {
    let mut files = 0;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        files += if path.is_dir() { count(&path)? } else { 1 };
    }
    Ok(files)
}

fn main() -> Outcome<()> {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).filter(|word| word != "--bench").collect();
    let unchanged = arguments.iter().any(|word| word == "--unchanged");
    let mib = arguments.iter().find_map(|word| word.to_str()?.strip_prefix("--mib="));
    let mib = mib.map_or(Ok(IMAGE_MIB), str::parse)?;
    arguments.retain(|word| !word.to_string_lossy().starts_with("--"));
    let Some((dir, numbers)) = arguments.split_first().filter(|(_, numbers)| !numbers.is_empty()) else {
        println!("not run: name a directory and how many snapshots");
        return Ok(());
    };
    let dir = tempfile::tempdir_in(dir)?;
    let mut bench = Bench::new(dir.path().join("repo"), unchanged, mib)?;
    println!(
        "| snapshots | create, unchanged | create, 1 block | get | rename | delete | volume create | list | stats | verify | gc, plan | delete 1000 | files |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for number in numbers {
        let number = number.to_str().unwrap_or_default().parse()?;
        println!("{}", bench.line(number)?);
    }
    Ok(())
}
