//! Many processes on one repository at once, some of them killed: what was reported is true, until
//! the end.
//!
//! Which commands run, on what, and which of them are killed after how many system calls follows
//! from the seed; how they interleave does not, and what is asserted holds for every interleaving.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use icecore_testing::random::Random;
use serde_json::Value;

use crate::killing::Ended;
use crate::killing::Moment;
use crate::killing::run_and_kill;
use crate::support::Done;
use crate::support::Fixture;
use crate::support::noise;

/// Programs that run at the same time.
const WORKERS: u64 = 4;
/// Commands of each worker, unless `ICECORE_STRESS_COMMANDS` says otherwise.
const COMMANDS: u64 = 16;
const VOLUMES: u64 = 2;
/// From so many snapshots on, they are deleted and none is made.
const SNAPSHOTS_MAX: usize = 8;
/// States of each volume: more than there are snapshots, so that what they need comes and goes.
const VERSIONS: u64 = 10;
const BLOCK: usize = 4096;

/// Returns the image of a volume in one of its states: each has some of the one before, and of
/// other volumes.
fn image(volume: u64, version: u64) -> Vec<u8> {
    let len = (5 << 20) + usize::try_from(volume).unwrap() * 1_000_001;
    let mut image = vec![0; len];
    let mut put =
        |at: usize, seed: u64, bytes: usize| image[at..at + bytes].copy_from_slice(&noise(seed, bytes));
    put(0, 1000 + volume, 900_000);
    put(3 << 20, 5, 300_000);
    for change in version..version + 3 {
        let at = usize::try_from(change).unwrap() * 400_000 + 1234;
        put(at, 2000 + volume * 100 + change, 150_000);
    }
    image
}

/// A snapshot that was reported, or found after its maker was killed.
#[derive(Debug, Clone)]
struct Known {
    volume: u64,
    version: u64,
    /// Somebody was told to delete it: from then on it may be gone.
    leaving: bool,
}

type Model = Mutex<BTreeMap<String, Known>>;

fn lock(model: &Model) -> MutexGuard<'_, BTreeMap<String, Known>> {
    model.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Worker<'a> {
    fixture: &'a Fixture,
    model: &'a Model,
    number: u64,
    random: Random,
    made: u64,
}

