//! Deliberate breaks: a log of changes as the engine would have made them with a sync left out, or
//! with two steps in another order. What is not durable is never read by the operation that wrote
//! it, so that a change of the log is as good as a change of the code.

use icecore_testing::crash::Logged;

type Edit = Box<dyn Fn(&mut Vec<Logged>)>;

/// A break.
pub(crate) struct Mutation {
    pub(crate) what: &'static str,
    pub(crate) edit: Edit,
    /// Why no state is bad, where it is so. Otherwise one must be.
    pub(crate) harmless: Option<&'static str>,
}

/// Returns a break that must be found.
pub(crate) fn found(what: &'static str, edit: impl Fn(&mut Vec<Logged>) + 'static) -> Mutation {
    Mutation { what, edit: Box::new(edit), harmless: None }
}

/// Returns a break that changes nothing for anybody, and why.
pub(crate) fn harmless(
    what: &'static str,
    why: &'static str,
    edit: impl Fn(&mut Vec<Logged>) + 'static,
) -> Mutation {
    Mutation { what, edit: Box::new(edit), harmless: Some(why) }
}

/// What kinds of file are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    DataPack,
    PagePack,
    MixedPack,
    DataRun,
    PageRun,
    MergedRun,
    Entry,
    Checkpoint,
    Config,
    Reserve,
    KeySlot,
    Parity,
    VolumeRecord,
}

/// A file that was written and got its name.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// The pack that a run is of, as its name ends.
    of: String,
    /// The numbers of its changes: written, synced, renamed, its directory synced.
    written: Vec<usize>,
    synced: usize,
    renamed: usize,
    /// The first sync; of a merged run all of them up to the removal of what it replaces, since
    /// captures publish other runs meanwhile, and a sync of theirs serves as well.
    dir_synced: Vec<usize>,
}

impl Publication {
    fn all(&self) -> Vec<usize> {
        let mut all = self.written.clone();
        all.extend([self.synced, self.renamed]);
        all.extend(&self.dir_synced);
        all.sort_unstable();
        all
    }
}

fn dir_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// Returns all publications, in the order of their names' appearance.
pub(crate) fn publications(changes: &[Logged]) -> Vec<Publication> {
    let mut found = Vec::new();
    for (renamed, change) in changes.iter().enumerate() {
        let Logged::Rename(from, name) = change else { continue };
        let of_file = |change: &Logged| match change {
            Logged::Create(name, file) if name == from => Some(*file),
            _ => None,
        };
        let Some(file) = changes[..renamed].iter().rev().find_map(of_file) else { continue };
        let belongs = |change: &Logged| match change {
            Logged::Create(_, other) | Logged::Append(other, _) => *other == file,
            _ => false,
        };
        let written: Vec<usize> = (0..changes.len()).filter(|at| belongs(&changes[*at])).collect();
        let bytes: Vec<u8> = written
            .iter()
            .filter_map(|at| match &changes[*at] {
                Logged::Append(_, bytes) => Some(bytes.iter().copied()),
                _ => None,
            })
            .flatten()
            .collect();
        let Some(synced) = changes.iter().position(|change| *change == Logged::SyncFile(file)) else {
            continue;
        };
        let kind = kind_of(name, &bytes);
        let dir = dir_of(name);
        let removal = |change: &Logged| matches!(change, Logged::Remove(other) if dir_of(other) == dir);
        let after = changes.iter().enumerate().skip(renamed);
        let after = after.take_while(|(_, change)| kind != Kind::MergedRun || !removal(change));
        let dir_sync = Logged::SyncDir(dir.to_owned());
        let dir_syncs = after.filter(|(_, change)| **change == dir_sync).map(|(at, _)| at);
        let dir_synced = dir_syncs.take(if kind == Kind::MergedRun { usize::MAX } else { 1 }).collect();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let of = bytes.get(64..96).map(hex).unwrap_or_default();
        found.push(Publication { kind, name: name.clone(), of, written, synced, renamed, dir_synced });
    }
    found
}

fn kind_of(name: &str, bytes: &[u8]) -> Kind {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    match dir_of(name) {
        "journal" => Kind::Entry,
        "checkpoint" => Kind::Checkpoint,
        // Field offsets as docs/format.md has them.
        "index" if number(12) > 1 => Kind::MergedRun,
        "index" if number(24) == 0 => Kind::PageRun,
        "index" => Kind::DataRun,
        "parity" => Kind::Parity,
        dir if dir.starts_with("local/volumes/") => Kind::VolumeRecord,
        "" if name == "config" => Kind::Config,
        "keys" | "keys-copies" => Kind::KeySlot,
        "local" if name == "local/reserve" => Kind::Reserve,
        "packs" if bytes[10] == 1 => Kind::DataPack,
        "packs" if bytes[10] == 2 => Kind::PagePack,
        "packs" => Kind::MixedPack,
        _ => panic!("{name} is published, and is nothing that is known here"),
    }
}

