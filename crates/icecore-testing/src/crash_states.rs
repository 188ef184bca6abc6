//! The states that a power cut may leave a storage in, for tests.
//!
//! The model is more pessimistic than ext4, XFS or Btrfs with their defaults, within what POSIX
//! allows:
//!
//! * The bytes that a file had at its last sync are safe. Of the bytes appended since, the cut may
//!   leave all, none, the first half, or the right length with zeros in place of the whole, of
//!   every other 4 KiB sector, or of the first one.
//! * Of the sectors written in the middle of a file since its last sync, the cut may keep or lose
//!   each, in the same ways. A lost sector holds what it held at the sync.
//! * The names that a directory had at its last sync are safe. Syncing a file makes none of its
//!   names durable, and syncing a directory does not make the directory's own name durable. A name
//!   that was made, replaced or removed since may be as it is now, as it was at the last sync, or
//!   as it was in between: independently of all others, and in whatever order they were changed.
//! * A rename changes both directories. If neither was synced since, the file has the old name, the
//!   new one, or both. A sync of one directory makes only its half durable, so after a sync of the
//!   old one alone the file may have no name at all.
//! * If a directory's own name is lost, everything in it is lost too.
//! * All locks are free, and lock files are files like any other.
//!
//! Bytes do not change by themselves: damage of a medium is not part of this model.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use crate::crash::CrashLog;
use crate::crash::CrashStorage;
use crate::crash::Logged;
use crate::crash::parent;
use crate::random::mix;

/// The unit that a medium writes whole or not at all.
const SECTOR_BYTES: usize = 4096;

/// The limits on the states to make.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// At each moment, all combinations of the pending changes are made if there are at most this
    /// many. Otherwise the states are: all of them, none, each one alone, and all but each one.
    pub combinations_max: usize,
    /// The number of random states at each moment, in addition.
    pub samples: usize,
    /// The seed of the random states.
    pub seed: u64,
    /// Directories whose names carry no meaning. Their names are lost or kept together, or at
    /// random; states that differ only in which of them exist count as one.
    pub loose: &'static [&'static str],
}

/// A directory tree as a power cut may leave it.
#[derive(Clone)]
pub struct CrashState {
    /// The number of changes made before the cut.
    pub changes: usize,
    /// The number of marks among them.
    pub marks: usize,
    /// A digest of the tree: equal for equal trees only.
    pub key: [u8; 32],
    /// The pending changes that the cut altered, for people to read.
    pub lost: Vec<String>,
    files: BTreeMap<String, Arc<Vec<u8>>>,
    dirs: BTreeSet<String>,
}

impl CrashState {
    /// Returns a storage with this tree in it.
    pub fn storage(&self) -> CrashStorage {
        CrashStorage::with(&self.files, &self.dirs)
    }
}

impl CrashLog {
    /// Returns the states that a cut before, between or after the changes may leave. Each state
    /// appears once for each number of marks before it.
    pub fn states(&self, bounds: &Bounds) -> Vec<CrashState> {
        let mut disk = Disk::new(self);
        let mut states = States { bounds, seen: HashSet::new(), made: Vec::new(), changes: 0, marks: 0 };
        states.add_all(&mut disk);
        for change in &self.changes {
            disk.change(change);
            states.changes += 1;
            states.marks += usize::from(*change == Logged::Mark);
            states.add_all(&mut disk);
        }
        states.made
    }
}

/// The object that a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Nothing,
    Dir,
    File(usize),
}

/// The object that a name stood for since the change with a number, counted from 1.
#[derive(Debug, Clone)]
struct Version {
    since: usize,
    node: Node,
    /// The new name, if the file was renamed.
    moved_to: Option<String>,
}

/// The fate of bytes that are not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Shape {
    Whole,
    Lost,
    Half,
    Zeros,
    OddSectorsLost,
    FirstSectorLost,
}

const SHAPES: [Shape; 6] =
    [Shape::Whole, Shape::Lost, Shape::Half, Shape::Zeros, Shape::OddSectorsLost, Shape::FirstSectorLost];

#[derive(Default)]
struct Content {
    bytes: Arc<Vec<u8>>,
    durable: usize,
    /// The content at the last sync, and the sectors written since, if any were written in the
    /// middle.
    before: Option<Arc<Vec<u8>>>,
    touched: BTreeSet<usize>,
    /// The content in each shape, with its digest.
    made: HashMap<Shape, (Arc<Vec<u8>>, [u8; 32])>,
}

