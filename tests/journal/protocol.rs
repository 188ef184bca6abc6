//! The steps of each process.

use std::collections::BTreeSet;
use std::fmt;

use crate::promises;
use crate::search::Model;
use crate::state::At;
use crate::state::Catalog;
use crate::state::Change;
use crate::state::Entry;
use crate::state::OLD;
use crate::state::Packs;
use crate::state::Process;
use crate::state::State;

/// How often a writer uploads before it gives up. Without an end there would be no last state.
const UPLOADS: u8 = 2;

/// The rules of the protocol, each of which can be left out to see what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Gc deletes a pack only after the entry that condemns it is in the journal.
    EntryBeforeDeletion,
    /// A snapshot does not refer to condemned packs.
    HeedCondemned,
    /// A writer reads the journal before it loads the index.
    JournalBeforeIndex,
    /// After its put, a process looks at the newest checkpoint. If that covers the number of the
    /// entry, the process starts again.
    LookAtCheckpoint,
    /// A checkpoint lists the condemned packs that are still there.
    KeepCondemned,
    /// A writer that began before the low mark looks for the pack itself.
    LowMark,
    /// A pack that is stored again gets another name.
    UniqueNames,
    /// A process that has read entries makes sure that none of them could have been removed.
    CheckAfterReading,
    /// After a put without an answer, a process reads the entry back.
    ReadBack,
    /// An entry that was read back is one's own only if its token is.
    CompareTokens,
    /// Entries stay until the older of two checkpoints covers them.
    KeepTail,
}

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Makes one snapshot.
    Writer,
    /// Condemns what no snapshot needs, and deletes it.
    Gc,
    /// Makes this many checkpoints, and removes the entries that they replace.
    Checkpointer(u8),
}

/// Who takes part, and what goes wrong.
pub(crate) struct Protocol {
    /// Who takes part: writers first, at most two of them.
    pub(crate) roles: Vec<Role>,
    /// How many puts may stay without an answer.
    pub(crate) unanswered: u8,
    /// Whether the second newest checkpoint is kept beside the newest.
    pub(crate) two_checkpoints: bool,
    /// The rule that nobody keeps.
    pub(crate) without: Option<Rule>,
}

/// What happens in a step, and the number of the entry or checkpoint it is about.
type Action = (&'static str, Option<u8>);

/// What a process does, or else the network.
pub(crate) struct Step {
    who: Option<(Role, usize)>,
    action: Action,
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.who {
            Some((Role::Writer, index)) => write!(out, "writer {index} ")?,
            Some((Role::Gc, index)) => write!(out, "gc {index} ")?,
            Some((Role::Checkpointer(_), index)) => write!(out, "checkpointer {index} ")?,
            None => {}
        }
        let (does, number) = self.action;
        match number {
            Some(number) => write!(out, "{does} {number}"),
            None => write!(out, "{does}"),
        }
    }
}

impl Protocol {
    fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// The next step of a process, and the state after it. None once the process has ended.
    pub(crate) fn next(&self, state: &State, who: usize) -> Option<(Action, State)> {
        let mut next = *state;
        let mut process = state.processes[who];
        let action = match process.at {
            At::LoadCheckpoint | At::ReadEntries => self.read(state, who, &mut process),
            At::LoadIndex | At::LookForPack | At::Upload => self.use_packs(&mut next, who, &mut process),
            At::Put | At::ReadBack | At::LookAtCheckpoint => self.commit(&mut next, who, &mut process),
            At::ListPacks | At::Delete => self.collect(&mut next, &mut process),
            At::LookForCondemned | At::PutCheckpoint | At::Remove => {
                self.make_checkpoint(&mut next, &mut process)
            }
            At::Done | At::GaveUp => return None,
        };
        process.forget();
        next.processes[who] = process;
        Some((action, next))
    }