impl Worker<'_> {
    /// Runs a command; one of three is killed on its way, if it does not end before.
    fn run(&mut self, arguments: &[&str]) -> Option<Done> {
        let moment = Moment { calls: self.random.below_u64(60), looks: self.random.below_u64(300) };
        let moment = (self.random.below_u64(3) == 0).then_some(moment);
        let ended = run_and_kill(self.fixture.program().args(["-o", "json"]).args(arguments), moment);
        match ended {
            Ended::Killed => None,
            Ended::Alone(done) => {
                assert!(!done.err.contains("panicked"), "{arguments:?}: {done:?}");
                Some(done)
            }
        }
    }

    /// Runs a command to its end.
    fn ask(&self, arguments: &[&str]) -> Done {
        self.fixture.run(&[&["-o", "json"], arguments].concat())
    }

    fn pick(&mut self, leaving: bool) -> Option<(String, Known)> {
        let mut model = lock(self.model);
        let staying: Vec<String> =
            model.iter().filter(|(_, known)| !known.leaving).map(|(id, _)| id.clone()).collect();
        let at = self.random.below_u64(staying.len() as u64);
        let id = staying.get(usize::try_from(at).unwrap())?;
        let known = model.get_mut(id)?;
        known.leaving = leaving;
        Some((id.clone(), known.clone()))
    }

    /// Fails unless a command ended well, or for the reason that its snapshot is being deleted.
    fn assert_done_or_gone(&self, done: &Done, ids: &[&String]) -> bool {
        let leaving = |id: &&&String| lock(self.model).get(**id).is_none_or(|known| known.leaving);
        let gone = ids.iter().any(|id| leaving(&id));
        assert!(done.code == 0 || (done.code == 3 && gone), "{ids:?}: {done:?}");
        done.code == 0
    }

    fn step(&mut self) {
        let crowded = lock(self.model).len() > SNAPSHOTS_MAX;
        match self.random.below_u64(20) {
            0..=6 if crowded => self.delete(),
            0..=6 => self.create(),
            7..=9 => self.restore(),
            10..=11 => self.delete(),
            12 => self.rename(),
            13..=15 => self.collect(),
            16 => self.diff(),
            17 => self.repair(),
            18 => self.list(),
            _ => self.verify(),
        }
    }

    fn create(&mut self) {
        let (volume, version) = (self.random.below_u64(VOLUMES), self.random.below_u64(VERSIONS));
        let name = format!("w{}-{}", self.number, self.made);
        self.made += 1;
        let file = format!("{volume}-{version}.raw");
        let resource = format!("volume-{volume}");
        let done = self.run(&["snapshot", "create", &file, "--name", &name, "--volume", &resource]);
        let id = match done {
            Some(done) => Some(id_of(&done.exits(0).json()["result"]["snapshot"])),
            // It was killed: the snapshot is there, whole, or not at all.
            None => {
                let got = self.ask(&["snapshot", "get", &name]);
                assert!(got.code == 0 || got.code == 3, "{got:?}");
                (got.code == 0).then(|| id_of(&got.json()["result"]["snapshots"][0]))
            }
        };
        if let Some(id) = id {
            lock(self.model).insert(id, Known { volume, version, leaving: false });
        }
    }

    fn restore(&mut self) {
        let Some((id, known)) = self.pick(false) else { return };
        let target = format!("restored-{}", self.number);
        let path = self.fixture.path(&target);
        let done = self.run(&["restore", &id, &target]);
        let done = done.map_or(path.exists(), |done| self.assert_done_or_gone(&done, &[&id]));
        // One that was killed may have been at its end.
        assert_eq!(path.exists(), done, "the target of a restore has its name when it is complete");
        if done {
            assert!(
                std::fs::read(&path).unwrap() == image(known.volume, known.version),
                "{id} is another image"
            );
            std::fs::remove_file(&path).unwrap();
        }
    }

    fn delete(&mut self) {
        let Some((id, known)) = self.pick(true) else { return };
        let gone = match self.run(&["snapshot", "delete", "--force", &id]) {
            Some(done) if done.code == 5 => false,
            Some(done) => done.exits(0).code == 0,
            None => self.ask(&["snapshot", "get", &id]).code == 3,
        };
        if gone {
            lock(self.model).remove(&id);
            assert_eq!(self.ask(&["snapshot", "get", &id]).code, 3, "{id} was reported as deleted");
        } else {
            lock(self.model).insert(id, Known { leaving: false, ..known });
        }
    }

    fn rename(&mut self) {
        let Some((id, _)) = self.pick(false) else { return };
        let name = format!("r{}-{}", self.number, self.made);
        self.made += 1;
        if let Some(done) = self.run(&["snapshot", "rename", &id, &name])
            && self.assert_done_or_gone(&done, &[&id])
        {
            assert_eq!(done.json()["result"]["snapshot"]["name"], name);
        }
    }

    fn collect(&mut self) {
        let unused = ["0%", "5%", "50%"][usize::try_from(self.random.below_u64(3)).unwrap()];
        if let Some(done) = self.run(&["gc", "--max-unused", unused]) {
            assert!(done.code == 0 || done.code == 5, "{done:?}");
        }
    }

    fn repair(&mut self) {
        if let Some(done) = self.run(&["repair", "index"]) {
            assert!(done.code == 0 || done.code == 5, "{done:?}");
        }
    }

    fn diff(&mut self) {
        let (Some((from, before)), Some((to, after))) = (self.pick(false), self.pick(false)) else { return };
        let Some(done) = self.run(&["snapshot", "diff", &from, &to]) else { return };
        if !self.assert_done_or_gone(&done, &[&from, &to]) {
            return;
        }
        let json = done.json();
        let told: Vec<(usize, usize)> =
            json["result"]["ranges"].as_array().unwrap().iter().map(bounds).collect();
        let (before, after) = (image(before.volume, before.version), image(after.volume, after.version));
        for block in (0..before.len().max(after.len())).step_by(BLOCK) {
            let part =
                |image: &[u8]| image.get(block..(block + BLOCK).min(image.len())).unwrap_or(&[]).to_vec();
            let is_told = told.iter().any(|(begin, end)| *begin < block + BLOCK && block < *end);
            assert_eq!(part(&before) != part(&after), is_told, "byte {block} of {from} and {to}");
        }
    }

    fn list(&mut self) {
        let before: Vec<String> = lock(self.model).keys().cloned().collect();
        let Some(done) = self.run(&["snapshot", "list"]) else { return };
        let json = done.exits(0).json();
        let listed = ids(&json["result"]["snapshots"]);
        let model = lock(self.model);
        let staying = |id: &&String| model.get(*id).is_some_and(|known| !known.leaving);
        for id in before.iter().filter(staying) {
            assert!(listed.contains(id), "{id} is not listed");
        }
    }

    fn verify(&mut self) {
        let depth: &[&str] = if self.random.below_u64(2) == 0 { &["--read-data"] } else { &[] };
        if let Some(done) = self.run(&[&["verify"], depth].concat()) {
            done.exits(0);
        }
    }
}

