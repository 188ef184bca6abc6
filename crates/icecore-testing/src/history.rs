//! Histories of a repository, checked against plain images in memory. The caller makes up the
//! steps.

use std::io;

use icecore::NoProgress;
use icecore::maintenance::gc;
use icecore::repository::Repository;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::OnDamage;
use icecore::snapshot::Parent;
use icecore::snapshot::RenameOptions;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::Snapshot;
use icecore::storage::MemoryStorage;

use crate::bytes::assert_same;
use crate::fault_storage::failing_from;
use crate::fault_storage::failing_once;
use crate::images::Target;
use crate::random::Random;
use crate::repository::assert_sound;
use crate::repository::image_of;
use crate::repository::init;
use crate::repository::open;
use crate::repository::options;

pub const VOLUMES: [&str; 3] = ["a", "b", "c"];

/// One step. Its numbers select among what exists when the step runs, so that no step is in vain.
#[derive(Debug, Clone)]
pub enum Step {
    Scribble {
        volume: usize,
        seed: u64,
    },
    /// Copies bytes from one image to another, at places that need not fit blocks.
    Copy {
        from: usize,
        to: usize,
        aligned: bool,
        seed: u64,
    },
    Resize {
        volume: usize,
        bytes: usize,
    },
    Capture {
        volume: usize,
        parent: bool,
        level: i32,
    },
    Restore {
        snapshot: usize,
        over: usize,
    },
    Delete {
        snapshot: usize,
    },
    Rename {
        snapshot: usize,
    },
    Gc {
        max_unused: f64,
    },
    Reopen,
    Crash {
        step: Box<Step>,
        call: u64,
        once: bool,
    },
}

/// A repository, and its expected content.
pub struct History {
    storage: MemoryStorage,
    repo: Repository,
    volumes: [Vec<u8>; VOLUMES.len()],
    snapshots: Vec<(Snapshot, Vec<u8>)>,
}

impl History {
    /// Starts with these images of the volumes, and no snapshots.
    pub fn new(volumes: [Vec<u8>; VOLUMES.len()]) -> Self {
        let storage = MemoryStorage::new();
        let repo = init(storage.clone());
        Self { storage, repo, volumes, snapshots: Vec::new() }
    }

    /// Returns the index of the snapshot that a number selects, if there is one.
    fn pick(&self, number: usize) -> Option<usize> {
        number.checked_rem(self.snapshots.len())
    }

    pub fn take(&mut self, step: &Step) {
        match *step {
            Step::Scribble { volume, seed } => {
                let image = &mut self.volumes[volume];
                if !image.is_empty() {
                    Random::new(seed).scribble(image);
                }
            }
            Step::Copy { from, to, aligned, seed } => self.copy(from, to, aligned, seed),
            Step::Resize { volume, bytes } => self.volumes[volume].resize(bytes, 0),
            Step::Restore { snapshot, over } => self.restore(snapshot, over),
            Step::Rename { snapshot } => {
                let Some(at) = self.pick(snapshot) else { return };
                let name = options("").name;
                let id = self.snapshots[at].0.id;
                self.snapshots[at].0 =
                    icecore::snapshot::rename(&self.repo, id, &name, RenameOptions::default()).unwrap();
                assert_eq!(self.snapshots[at].0.name, name);
            }
            Step::Reopen => self.repo = open(self.storage.clone()),
            Step::Crash { ref step, call, once } => self.crash(step, call, once),
            Step::Capture { .. } | Step::Delete { .. } | Step::Gc { .. } => {
                let repo = self.handle();
                self.change(step, &repo).unwrap();
                self.repo = repo;
            }
        }
    }

    /// Takes out the handle that stays open, so that its knowledge grows old while others change
    /// the repository.
    fn handle(&mut self) -> Repository {
        std::mem::replace(&mut self.repo, open(self.storage.clone()))
    }

    fn copy(&mut self, from: usize, to: usize, aligned: bool, seed: u64) {
        let mut noise = Random::new(seed);
        let source = self.volumes[from].clone();
        let target = &mut self.volumes[to];
        let len = (1 + noise.below(400_000)).min(source.len()).min(target.len());
        let place = |noise: &mut Random, len: usize| match aligned {
            true => noise.below(len) / icecore::BLOCK_BYTES * icecore::BLOCK_BYTES,
            false => noise.below(len),
        };
        let begin = place(&mut noise, source.len() - len + 1);
        let at = place(&mut noise, target.len() - len + 1);
        target[at..at + len].copy_from_slice(&source[begin..begin + len]);
    }

