//! Collects what is wrong, each object once, with the ranges of snapshots that it makes unreadable.

use std::collections::HashMap;
use std::ops::Range;

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
use crate::words::next_step::NextStep;

/// Objects that get a finding of their own. What is wrong beyond that is one finding together, so
/// that a large repository that is wholly damaged does not fill the memory.
const FINDINGS_MAX: usize = 20_000;

const OTHERS: &str = "there is more damage than one report can list";

/// What is wrong with an object, and what to do about it.
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

/// What something is wrong with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    Chunk([u8; 16]),
    Page([u8; 16]),
    Pack(PackId),
    Run(RunId),
    /// A snapshot, by the name of its record's file.
    Snapshot(String),
    /// A file that is none of the others.
    File(String),
    /// Everything beyond the most findings that are told one by one.
    Others,
}

impl Object {
    fn text(&self) -> String {
        match self {
            Self::Chunk(id) => format!("chunk {}", ChunkId(*id)),
            Self::Page(id) => format!("manifest page {}", PageId(*id)),
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

/// A lost range, before it is told: which finding, which of the records, where.
struct Lost {
    record: usize,
    range: Range<u64>,
}

/// A chunk that was read and is not what it must be.
struct Damage {
    finding: FindingNumber,
    /// The slots that cannot be used.
    slots: SlotBitmap,
}

/// What is wrong so far.
#[derive(Default)]
pub(crate) struct Findings {
    numbers: HashMap<Object, FindingNumber>,
    /// Object, problem, and lost ranges in order of record and offset.
    all: Vec<(Object, Problem, Vec<Lost>)>,
    damage: HashMap<(PackId, u32), Damage>,
}

impl Findings {
    /// Adds a finding, unless there is one of this object. Returns its number.
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

    /// Notes that slots of a chunk that was read cannot be used.
    pub(crate) fn add_damage(&mut self, pack: PackId, entry: u32, finding: FindingNumber, slots: SlotBitmap) {
        self.damage.insert((pack, entry), Damage { finding, slots });
    }

    /// Returns how many chunks and pages were read and cannot be used.
    pub(crate) fn damaged(&self) -> usize {
        self.damage.len()
    }

    /// Returns the finding of a chunk of which this slot cannot be used.
    pub(crate) fn damage_of(&self, located: &Located, slot: u8) -> Option<FindingNumber> {
        let damage = self.damage.get(&(located.pack.id, located.number))?;
        damage.slots.has(slot).then_some(damage.finding)
    }

    /// Returns the packs that something is wrong with as a whole.
    pub(crate) fn broken_packs(&self) -> impl Iterator<Item = PackId> + '_ {
        self.numbers.keys().filter_map(|object| match object {
            Object::Pack(id) => Some(*id),
            _ => None,
        })
    }

    /// Forgets all lost ranges, which are then to be found again.
    pub(crate) fn forget_lost(&mut self) {
        self.all.iter_mut().for_each(|(_, _, lost)| lost.clear());
    }

    /// Notes that a finding makes a range of the image of the record with this number unreadable.
    /// Ranges of one record come in order.
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

    /// Returns the findings, in the order of the objects' kinds as they were found.
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

/// What to do about bytes that could not be read: nothing is known to be wrong with them.
const UNREAD: &str = "check the medium, then verify again";
/// The same where it was refused.
const DENIED: &str = "verify again as the user who owns the repository";

/// Returns the problem that an error tells of; `next` where something is known to be damaged.
pub(crate) fn problem_of(error: &Error, next: impl Into<NextStep>) -> Problem {
    let next = match error.kind() {
        ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Unsupported => next.into(),
        ErrorKind::PermissionDenied => DENIED.into(),
        _ => UNREAD.into(),
    };
    Problem::new(error.to_string(), next)
}