fn of_kind(changes: &[Logged], kind: Kind) -> Vec<Publication> {
    publications(changes).into_iter().filter(|publication| publication.kind == kind).collect()
}

/// Takes changes out, wherever they are.
pub(crate) fn take(changes: &mut Vec<Logged>, numbers: &[usize]) -> Vec<Logged> {
    let taken = numbers.iter().map(|at| changes[*at].clone()).collect();
    let mut at = 0;
    changes.retain(|_| {
        at += 1;
        !numbers.contains(&(at - 1))
    });
    taken
}

/// Moves changes, in their order, to before another one.
fn move_before(changes: &mut Vec<Logged>, numbers: &[usize], before: usize) {
    let taken = take(changes, numbers);
    let before = before - numbers.iter().filter(|at| **at < before).count();
    changes.splice(before..before, taken);
}

/// Leaves out the syncs of files of a kind.
pub(crate) fn no_file_sync(kind: Kind) -> impl Fn(&mut Vec<Logged>) {
    move |changes| {
        let syncs: Vec<usize> = of_kind(changes, kind).iter().map(|publication| publication.synced).collect();
        take(changes, &syncs);
    }
}

/// Leaves out the syncs of directories after a file of a kind got its name.
pub(crate) fn no_dir_sync(kind: Kind) -> impl Fn(&mut Vec<Logged>) {
    move |changes| {
        let syncs: Vec<usize> =
            of_kind(changes, kind).into_iter().flat_map(|publication| publication.dir_synced).collect();
        take(changes, &syncs);
    }
}

/// Renames files of a kind before they are synced.
pub(crate) fn rename_before_sync(kind: Kind) -> impl Fn(&mut Vec<Logged>) {
    move |changes| {
        for publication in of_kind(changes, kind) {
            changes[publication.synced..=publication.renamed].rotate_left(1);
        }
    }
}

/// Syncs the directory before a file of a kind gets its name in it.
pub(crate) fn dir_sync_before_rename(kind: Kind) -> impl Fn(&mut Vec<Logged>) {
    move |changes| {
        for publication in of_kind(changes, kind) {
            for (renamed, synced) in (publication.renamed..).zip(publication.dir_synced) {
                changes[renamed..=synced].rotate_right(1);
            }
        }
    }
}

/// Leaves out all syncs of a directory.
pub(crate) fn no_sync_of(dir: &'static str) -> impl Fn(&mut Vec<Logged>) {
    move |changes| changes.retain(|change| *change != Logged::SyncDir(dir.to_owned()))
}

/// Leaves out the sync of a directory that comes before the first file of a kind is written.
pub(crate) fn no_sync_before(dir: &'static str, kind: Kind) -> impl Fn(&mut Vec<Logged>) {
    move |changes| {
        let first = of_kind(changes, kind).first().unwrap().all()[0];
        let sync = Logged::SyncDir(dir.to_owned());
        let at = changes[..first].iter().rposition(|change| *change == sync).unwrap();
        changes.remove(at);
    }
}

/// Leaves out the first sync of each directory after the removal of files in it whose names begin
/// so.
pub(crate) fn no_sync_after_removal(begin: &'static str) -> impl Fn(&mut Vec<Logged>) {
    move |changes| {
        take(changes, &removals(changes, begin).1);
    }
}

/// Returns the numbers of the removals of files whose names begin so, and of the syncs after them.
fn removals(changes: &[Logged], begin: &str) -> (Vec<usize>, Vec<usize>) {
    let (mut removals, mut syncs) = (Vec::new(), Vec::new());
    for (at, change) in changes.iter().enumerate() {
        let name = match change {
            Logged::Remove(name) => name,
            // What is set aside is removed from there later.
            Logged::Rename(name, to) if to.starts_with("local/tmp/") => name,
            _ => continue,
        };
        if !name.starts_with(begin) {
            continue;
        }
        removals.push(at);
        let sync = Logged::SyncDir(dir_of(name).to_owned());
        syncs.extend(changes[at..].iter().position(|change| *change == sync).map(|sync| at + sync));
    }
    syncs.sort_unstable();
    syncs.dedup();
    (removals, syncs)
}

/// Publishes the last file of one kind before the first one of another.
pub(crate) fn before(moved: Kind, other: Kind) -> impl Fn(&mut Vec<Logged>) {
    move |changes| {
        let moved = of_kind(changes, moved).pop().unwrap().all();
        let first = of_kind(changes, other).first().unwrap().all()[0];
        move_before(changes, &moved, first);
    }
}