    fn restore(&mut self, snapshot: usize, over: usize) {
        let Some(at) = self.pick(snapshot) else { return };
        let (snapshot, image) = &self.snapshots[at];
        let mut before = self.volumes[over].clone();
        before.resize(before.len().max(image.len()), 0);
        let mut wanted = image.clone();
        wanted.resize(before.len(), 0);
        let fresh = Target::new(vec![0; before.len()]);
        icecore::snapshot::restore(
            &self.repo,
            snapshot.id,
            RestoreTo::Fresh(&fresh),
            OnDamage::Stop,
            &NoProgress,
        )
        .unwrap();
        assert_same(&fresh.into_bytes(), &wanted, "a fresh restore");
        let target = Target::new(before);
        icecore::snapshot::restore(
            &self.repo,
            snapshot.id,
            RestoreTo::InPlace(&target),
            OnDamage::Stop,
            &NoProgress,
        )
        .unwrap();
        assert_same(&target.into_bytes(), &wanted, "a restore in place");
        self.volumes[over] = wanted;
    }

    /// Runs a step with `repo`. The step may fail halfway.
    fn change(&mut self, step: &Step, repo: &Repository) -> icecore::Result<()> {
        match *step {
            Step::Capture { volume, parent, level } => {
                let parent = if parent { Parent::Newest } else { Parent::None };
                let how = CaptureOptions { parent, level: Some(level), ..options(VOLUMES[volume]) };
                let image = &self.volumes[volume];
                let taken =
                    icecore::snapshot::capture(repo, image, &how, &NoProgress).map(|report| report.snapshot);
                // A capture that failed at the very end may have left its snapshot.
                let there = icecore::snapshot::find(&open(self.storage.clone()), &how.id.to_string()).ok();
                assert!(taken.is_err() || there == taken.as_ref().ok().cloned());
                self.snapshots.extend(there.map(|snapshot| (snapshot, image.clone())));
                taken.map(|_| ())
            }
            Step::Delete { snapshot } => {
                let Some(at) = self.pick(snapshot) else { return Ok(()) };
                let id = self.snapshots[at].0.id;
                let deleted = icecore::snapshot::delete(repo, id, DeleteOptions::default());
                let there = icecore::snapshot::find(&open(self.storage.clone()), &id.to_string()).is_ok();
                assert!(!(there && deleted.is_ok()));
                if !there {
                    self.snapshots.remove(at);
                }
                deleted.map(|_| ())
            }
            Step::Gc { max_unused } => {
                let plan = gc::plan(repo, &gc::GcOptions::new(max_unused), &NoProgress)?;
                gc::apply(repo, plan, &NoProgress).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    fn crash(&mut self, step: &Step, call: u64, once: bool) {
        let kind = io::ErrorKind::StorageFull;
        let faulty = match once {
            true => failing_once(self.storage.clone(), call, kind),
            false => failing_from(self.storage.clone(), call, kind),
        };
        // The step may fail: the invariants are checked after each step.
        let _ = self.change(step, &open(faulty));
    }

    /// Checks the list of snapshots, after each step.
    pub fn check(&self) {
        let listing = icecore::snapshot::list(&self.repo).unwrap();
        let mut expected: Vec<Snapshot> =
            self.snapshots.iter().map(|(snapshot, _)| snapshot.clone()).collect();
        expected.sort_by_key(|snapshot| (snapshot.created_unix_ms, snapshot.id));
        assert_eq!(listing, expected);
        for (snapshot, image) in &self.snapshots {
            assert_eq!(snapshot.size_bytes, image.len() as u64);
        }
    }

    /// Checks every byte, at the end.
    pub fn check_all(&self) {
        for repo in [&self.repo, &open(self.storage.clone())] {
            for (snapshot, image) in &self.snapshots {
                assert_same(&image_of(repo, snapshot.id), image, &snapshot.name);
            }
        }
        for ((a, a_image), (b, b_image)) in self.snapshots.iter().zip(self.snapshots.iter().skip(1)) {
            assert_eq!(a.content == b.content, a_image == b_image, "{} and {}", a.name, b.name);
        }
        assert_sound(&self.repo, "at the end");
        icecore::maintenance::stats(&self.repo, &NoProgress).unwrap();
    }
}