impl Content {
    fn append(&mut self, bytes: &[u8]) {
        Arc::make_mut(&mut self.bytes).extend(bytes);
        self.made.clear();
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start + bytes.len();
        self.before.get_or_insert_with(|| Arc::clone(&self.bytes));
        let content = Arc::make_mut(&mut self.bytes);
        content.resize(content.len().max(end), 0);
        content[start..end].copy_from_slice(bytes);
        self.touched.extend(start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
        self.made.clear();
    }

    fn sync(&mut self) {
        self.durable = self.bytes.len();
        self.before = None;
        self.touched.clear();
        self.made.clear();
    }

    fn is_durable(&self) -> bool {
        self.before.is_none() && self.durable == self.bytes.len()
    }

    /// Returns what a shape leaves of a file that was written in the middle.
    fn patched(bytes: &[u8], before: &[u8], touched: &BTreeSet<usize>, shape: Shape) -> Vec<u8> {
        let mut made = bytes.to_vec();
        let lost = |number: usize| match shape {
            Shape::Whole => false,
            Shape::Lost | Shape::Zeros => true,
            Shape::Half => number >= touched.len() / 2,
            Shape::OddSectorsLost => number % 2 == 1,
            Shape::FirstSectorLost => number == 0,
        };
        for (_, sector) in touched.iter().enumerate().filter(|(number, _)| lost(*number)) {
            let start = sector * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(made.len());
            let old = before.get(start..end.min(before.len())).unwrap_or_default();
            let place = &mut made[start.min(end)..end];
            place[..old.len()].copy_from_slice(old);
            place[old.len()..].fill(0);
        }
        if shape == Shape::Lost {
            made.truncate(before.len());
        }
        made
    }

    fn shaped(&mut self, shape: Shape) -> (Arc<Vec<u8>>, [u8; 32]) {
        let (bytes, durable) = (&self.bytes, self.durable);
        let (before, touched) = (&self.before, &self.touched);
        let made = self.made.entry(shape).or_insert_with(|| {
            if let Some(before) = before {
                let made = Self::patched(bytes, before, touched, shape);
                let digest = blake3::hash(&made);
                return (Arc::new(made), digest.into());
            }
            let mut made = bytes.to_vec();
            match shape {
                Shape::Whole => {}
                Shape::Lost => made.truncate(durable),
                Shape::Half => made.truncate(durable + (bytes.len() - durable) / 2),
                Shape::Zeros => made[durable..].fill(0),
                Shape::OddSectorsLost => {
                    made[durable..].chunks_mut(SECTOR_BYTES).skip(1).step_by(2).for_each(|part| part.fill(0));
                }
                Shape::FirstSectorLost => {
                    made[durable..].chunks_mut(SECTOR_BYTES).take(1).for_each(|part| part.fill(0));
                }
            }
            let digest = blake3::hash(&made);
            (Arc::new(made), digest.into())
        });
        made.clone()
    }
}

/// The content of the storage at a moment, and how much of it is durable.
struct Disk {
    /// The versions that each name may stand for: the durable one first, the current one last.
    names: BTreeMap<String, Vec<Version>>,
    files: Vec<Content>,
    changes: usize,
}

impl Disk {
    fn new(log: &CrashLog) -> Self {
        let version = |node| vec![Version { since: 0, node, moved_to: None }];
        let mut names: BTreeMap<_, _> =
            log.dirs.iter().map(|dir| (dir.clone(), version(Node::Dir))).collect();
        let numbered = log.files.keys().zip(0..);
        names.extend(numbered.map(|(name, file)| (name.clone(), version(Node::File(file)))));
        let content = |bytes: &Arc<Vec<u8>>| Content {
            bytes: Arc::clone(bytes),
            durable: bytes.len(),
            ..Content::default()
        };
        Self { names, files: log.files.values().map(content).collect(), changes: 0 }
    }

    fn change(&mut self, change: &Logged) {
        self.changes += 1;
        match change {
            Logged::MakeDir(dir) => self.set(dir, Node::Dir, None),
            Logged::Create(name, file) => {
                self.file(*file);
                self.set(name, Node::File(*file), None);
            }
            Logged::Append(file, bytes) => self.file(*file).append(bytes),
            Logged::Write(file, offset, bytes) => self.file(*file).write(*offset, bytes),
            Logged::SyncFile(file) => self.file(*file).sync(),
            Logged::Rename(from, to) => {
                let node = self.now(from);
                self.set(to, node, None);
                self.set(from, Node::Nothing, Some(to.clone()));
            }
            Logged::Remove(name) => self.set(name, Node::Nothing, None),
            Logged::SyncDir(dir) => {
                for versions in self.names.iter_mut().filter(|(name, _)| parent(name) == dir) {
                    versions.1.drain(..versions.1.len() - 1);
                }
            }
            Logged::Mark => {}
        }
    }

