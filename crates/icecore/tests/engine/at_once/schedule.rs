//! Takes operations on one storage forward by turns. Each runs with all its threads, and stops at
//! each call of the storage until it is its turn; whose turn it is then is said by a plan. A plan
//! names calls by what they do and how often that was done, not by when they come, so that it means
//! the same although threads inside of an operation run freely.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;

use icecore_testing::random::Random;

use crate::at_once::hooked::Watch;

/// A call of an operation: what it does, and how often the operation had done that before.
pub(crate) type Point = (String, usize);

/// Where the turn goes to another operation.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    /// Nowhere: one operation runs after another.
    Never,
    /// At a call of the first operation. The others then run until they end or have to wait.
    At(Point),
    /// At a call of the first operation, and back to it at one of the second.
    Twice(Point, Point),
    /// At about one in so many calls, chosen by a seed.
    Seed(u64, usize),
}

/// Says whose turn it is.
pub(crate) struct Schedule {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    plan: Plan,
    turn: usize,
    ended: Vec<bool>,
    waiting: Vec<bool>,
    counts: HashMap<(usize, String), usize>,
    /// The calls of all operations, in order.
    calls: Vec<(usize, Point)>,
    stuck: bool,
}

impl State {
    /// Returns the operations that can have the turn after one, the next ones first.
    fn others(&self, than: usize) -> Vec<usize> {
        let count = self.ended.len();
        let others = (1..count).map(|more| (than + more) % count);
        others.filter(|one| !self.ended[*one] && !self.waiting[*one]).collect()
    }

    /// Returns the operation that has the turn after this call.
    fn next(&self, one: usize, point: &Point) -> usize {
        let others = self.others(one);
        let Some(first) = others.first() else { return one };
        match &self.plan {
            Plan::At(at) if one == 0 && at == point => *first,
            Plan::Twice(at, _) if one == 0 && at == point => *first,
            Plan::Twice(_, back) if one == 1 && back == point => *others.last().unwrap_or(&one),
            Plan::Never | Plan::At(_) | Plan::Twice(..) => one,
            Plan::Seed(seed, odds) => {
                let mut noise = Random::new(hash(&format!("{seed} {one} {point:?}")));
                if noise.below(*odds) == 0 { others[noise.below(others.len())] } else { one }
            }
        }
    }
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| Random::new(hash ^ u64::from(byte)).next())
}

impl Schedule {
    pub(crate) fn new(operations: usize, plan: Plan) -> Arc<Self> {
        let state = State {
            turn: match plan {
                Plan::Seed(seed, _) => Random::new(seed).below(operations),
                _ => 0,
            },
            plan,
            ended: vec![false; operations],
            waiting: vec![false; operations],
            counts: HashMap::new(),
            calls: Vec::new(),
            stuck: false,
        };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Returns what one of the operations tells of its calls.
    pub(crate) fn operation(self: &Arc<Self>, number: usize) -> Arc<dyn Watch> {
        Arc::new(Operation { schedule: Arc::clone(self), number })
    }

    /// Gives the turn away for good.
    pub(crate) fn end(&self, number: usize) {
        let mut state = self.state();
        state.ended[number] = true;
        self.pass_on(&mut state, number);
    }

    /// Returns the calls that each operation made.
    pub(crate) fn calls(&self) -> Vec<Vec<Point>> {
        let state = self.state();
        let of = |number: usize| state.calls.iter().filter(move |(one, _)| *one == number);
        (0..state.ended.len()).map(|number| of(number).map(|(_, point)| point.clone()).collect()).collect()
    }

    /// Returns all calls, a line each.
    pub(crate) fn trace(&self) -> String {
        let state = self.state();
        state.calls.iter().map(|(one, (what, _))| format!("\n  {one}: {what}")).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn pass_on(&self, state: &mut State, number: usize) {
        if state.turn == number
            && let Some(next) = state.others(number).first()
        {
            state.turn = *next;
        }
        self.changed.notify_all();
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>, number: usize) -> MutexGuard<'a, State> {
        while state.turn != number && !state.stuck {
            state = self.changed.wait(state).unwrap();
        }
        if state.stuck {
            drop(state);
            panic!("all operations wait for locks");
        }
        state
    }
}

struct Operation {
    schedule: Arc<Schedule>,
    number: usize,
}

impl Watch for Operation {
    fn before(&self, call: &'static str, name: &str) {
        let mut state = self.schedule.wait(self.schedule.state(), self.number);
        let what = format!("{call} {}", kind_of(name));
        let count = state.counts.entry((self.number, what.clone())).or_default();
        let point = (what, *count);
        *count += 1;
        if point.0 == "list packs" && point.1 > 0 {
            // One of 256 directories, in which nobody changes anything that the others do not.
            return;
        }
        state.calls.push((self.number, point.clone()));
        state.turn = state.next(self.number, &point);
        self.schedule.changed.notify_all();
        drop(self.schedule.wait(state, self.number));
    }

    fn blocked(&self, _name: &str) -> bool {
        let mut state = self.schedule.state();
        state.waiting[self.number] = true;
        match state.others(self.number).first() {
            Some(next) => state.turn = *next,
            None => state.stuck = true,
        }
        self.schedule.changed.notify_all();
        drop(self.schedule.wait(state, self.number));
        true
    }

    fn released(&self, _name: &str) {
        self.schedule.state().waiting.fill(false);
    }
}

/// Returns a name without the ids in it.
fn kind_of(name: &str) -> &str {
    let of_lock = name.strip_prefix("local/locks/").and_then(|lock| lock.find('-'));
    match (of_lock, name.find('/')) {
        (Some(end), _) => &name[.."local/locks/".len() + end],
        (None, Some(dir)) if !name.starts_with("local/locks/") => &name[..dir],
        _ => name,
    }
}
