//! An exhaustive search. It takes every step that is possible in every state, breadth first, so the
//! history it reports is one of the shortest that break a promise.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt::Display;
use std::hash::Hash;
use std::rc::Rc;

/// What the search goes through.
pub(crate) trait Model {
    /// Everything that decides what can happen next.
    type State: Clone + Eq + Hash;
    /// What happens between two states.
    type Step: Display;

    /// Where every history begins.
    fn initial(&self) -> Self::State;

    /// Adds every step that is possible in `state`, with the state it leads to.
    fn steps(&self, state: &Self::State, into: &mut Vec<(Self::Step, Self::State)>);

    /// The promise that `state` breaks.
    fn broken(&self, state: &Self::State) -> Option<&'static str>;

    /// What must be possible somewhere, and is so in `state`.
    fn reached(&self, state: &Self::State, goals: &mut BTreeSet<&'static str>);
}

/// The result of a search. There is no limit of time or depth that could end it early.
pub(crate) enum Outcome {
    /// Every reachable state was visited, and none breaks a promise.
    Exhausted {
        /// How many states there are.
        states: usize,
        /// The goals that at least one of them reaches.
        reached: BTreeSet<&'static str>,
    },
    /// A state breaks a promise.
    Broken {
        /// Which promise.
        promise: &'static str,
        /// The steps from the beginning to that state.
        history: Vec<String>,
    },
}

/// Visits every state that `model` can reach, or ends at the first that breaks a promise.
pub(crate) fn search<M: Model>(model: &M) -> Outcome {
    let first = Rc::new(model.initial());
    let mut parents = HashMap::from([(Rc::clone(&first), None)]);
    let mut queue = VecDeque::from([first]);
    let mut reached = BTreeSet::new();
    let mut steps = Vec::new();
    while let Some(state) = queue.pop_front() {
        if let Some(promise) = model.broken(&state) {
            return Outcome::Broken { promise, history: history(model, &parents, &state) };
        }
        model.reached(&state, &mut reached);
        model.steps(&state, &mut steps);
        for (_, next) in steps.drain(..) {
            if !parents.contains_key(&next) {
                let next = Rc::new(next);
                parents.insert(Rc::clone(&next), Some(Rc::clone(&state)));
                queue.push_back(next);
            }
        }
    }
    Outcome::Exhausted { states: parents.len(), reached }
}

/// The steps that led to `state`, found again from each state and the one before it.
fn history<M: Model>(
    model: &M,
    parents: &HashMap<Rc<M::State>, Option<Rc<M::State>>>,
    state: &Rc<M::State>,
) -> Vec<String> {
    let mut backwards = Vec::new();
    let mut steps = Vec::new();
    let mut state = state;
    while let Some(Some(before)) = parents.get(state) {
        model.steps(before, &mut steps);
        backwards
            .extend(steps.drain(..).find(|(_, next)| next == &**state).map(|(step, _)| step.to_string()));
        state = before;
    }
    backwards.reverse();
    backwards
}