    /// Loads the newest checkpoint, and in a later step reads the entries after it. The check that
    /// follows is part of that step: if it passes later, it would have passed at once.
    fn read(&self, state: &State, who: usize, process: &mut Process) -> Action {
        if process.at == At::LoadCheckpoint {
            process.known = state.newest;
            process.read_on();
            return ("loads checkpoint", Some(state.newest.at));
        }
        if self.keeps(Rule::CheckAfterReading) && state.removable() > process.base {
            process.at = At::LoadCheckpoint;
            return ("reads too late what comes after entry", Some(process.base));
        }
        process.known = process.known.folded(&state.journal);
        self.decide(who, process);
        ("has read the journal up to entry", Some(process.known.at))
    }

    /// What a process does once it has read the journal.
    fn decide(&self, who: usize, process: &mut Process) {
        match self.roles[who] {
            Role::Writer if process.known.live[who] != 0 => process.at = At::Done,
            Role::Writer if process.begun.is_none() => {
                process.begun = Some(process.known.at);
                if self.keeps(Rule::JournalBeforeIndex) {
                    process.at = At::LoadIndex;
                } else {
                    self.refer(process);
                }
            }
            Role::Writer => self.refer(process),
            Role::Gc => process.at = At::ListPacks,
            Role::Checkpointer(_) if process.known.at > process.base => process.at = At::LookForCondemned,
            Role::Checkpointer(_) => process.at = At::LoadCheckpoint,
        }
    }

    /// Decides whether a writer's snapshot can refer to the packs that the writer knows.
    fn refer(&self, process: &mut Process) {
        let heeds = self.keeps(Rule::HeedCondemned);
        if process.packs == 0 || heeds && process.packs & process.known.condemned != 0 {
            process.upload_or_give_up();
        } else if heeds && self.keeps(Rule::LowMark) && process.begun < Some(process.known.low) {
            process.at = At::LookForPack;
        } else {
            process.at = At::Put;
        }
    }

    /// What a writer does with packs.
    fn use_packs(&self, state: &mut State, who: usize, process: &mut Process) -> Action {
        match process.at {
            At::LoadIndex => {
                process.packs = state.packs & OLD;
                if process.begun.is_some() {
                    self.refer(process);
                } else {
                    process.at = At::LoadCheckpoint;
                }
                ("loads the index", None)
            }
            At::LookForPack => {
                if process.packs & state.packs == process.packs {
                    process.at = At::Put;
                } else {
                    process.upload_or_give_up();
                }
                ("looks for the pack itself", None)
            }
            _ => {
                let new: Packs =
                    (OLD << 1) << (who * usize::from(UPLOADS) + usize::from(UPLOADS - process.left));
                process.packs = if self.keeps(Rule::UniqueNames) { new } else { OLD };
                state.packs |= process.packs;
                process.left -= 1;
                process.at = At::Put;
                ("uploads a pack", None)
            }
        }
    }

    /// The entry that a writer or gc wants to put.
    fn entry(&self, who: usize, process: &Process) -> Entry {
        let change = match self.roles[who] {
            Role::Writer => Change::Snapshot(process.packs),
            _ => Change::Condemned(process.packs),
        };
        Entry { by: (0..).nth(who).unwrap_or(u8::MAX), change }
    }

    /// Puts an entry after those that are known.
    fn commit(&self, state: &mut State, who: usize, process: &mut Process) -> Action {
        let number = process.known.at + 1;
        let own = self.entry(who, process);
        let does = match process.at {
            At::Put if state.put_new(number, own) => {
                process.at = At::LookAtCheckpoint;
                "puts entry"
            }
            At::Put => {
                process.at = At::ReadBack;
                "is refused its put of entry"
            }
            At::ReadBack => match state.entry(number) {
                None => {
                    process.at = At::Put;
                    "must put again entry"
                }
                Some(entry) if entry == own || !self.keeps(Rule::CompareTokens) => {
                    process.at = At::LookAtCheckpoint;
                    "takes for its own entry"
                }
                Some(_) => {
                    process.read_on();
                    return self.read(state, who, process);
                }
            },
            _ if self.keeps(Rule::LookAtCheckpoint) && number <= state.newest.at => {
                process.at = At::LoadCheckpoint;
                "finds a checkpoint that covers entry"
            }
            _ => {
                process.at = if self.roles[who] == Role::Gc { At::Delete } else { At::Done };
                "has made entry"
            }
        };
        (does, Some(number))
    }

