//! Collects all problems, one per object, with the ranges of snapshots that each makes unreadable.

use std::collections::HashMap;
use std::ops::Range;

use crate::format::pack::EntryKind;
use crate::format::pack::SlotBitmap;
use crate::format::record::Record;
use crate::stores::chunks::Located;
use crate::verbs::verify::report::Finding;
use crate::verbs::verify::report::LostRange;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::ids::ChunkId;
use crate::words::ids::PackId;
use crate::words::ids::PageId;
use crate::words::ids::RunId;
use crate::words::ids::SnapshotId;
use crate::words::next_step::NextStep;

/// Objects that get a finding of their own. All further problems share one finding, so that a
/// large, wholly damaged repository does not fill the memory.
const FINDINGS_MAX: usize = 20_000;

const OTHERS: &str = "there is more damage than one report can list";

/// A problem with an object, and the next step.
pub(crate) struct Problem {
    pub(crate) text: String,
    pub(crate) next: Option<NextStep>,
}

impl Problem {
    pub(crate) fn new(text: impl Into<String>, next: impl Into<NextStep>) -> Self {
        Self { text: text.into(), next: Some(next.into()) }
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), next: None }
    }
}

/// The object of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    Chunk([u8; 16]),
    Page([u8; 16]),
    /// The copy of a snapshot's record in a pack.
    RecordCopy(SnapshotId),
    Pack(PackId),
    Run(RunId),
    /// A snapshot, by the name of its record file.
    Snapshot(String),
    /// A file of no other kind.
    File(String),
    /// All objects beyond the most findings that are reported one by one.
    Others,
}

impl Object {
    /// Returns the object of an entry of a pack.
    pub(crate) fn of(kind: EntryKind, id: [u8; 16]) -> Self {
        match kind {
            EntryKind::Chunk => Self::Chunk(id),
            EntryKind::Page => Self::Page(id),
            EntryKind::Record => Self::RecordCopy(SnapshotId::from(id)),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Chunk(id) => format!("chunk {}", ChunkId(*id)),
            Self::Page(id) => format!("manifest page {}", PageId(*id)),
            Self::RecordCopy(id) => format!("copy of the record of snapshot {id}"),
            Self::Pack(id) => format!("pack {id}"),
            Self::Run(id) => format!("index run {id}"),
            Self::Snapshot(file) => format!("snapshot {file}"),
            Self::File(path) => format!("file {path}"),
            Self::Others => "other objects".to_owned(),
        }
    }
}

/// The number of a finding.
pub(crate) type FindingNumber = usize;

/// A lost range before it is reported: its finding, the number of its record, and the offset.
struct Lost {
    record: usize,
    range: Range<u64>,
}

/// A chunk that was read and found damaged.
struct Damage {
    finding: FindingNumber,
    /// The unusable slots.
    slots: SlotBitmap,
}

/// The problems found so far.
#[derive(Default)]
pub(crate) struct Findings {
    numbers: HashMap<Object, FindingNumber>,
    /// Object, problem, and lost ranges in the order of record and offset.
    all: Vec<(Object, Problem, Vec<Lost>)>,
    damage: HashMap<(PackId, u32), Damage>,
}

impl Findings {
    /// Adds a finding, unless the object has one. Returns its number.
    pub(crate) fn add(&mut self, object: Object, problem: impl FnOnce() -> Problem) -> FindingNumber {
        if let Some(number) = self.numbers.get(&object) {
            return *number;
        }
        if self.all.len() < FINDINGS_MAX {
            return self.push(object, problem());
        }
        match self.numbers.get(&Object::Others) {
            Some(number) => *number,
            None => self.push(Object::Others, Problem::new(OTHERS, NextStep::RepairThenVerify)),
        }
    }

    fn push(&mut self, object: Object, problem: Problem) -> FindingNumber {
        let number = self.all.len();
        self.all.push((object.clone(), problem, Vec::new()));
        self.numbers.insert(object, number);
        number
    }

    /// Notes unusable slots of a chunk that was read.
    pub(crate) fn add_damage(&mut self, pack: PackId, entry: u32, finding: FindingNumber, slots: SlotBitmap) {
        self.damage.insert((pack, entry), Damage { finding, slots });
    }

    /// Returns how many chunks and pages were read and found unusable.
    pub(crate) fn damaged(&self) -> usize {
        self.damage.len()
    }

    /// Returns the finding of a chunk whose slot is unusable.
    pub(crate) fn damage_of(&self, located: &Located, slot: u8) -> Option<FindingNumber> {
        let damage = self.damage.get(&(located.pack.id, located.number))?;
        damage.slots.has(slot).then_some(damage.finding)
    }

    /// Returns the packs that are damaged as a whole.
    pub(crate) fn broken_packs(&self) -> impl Iterator<Item = PackId> + '_ {
        self.numbers.keys().filter_map(|object| match object {
            Object::Pack(id) => Some(*id),
            _ => None,
        })
    }

    /// Forgets all lost ranges, so that they can be found again.
    pub(crate) fn forget_lost(&mut self) {
        self.all.iter_mut().for_each(|(_, _, lost)| lost.clear());
    }

    /// Notes that a finding makes a range of a record's image unreadable. `record` is the record's
    /// number. The ranges of a record come in order.
    pub(crate) fn add_lost(&mut self, finding: FindingNumber, record: usize, range: Range<u64>) {
        let Some((_, _, lost)) = self.all.get_mut(finding) else { return };
        let next_to = |last: &&mut Lost| {
            last.record == record && (last.range.start..=last.range.end).contains(&range.start)
        };
        match lost.last_mut().filter(next_to) {
            Some(last) => last.range.end = last.range.end.max(range.end),
            None if range.is_empty() => {}
            None => lost.push(Lost { record, range }),
        }
    }

    /// Returns the findings in the order in which they were found, which is by kind of object.
    pub(crate) fn finish(self, records: &[Record]) -> Vec<Finding> {
        let told = |lost: Lost| {
            let record = records.get(lost.record)?;
            let Range { start, end } = lost.range;
            let name = record.name.clone();
            Some(LostRange { snapshot: record.id, name, offset: start, bytes: end - start })
        };
        let all = self.all.into_iter();
        all.map(|(object, problem, lost)| Finding {
            object: object.text(),
            problem: problem.text,
            next: problem.next,
            lost: lost.into_iter().filter_map(told).collect(),
        })
        .collect()
    }
}

/// The next step for bytes that could not be read, with no known damage.
const UNREAD: &str = "check the medium, then verify again";
/// The next step for bytes that could not be read for want of permission.
const DENIED: &str = "verify again as the user who owns the repository";

/// Returns the problem that an error describes, with the step `next` if something is known to be
/// damaged.
pub(crate) fn problem_of(error: &Error, next: impl Into<NextStep>) -> Problem {
    let next = match error.kind() {
        ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Unsupported => next.into(),
        ErrorKind::PermissionDenied => DENIED.into(),
        _ => UNREAD.into(),
    };
    Problem::new(error.to_string(), next)
}
