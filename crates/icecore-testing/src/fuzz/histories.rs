//! Histories whose steps come from a fuzzer.

use crate::fuzz::input::Input;
use crate::history::History;
use crate::history::Step;
use crate::history::VOLUMES;
use crate::random::Random;

/// The most steps of a history: more find little, and take longer.
const STEPS_MAX: usize = 24;
/// The longest image: a few leaves of a manifest, so that trees have two levels.
const IMAGE_BYTES_MAX: usize = (4 << 20) + 200_000;

pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut history =
        History::new([Random::new(71).disk(200_000), Random::new(72).disk((4 << 20) + 70_000), Vec::new()]);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        let step = step(&mut input, true);
        history.take(&step);
        history.check();
    }
    history.check_all();
}

fn step(input: &mut Input<'_>, may_crash: bool) -> Step {
    let volume = |input: &mut Input<'_>| input.below(VOLUMES.len());
    match input.below(if may_crash { 14 } else { 6 }) {
        0..=2 => Step::Capture {
            volume: volume(input),
            parent: input.flag(),
            level: i32::from(input.byte() % 7) - 3,
        },
        3 => Step::Delete { snapshot: input.below(256) },
        4 | 5 => Step::Gc { max_unused: [0.0, 0.05, 0.5][input.below(3)] },
        6 | 7 => Step::Scribble { volume: volume(input), seed: u64::from(input.u16()) },
        8 => Step::Copy {
            from: volume(input),
            to: volume(input),
            aligned: input.flag(),
            seed: u64::from(input.u16()),
        },
        9 => Step::Resize { volume: volume(input), bytes: size(input) },
        10 => Step::Restore { snapshot: input.below(256), over: volume(input) },
        11 => Step::Rename { snapshot: input.below(256) },
        12 => Step::Reopen,
        _ => Step::Crash {
            call: u64::from(input.byte() % 60),
            once: input.flag(),
            step: Box::new(step(input, false)),
        },
    }
}

fn size(input: &mut Input<'_>) -> usize {
    match input.below(4) {
        0 => usize::from(input.u16()),
        1 => 4 << 20,
        2 => (4 << 20) + 1 + input.below(4096),
        _ => input.below(1 << 16) * 67 % IMAGE_BYTES_MAX,
    }
}