    /// What gc does beside its entry.
    fn collect(&self, state: &mut State, process: &mut Process) -> Action {
        if process.at == At::Delete {
            state.packs &= !process.packs;
            process.at = At::Done;
            return ("deletes packs", None);
        }
        let unused = state.packs & !process.known.used();
        let condemned = unused & process.known.condemned;
        let garbage = unused & !condemned;
        (process.packs, process.at) = match (garbage, condemned) {
            (0, 0) => (0, At::Done),
            (0, _) => (condemned, At::Delete),
            (_, _) if self.keeps(Rule::EntryBeforeDeletion) => (garbage, At::Put),
            (_, _) => (garbage, At::Delete),
        };
        ("lists the packs", None)
    }

    /// What a checkpointer does once it has read something new.
    fn make_checkpoint(&self, state: &mut State, process: &mut Process) -> Action {
        let known = &mut process.known;
        match process.at {
            At::LookForCondemned => {
                let listed = if self.keeps(Rule::KeepCondemned) { state.packs } else { 0 };
                if known.condemned & !listed != 0 {
                    known.low = known.at;
                }
                known.condemned &= listed;
                process.at = At::PutCheckpoint;
                ("looks which condemned packs are there", None)
            }
            At::PutCheckpoint => {
                let between = |older: Catalog| older.at < known.at && known.at < state.newest.at;
                if known.at > state.newest.at {
                    state.older = self.two_checkpoints.then_some(state.newest);
                    state.newest = *known;
                } else if state.older.is_some_and(between) {
                    state.older = Some(*known);
                }
                process.at = At::Remove;
                ("puts checkpoint", Some(known.at))
            }
            _ => {
                let end = if self.keeps(Rule::KeepTail) { state.removable() } else { state.newest.at };
                state.journal[..usize::from(end)].fill(None);
                process.left -= 1;
                process.at = if process.left > 0 { At::LoadCheckpoint } else { At::Done };
                ("removes the entries up to", Some(end))
            }
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Step = Step;

    fn initial(&self) -> State {
        let mut state = State::new(self.unanswered);
        for (process, role) in state.processes.iter_mut().zip(&self.roles) {
            *process = match role {
                Role::Writer if !self.keeps(Rule::JournalBeforeIndex) => Process::new(At::LoadIndex, UPLOADS),
                Role::Writer => Process::new(At::LoadCheckpoint, UPLOADS),
                Role::Gc => Process::new(At::LoadCheckpoint, 0),
                Role::Checkpointer(checkpoints) => Process::new(At::LoadCheckpoint, *checkpoints),
            };
        }
        state
    }

    fn steps(&self, state: &State, into: &mut Vec<(Step, State)>) {
        // Checkpointers are alike: which of them did what makes no difference.
        let checkpointers =
            self.roles.iter().take_while(|role| !matches!(role, Role::Checkpointer(_))).count();
        for (who, &role) in self.roles.iter().enumerate() {
            let name = Some((role, who));
            if let Some((action, mut next)) = self.next(state, who) {
                next.processes[checkpointers..self.roles.len()].sort_unstable();
                into.push((Step { who: name, action }, next));
            }
            let process = &state.processes[who];
            if process.at == At::Put && state.unanswered > 0 && state.under_way.is_none() {
                let mut next = *state;
                let number = process.known.at + 1;
                next.unanswered -= 1;
                next.under_way = Some((number, self.entry(who, process)));
                let settle = if self.keeps(Rule::ReadBack) { At::ReadBack } else { At::LookAtCheckpoint };
                next.processes[who].at = settle;
                next.processes[who].forget();
                let action = ("gets no answer to its put of entry", Some(number));
                into.push((Step { who: name, action }, next));
            }
        }
        if let Some((number, entry)) = state.under_way {
            let mut next = *state;
            next.under_way = None;
            next.put_new(number, entry);
            let action = ("the put without an answer arrives: entry", Some(number));
            into.push((Step { who: None, action }, next));
        }
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        promises::broken(self, state)
    }

    fn reached(&self, state: &State, goals: &mut BTreeSet<&'static str>) {
        promises::reached(self, state, goals);
    }
}
