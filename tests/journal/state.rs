//! What is in the store, and what each process has in its memory.

/// More numbers than the entries of any configuration here need. A configuration that needs more
/// ends in a panic, not in a shorter search.
const ENTRIES: usize = 10;
/// The processes of the largest configuration.
const PROCESSES: usize = 5;
/// The pack that is there at the beginning and that no snapshot needs.
pub(crate) const OLD: Packs = 1;

/// A set of packs, a bit for each: the old one, then those of the first writer and of the second.
pub(crate) type Packs = u8;

/// The entries that are there, from number 1.
pub(crate) type Journal = [Option<Entry>; ENTRIES];

/// An entry of the journal. Who puts it is its token: no process puts two at one number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) by: u8,
    pub(crate) change: Change,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    /// A snapshot was made that refers to these packs.
    Snapshot(Packs),
    /// Gc will delete these packs.
    Condemned(Packs),
}

/// What the journal says up to an entry: a checkpoint, or what a process has read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Catalog {
    /// The last entry in it.
    pub(crate) at: u8,
    /// The packs that the snapshot of each writer refers to.
    pub(crate) live: [Packs; 2],
    /// The condemned packs, except those that an entry up to `low` condemned and that are gone.
    pub(crate) condemned: Packs,
    /// The low mark.
    pub(crate) low: u8,
}

impl Catalog {
    pub(crate) const EMPTY: Self = Self { at: 0, live: [0; 2], condemned: 0, low: 0 };

    /// This catalog after all entries that follow it without a gap.
    pub(crate) fn folded(mut self, journal: &Journal) -> Self {
        while let Some(entry) = journal[usize::from(self.at)] {
            self.at += 1;
            match entry.change {
                Change::Snapshot(packs) => self.live[usize::from(entry.by)] |= packs,
                Change::Condemned(packs) => self.condemned |= packs,
            }
        }
        self
    }

    /// The packs that snapshots need.
    pub(crate) fn used(&self) -> Packs {
        self.live[0] | self.live[1]
    }
}

/// The next thing that a process does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum At {
    LoadCheckpoint,
    ReadEntries,
    LoadIndex,
    LookForPack,
    Upload,
    ListPacks,
    Put,
    ReadBack,
    LookAtCheckpoint,
    Delete,
    LookForCondemned,
    PutCheckpoint,
    Remove,
    Done,
    GaveUp,
}

/// What a process has in its memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Process {
    pub(crate) at: At,
    /// What it has read of the journal. It puts its entry at the next number.
    pub(crate) known: Catalog,
    /// The entry after which it reads on.
    pub(crate) base: u8,
    /// Where the journal ended when a writer first read it.
    pub(crate) begun: Option<u8>,
    /// The packs that a writer's snapshot refers to, or those that gc condemns and deletes.
    pub(crate) packs: Packs,
    /// How many uploads or checkpoints it may still make.
    pub(crate) left: u8,
}

impl Process {
    pub(crate) fn new(at: At, left: u8) -> Self {
        Self { at, known: Catalog::EMPTY, base: 0, begun: None, packs: 0, left }
    }

    /// Goes on to read the entries after those it knows.
    pub(crate) fn read_on(&mut self) {
        self.at = At::ReadEntries;
        self.base = self.known.at;
    }

    pub(crate) fn upload_or_give_up(&mut self) {
        self.at = if self.left > 0 { At::Upload } else { At::GaveUp };
    }

    /// Forgets what no later step uses, so that states differ only where it matters.
    pub(crate) fn forget(&mut self) {
        match self.at {
            At::Done | At::GaveUp => *self = Self::new(self.at, 0),
            At::LoadCheckpoint | At::Delete | At::Remove => self.known = Catalog::EMPTY,
            At::LookAtCheckpoint => self.known = Catalog { at: self.known.at, ..Catalog::EMPTY },
            _ => {}
        }
        if self.at != At::ReadEntries {
            self.base = 0;
        }
    }
}

/// Everything that decides what can happen next.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The packs that are there.
    pub(crate) packs: Packs,
    pub(crate) journal: Journal,
    pub(crate) newest: Catalog,
    /// The second newest checkpoint, if it is kept and there is one.
    pub(crate) older: Option<Catalog>,
    /// A put that nobody waits for any more. It arrives at any time, or never.
    pub(crate) under_way: Option<(u8, Entry)>,
    /// How many puts may still stay without an answer.
    pub(crate) unanswered: u8,
    pub(crate) processes: [Process; PROCESSES],
}

impl State {
    pub(crate) fn new(unanswered: u8) -> Self {
        Self {
            packs: OLD,
            journal: [None; ENTRIES],
            newest: Catalog::EMPTY,
            older: None,
            under_way: None,
            unanswered,
            processes: [Process::new(At::Done, 0); PROCESSES],
        }
    }

    /// What the journal says.
    pub(crate) fn truth(&self) -> Catalog {
        self.newest.folded(&self.journal)
    }

    /// The entry with a number.
    pub(crate) fn entry(&self, number: u8) -> Option<Entry> {
        self.journal[usize::from(number) - 1]
    }

    /// Puts an entry if none has its number. False if one has.
    pub(crate) fn put_new(&mut self, number: u8, entry: Entry) -> bool {
        let place = &mut self.journal[usize::from(number) - 1];
        let new = place.is_none();
        *place = place.or(Some(entry));
        new
    }

    /// The number up to which entries may be missing.
    pub(crate) fn removable(&self) -> u8 {
        self.older.unwrap_or(self.newest).at
    }
}