fn id_of(snapshot: &Value) -> String {
    snapshot["id"].as_str().unwrap().to_owned()
}

fn ids(snapshots: &Value) -> Vec<String> {
    snapshots.as_array().unwrap().iter().map(id_of).collect()
}

fn bounds(range: &Value) -> (usize, usize) {
    let number = |field: &str| usize::try_from(range[field].as_u64().unwrap()).unwrap();
    (number("offset"), number("offset") + number("bytes"))
}

/// Returns the files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn bytes(files: &[PathBuf]) -> u64 {
    files.iter().map(|path| path.metadata().unwrap().len()).sum()
}

fn names(files: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> = files.iter().map(name).collect();
    names.sort();
    names
}

/// Looks at all that must hold when nobody works on the repository any more, and returns the bytes
/// of its packs.
fn settle(fixture: &Fixture, model: &BTreeMap<String, Known>) -> u64 {
    let repo = fixture.path("repo");
    let listed = fixture.result(&["snapshot", "list"]);
    let mut listed = ids(&listed["snapshots"]);
    listed.sort();
    assert_eq!(listed, model.keys().cloned().collect::<Vec<_>>());
    for round in ["before", "after"] {
        for (id, known) in model {
            fixture.run(&["restore", id, "settled"]).exits(0);
            let restored = std::fs::read(fixture.path("settled")).unwrap();
            assert!(restored == image(known.volume, known.version), "{id} is another image, {round} gc");
            std::fs::remove_file(fixture.path("settled")).unwrap();
        }
        fixture.run(&["verify", "--read-data"]).exits(0);
        // Nothing that a process left behind is in its way.
        fixture.run(&["gc", "--max-unused", "0%"]).exits(0);
        assert_eq!(
            names(&files(&repo.join("local/locks"))),
            ["gc", "index", "join", "journal", "merge", "notes", "parity"]
        );
        assert_eq!(files(&repo.join("local/tmp")), Vec::<PathBuf>::new());
    }
    assert_eq!(fixture.result(&["stats"])["repository"]["unused_bytes"], 0);
    bytes(&files(&repo.join("packs")))
}

#[test]
fn many_processes_that_are_killed_lose_nothing() {
    let setting = |name: &str, usual: u64| {
        std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(usual)
    };
    let (commands, seed) = (setting("ICECORE_STRESS_COMMANDS", COMMANDS), setting("ICECORE_STRESS_SEED", 1));
    let fixture = Fixture::new();
    for (volume, version) in
        (0..VOLUMES).flat_map(|volume| (0..VERSIONS).map(move |version| (volume, version)))
    {
        std::fs::write(fixture.path(&format!("{volume}-{version}.raw")), image(volume, version)).unwrap();
    }
    let model = Model::default();
    std::thread::scope(|scope| {
        let worker = |number| {
            let random = Random::new(seed * 1000 + number);
            let mut worker = Worker { fixture: &fixture, model: &model, number, random, made: 0 };
            scope.spawn(move || (0..commands).for_each(|_| worker.step()));
        };
        (0..WORKERS).for_each(worker);
    });
    let model = model.into_inner().unwrap();
    let packs = settle(&fixture, &model);

    // As much as one process would have stored, one after another.
    let fresh = Fixture::new();
    for known in model.values() {
        let file = fixture.path(&format!("{}-{}.raw", known.volume, known.version));
        fresh.run(&["snapshot", "create", file.to_str().unwrap(), "--name", &fresh_name(), "-q"]).exits(0);
    }
    let alone = bytes(&files(&fresh.path("repo/packs")));
    assert!(packs <= alone + alone / 4 + 100_000, "{packs} bytes of packs, and {alone} alone");

    for id in model.keys() {
        fixture.run(&["snapshot", "delete", "--force", id]).exits(0);
    }
    assert_eq!(settle(&fixture, &BTreeMap::new()), 0, "packs are left");
}

fn fresh_name() -> String {
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering;
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("fresh-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