    fn file(&mut self, file: usize) -> &mut Content {
        if self.files.len() <= file {
            self.files.resize_with(file + 1, Content::default);
        }
        &mut self.files[file]
    }

    fn now(&self, name: &str) -> Node {
        self.names.get(name).and_then(|versions| versions.last()).map_or(Node::Nothing, |last| last.node)
    }

    fn set(&mut self, name: &str, node: Node, moved_to: Option<String>) {
        let never = || vec![Version { since: 0, node: Node::Nothing, moved_to: None }];
        let versions = self.names.entry(name.to_owned()).or_insert_with(never);
        versions.push(Version { since: self.changes, node, moved_to });
    }

    /// Returns the changes that are not durable.
    fn pending(&self, loose: &[&str]) -> Vec<Pending> {
        let firm = || self.names.iter().filter(|(name, _)| !loose.contains(&parent(name)));
        let names = firm().filter(|(_, versions)| versions.len() > 1);
        let mut pending: Vec<Pending> =
            names.map(|(name, versions)| Pending::Name(name.clone(), versions.len())).collect();
        let nodes: BTreeSet<usize> = firm()
            .flat_map(|(_, versions)| versions)
            .filter_map(|version| if let Node::File(file) = version.node { Some(file) } else { None })
            .collect();
        let torn = nodes
            .into_iter()
            .filter(|file| self.files.get(*file).is_some_and(|content| !content.is_durable()));
        pending.extend(torn.map(Pending::Bytes));
        pending
    }
}

/// A change that is not durable.
enum Pending {
    /// A name, and the number of versions that it may stand for.
    Name(String, usize),
    /// Bytes at the end of a file.
    Bytes(usize),
}

impl Pending {
    /// Returns the number of possible outcomes. Outcome 0 is that the change is durable; the last
    /// one, for a name, that it is lost.
    fn outcomes(&self) -> usize {
        match self {
            Self::Name(_, versions) => *versions,
            Self::Bytes(_) => SHAPES.len(),
        }
    }

    fn lost(&self) -> usize {
        match self {
            Self::Name(_, versions) => versions - 1,
            Self::Bytes(_) => 1,
        }
    }
}

/// The fate of names that carry no meaning.
#[derive(Clone, Copy)]
enum Loose {
    Kept,
    Lost,
    Random(u64),
}

struct States<'a> {
    bounds: &'a Bounds,
    seen: HashSet<([u8; 32], usize)>,
    made: Vec<CrashState>,
    changes: usize,
    marks: usize,
}