/// Publishes the last file of a kind before the last one of another.
pub(crate) fn before_last(moved: Kind, other: Kind) -> impl Fn(&mut Vec<Logged>) {
    move |changes| {
        let moved = of_kind(changes, moved).pop().unwrap().all();
        let last = of_kind(changes, other).pop().unwrap().all()[0];
        move_before(changes, &moved, last);
    }
}

/// Publishes each run before its pack.
pub(crate) fn runs_before_packs(run: Kind, pack: Kind) -> impl Fn(&mut Vec<Logged>) {
    move |changes| {
        let packs = of_kind(changes, pack).len();
        for at in 0..packs {
            let pack = of_kind(changes, pack).remove(at);
            let runs = of_kind(changes, run);
            let run = runs.iter().find(|run| pack.name.ends_with(&run.of)).unwrap().all();
            move_before(changes, &run, pack.all()[0]);
        }
    }
}

/// Removes files whose names begin so before the first file of a kind is published.
pub(crate) fn removal_before(begin: &'static str, kind: Kind) -> impl Fn(&mut Vec<Logged>) {
    move |changes| {
        let (mut moved, syncs) = removals(changes, begin);
        moved.extend(syncs);
        moved.sort_unstable();
        let first = of_kind(changes, kind).first().unwrap().all()[0];
        move_before(changes, &moved, first);
    }
}

/// Returns, for each move of a file to a name that begins so, the numbers of the renaming, of the
/// sync of the directory it went to, and of the sync of the one it came from.
fn moves(changes: &[Logged], begin: &str) -> Vec<[usize; 3]> {
    let mut moves = Vec::new();
    for (at, change) in changes.iter().enumerate() {
        let Logged::Rename(from, to) = change else { continue };
        if to.starts_with(begin) {
            let sync = |name: &str| Logged::SyncDir(dir_of(name).to_owned());
            let after = |sync: Logged| at + changes[at..].iter().position(|change| *change == sync).unwrap();
            moves.push([at, after(sync(to)), after(sync(from))]);
        }
    }
    moves
}

/// Leaves out the syncs of the directories that files were in before they were moved.
pub(crate) fn no_sync_after_moves_to(begin: &'static str) -> impl Fn(&mut Vec<Logged>) {
    move |changes| {
        let syncs: Vec<usize> = moves(changes, begin).iter().map(|[_, _, left]| *left).collect();
        take(changes, &syncs);
    }
}

/// Syncs the directory that a moved file was in before the one that it is in.
pub(crate) fn left_before_arrived(begin: &'static str) -> impl Fn(&mut Vec<Logged>) {
    move |changes| moves(changes, begin).iter().for_each(|[_, arrived, left]| changes.swap(*arrived, *left))
}

/// Moves files before the first file of a kind is published.
pub(crate) fn moves_before(begin: &'static str, kind: Kind) -> impl Fn(&mut Vec<Logged>) {
    move |changes| {
        let mut moved: Vec<usize> = moves(changes, begin).concat();
        if let Some(made) = made(changes, begin) {
            moved.extend([made, made + 1]);
        }
        moved.sort_unstable();
        let first = of_kind(changes, kind).first().unwrap().all()[0];
        move_before(changes, &moved, first);
    }
}

/// Returns the number of the making of a directory, which a sync of the one above it follows.
fn made(changes: &[Logged], dir: &str) -> Option<usize> {
    let made = Logged::MakeDir(dir.trim_end_matches('/').to_owned());
    changes.iter().position(|change| *change == made)
}

/// Leaves out the sync of the root that follows the making of a directory.
pub(crate) fn no_sync_after_making(dir: &'static str) -> impl Fn(&mut Vec<Logged>) {
    move |changes| drop(changes.remove(made(changes, dir).unwrap() + 1))
}

/// Returns the number of the file that was made with this name.
fn file_of(changes: &[Logged], name: &str) -> usize {
    let made = |change: &Logged| match change {
        Logged::Create(other, file) if other == name => Some(*file),
        _ => None,
    };
    changes.iter().find_map(made).unwrap()
}

/// Leaves out all syncs of a file that is written in place.
pub(crate) fn no_syncs_of(name: &'static str) -> impl Fn(&mut Vec<Logged>) {
    move |changes| {
        let file = file_of(changes, name);
        changes.retain(|change| *change != Logged::SyncFile(file));
    }
}

/// Writes what is written to one file before the sync of another that comes before it.
pub(crate) fn write_before_sync(written: &'static str, synced: &'static str) -> impl Fn(&mut Vec<Logged>) {
    move |changes| {
        let (written, synced) = (file_of(changes, written), file_of(changes, synced));
        let writes = |change: &Logged| matches!(change, Logged::Write(file, _, _) if *file == written);
        for at in 0..changes.len() {
            if writes(&changes[at])
                && let Some(sync) =
                    changes[..at].iter().rposition(|change| *change == Logged::SyncFile(synced))
            {
                changes[sync..=at].rotate_right(1);
            }
        }
    }
}