impl States<'_> {
    /// Adds the states that a cut at this moment may leave.
    fn add_all(&mut self, disk: &mut Disk) {
        let pending = disk.pending(self.bounds.loose);
        let seed = mix(self.bounds.seed ^ mix(self.changes as u64));
        for (number, outcomes) in combinations(&pending, self.bounds, seed).into_iter().enumerate() {
            let loose = match (number, (number + self.changes) % 3) {
                (0, _) | (_, 0) => Loose::Kept,
                (1, _) | (_, 1) => Loose::Lost,
                _ => Loose::Random(mix(seed ^ number as u64)),
            };
            self.add(disk, &pending, &outcomes, loose);
        }
        self.add(disk, &pending, &vec![0; pending.len()], Loose::Lost);
    }

    fn add(&mut self, disk: &mut Disk, pending: &[Pending], outcomes: &[usize], loose: Loose) {
        let Disk { names, files, .. } = disk;
        let (mut versions, mut shapes) = (HashMap::new(), HashMap::new());
        for (pending, outcome) in pending.iter().zip(outcomes) {
            match pending {
                Pending::Name(name, count) => drop(versions.insert(name.as_str(), count - 1 - outcome)),
                Pending::Bytes(file) => drop(shapes.insert(*file, SHAPES[*outcome])),
            }
        }
        let chosen = |name: &str| -> usize {
            let last = names.get(name).map_or(0, |versions| versions.len() - 1);
            match loose {
                _ if !self.bounds.loose.contains(&parent(name)) => {
                    versions.get(name).copied().unwrap_or(last)
                }
                Loose::Kept => last,
                Loose::Lost => 0,
                Loose::Random(seed) => {
                    let random = name.bytes().fold(seed, |seed, byte| mix(seed ^ u64::from(byte)));
                    usize::try_from(random % (last as u64 + 1)).unwrap_or(0)
                }
            }
        };
        let (mut tree, mut dirs) = (Vec::new(), BTreeSet::new());
        for (name, versions) in names.iter() {
            let dir = parent(name);
            if !(dir.is_empty() || dirs.contains(dir)) {
                continue;
            }
            let mut number = chosen(name);
            // Until one of the directories is synced, a file has its old name or the new one.
            while number > 0
                && let Some(to) = &versions[number].moved_to
                && names[to][chosen(to)].since < versions[number].since
            {
                number -= 1;
            }
            match versions[number].node {
                Node::Nothing => {}
                Node::Dir => drop(dirs.insert(name.clone())),
                Node::File(file) => tree.push((name, file)),
            }
        }
        let mut hash = blake3::Hasher::new();
        let mut has_loose = false;
        let mut made = Vec::with_capacity(tree.len());
        for (name, file) in tree {
            let (bytes, digest) = files[file].shaped(shapes.get(&file).copied().unwrap_or(Shape::Whole));
            if self.bounds.loose.contains(&parent(name)) {
                has_loose = true;
            } else {
                hash.update(name.as_bytes()).update(&[0]).update(&digest);
            }
            made.push((name, bytes));
        }
        for dir in &dirs {
            hash.update(dir.as_bytes()).update(&[1]);
        }
        let key = hash.update(&[u8::from(has_loose)]).finalize().into();
        if self.seen.insert((key, self.marks)) {
            let lost = pending.iter().zip(outcomes).filter(|(_, outcome)| **outcome > 0);
            let lost = lost.map(|(pending, outcome)| describe(names, pending, *outcome)).collect();
            let files = made.into_iter().map(|(name, bytes)| (name.clone(), bytes)).collect();
            self.made.push(CrashState { changes: self.changes, marks: self.marks, key, lost, files, dirs });
        }
    }
}

fn describe(names: &BTreeMap<String, Vec<Version>>, pending: &Pending, outcome: usize) -> String {
    match pending {
        Pending::Name(name, versions) => {
            format!("{name} is as it was {outcome} of {} changes ago", versions - 1)
        }
        Pending::Bytes(file) => {
            let named = names
                .iter()
                .filter(|(_, versions)| versions.iter().any(|version| version.node == Node::File(*file)));
            let named = named.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            format!("the unsynced bytes of {named}: {:?}", SHAPES[outcome])
        }
    }
}

/// Returns the possible outcomes of all pending changes: for each combination, one number for each
/// change.
fn combinations(pending: &[Pending], bounds: &Bounds, seed: u64) -> Vec<Vec<usize>> {
    let newest = vec![0; pending.len()];
    let oldest: Vec<usize> = pending.iter().map(Pending::lost).collect();
    let mut made = vec![newest.clone(), oldest.clone()];
    let count = pending.iter().fold(1, |count: usize, part| count.saturating_mul(part.outcomes()));
    if count <= bounds.combinations_max {
        made.extend((0..count).map(|number| {
            let mut rest = number;
            let digits = pending.iter().map(|part| {
                let digit = rest % part.outcomes();
                rest /= part.outcomes();
                digit
            });
            digits.collect()
        }));
    } else {
        for (at, part) in pending.iter().enumerate() {
            for outcome in 0..part.outcomes() {
                for others in [&newest, &oldest] {
                    let mut one = others.clone();
                    one[at] = outcome;
                    made.push(one);
                }
            }
        }
        let random = |sample: usize, at: usize, end: usize| {
            usize::try_from(mix(mix(seed ^ sample as u64) ^ at as u64) % end as u64).unwrap_or(0)
        };
        made.extend((0..bounds.samples).map(|sample| {
            pending.iter().enumerate().map(|(at, part)| random(sample, at, part.outcomes())).collect()
        }));
    }
    let mut seen = HashSet::new();
    made.retain(|one| seen.insert(one.clone()));
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore::storage::Storage;

    const ALL: Bounds = Bounds { combinations_max: 10_000, samples: 0, seed: 0, loose: &["local/tmp"] };

    /// Returns the content of each state as text: its names, each with its content.
    fn states(what: impl FnOnce(&CrashStorage)) -> BTreeSet<String> {
        let storage = CrashStorage::new();
        storage.make_dir("a").unwrap();
        storage.make_dir("b").unwrap();
        write(&storage, "a/old", "12").sync().unwrap();
        storage.settle();
        what(&storage);
        let tell = |(name, bytes): (String, Arc<Vec<u8>>)| {
            format!("{name}={}", String::from_utf8(bytes.to_vec()).unwrap().replace('\0', "0"))
        };
        let files =
            |state: CrashState| state.storage().files().into_iter().map(tell).collect::<Vec<_>>().join(" ");
        storage.log().states(&ALL).into_iter().map(files).collect()
    }

    fn write(storage: &CrashStorage, name: &str, text: &str) -> Box<dyn icecore::storage::NewFile> {
        let mut file = storage.create(name).unwrap();
        file.append(text.as_bytes()).unwrap();
        file
    }

    fn set(states: &[&str]) -> BTreeSet<String> {
        states.iter().map(|state| (*state).to_owned()).collect()
    }

    #[test]
    fn bytes_that_are_not_synced_are_there_or_lost_or_torn() {
        let found = states(|storage| drop(write(storage, "a/new", "wxyz")));
        let torn = ["a/new=", "a/new=wxyz", "a/new=wx", "a/new=0000"].map(|new| format!("{new} a/old=12"));
        assert_eq!(found, torn.into_iter().chain(["a/old=12".to_owned()]).collect());
    }

    #[test]
    fn a_sync_of_a_file_makes_its_bytes_certain_and_not_its_name() {
        let found = states(|storage| {
            write(storage, "a/new", "wx").sync().unwrap();
            storage.settle();
            storage.remove("a/new").unwrap();
            write(storage, "a/new", "yz").sync().unwrap();
        });
        // Beside the old file and no file, the new one appears in every form it may have before its
        // sync.
        assert!(found.is_superset(&set(&[
            "a/new=wx a/old=12",
            "a/old=12",
            "a/new=yz a/old=12",
            "a/new=y a/old=12"
        ])));
        let found = states(|storage| {
            let mut file = write(storage, "a/new", "wx");
            file.sync().unwrap();
            storage.sync_dir("a").unwrap();
            storage.mark();
        });
        assert!(found.contains("a/old=12"), "before the sync of the directory");
    }

    #[test]
    fn after_both_syncs_nothing_can_be_lost() {
        let storage = CrashStorage::new();
        storage.make_dir("a").unwrap();
        storage.sync_dir("").unwrap();
        write(&storage, "a/new", "wx").sync().unwrap();
        storage.sync_dir("a").unwrap();
        storage.mark();
        let last =
            storage.log().states(&ALL).into_iter().filter(|state| state.marks == 1).collect::<Vec<_>>();
        assert_eq!(last.len(), 1);
        assert_eq!(last[0].storage().files().len(), 1);
    }

    #[test]
    fn a_moved_file_has_a_name_until_the_directory_that_it_left_is_synced_alone() {
        let moved = |syncs: &'static [&'static str]| {
            states(move |storage| {
                storage.rename("a/old", "b/new").unwrap();
                syncs.iter().for_each(|dir| storage.sync_dir(dir).unwrap());
            })
        };
        let (old, new, both) = ("a/old=12", "b/new=12", "a/old=12 b/new=12");
        assert_eq!(moved(&[]), set(&[old, new, both]));
        assert_eq!(moved(&["b", "a"]), set(&[old, new, both]));
        assert_eq!(moved(&["a"]), set(&[old, new, both, ""]));
    }

    #[test]
    fn a_directory_takes_with_it_what_is_in_it() {
        let made = |syncs: &'static [&'static str]| {
            states(move |storage| {
                storage.make_dir("a/c").unwrap();
                syncs.iter().for_each(|dir| storage.sync_dir(dir).unwrap());
                storage.rename("a/old", "a/c/new").unwrap();
                storage.sync_dir("a/c").unwrap();
                storage.sync_dir("a").unwrap();
            })
        };
        assert!(!made(&["a"]).contains(""));
        assert!(made(&[]).contains(""), "moved to where the directory itself is lost");
        assert!(made(&[]).is_superset(&made(&["a"])));
    }

    #[test]
    fn removals_and_creations_are_undone_one_without_the_other() {
        let found = states(|storage| {
            storage.remove("a/old").unwrap();
            write(storage, "b/new", "x");
        });
        assert!(found.is_superset(&set(&["", "a/old=12", "b/new=x", "a/old=12 b/new=x"])));
    }

    #[test]
    fn a_storage_refuses_files_in_directories_that_are_not_there() {
        let storage = CrashStorage::new();
        assert!(storage.create("a/new").is_err() && storage.make_dir("a/b").is_err());
    }
}
