//! Random histories of a repository.

use icecore_testing::history::History;
use icecore_testing::history::Step;
use icecore_testing::history::VOLUMES;
use icecore_testing::random::Random;
use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_oneof;
use proptest::test_runner::Config;
use proptest::test_runner::TestRunner;

const IMAGE_BYTES_MAX: usize = 9 << 20;
/// Cases unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 100;

fn step() -> impl Strategy<Value = Step> {
    let volume = || 0..VOLUMES.len();
    let capture = || {
        (volume(), any::<bool>(), -3..4).prop_map(|(volume, parent, level)| Step::Capture {
            volume,
            parent,
            level,
        })
    };
    let delete = || any::<usize>().prop_map(|snapshot| Step::Delete { snapshot });
    let gc = || prop_oneof![Just(0.0), Just(0.05), Just(0.5)].prop_map(|max_unused| Step::Gc { max_unused });
    let size = prop_oneof![0..300_000_usize, 0..IMAGE_BYTES_MAX, Just(0), Just(4 << 20), Just((4 << 20) + 1)];
    let crash = (prop_oneof![3 => capture(), 1 => delete(), 2 => gc()], 0..60_u64, any::<bool>());
    prop_oneof![
        4 => (volume(), any::<u64>()).prop_map(|(volume, seed)| Step::Scribble { volume, seed }),
        3 => (volume(), volume(), any::<bool>(), any::<u64>())
            .prop_map(|(from, to, aligned, seed)| Step::Copy { from, to, aligned, seed }),
        2 => (volume(), size).prop_map(|(volume, bytes)| Step::Resize { volume, bytes }),
        6 => capture(),
        2 => (any::<usize>(), volume()).prop_map(|(snapshot, over)| Step::Restore { snapshot, over }),
        2 => delete(),
        1 => any::<usize>().prop_map(|snapshot| Step::Rename { snapshot }),
        2 => gc(),
        1 => Just(Step::Reopen),
        2 => crash.prop_map(|(step, call, once)| Step::Crash { step: Box::new(step), call, once }),
    ]
}

#[test]
pub(crate) fn random_histories_lose_nothing() {
    let mut config = Config { source_file: Some(file!()), max_shrink_iters: 2000, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let histories = proptest::collection::vec(step(), 1..30);
    let played = TestRunner::new(config).run(&histories, |steps| {
        let mut history =
            History::new([Random::new(71).disk(1 << 20), Random::new(72).disk(5 << 20), Vec::new()]);
        for step in &steps {
            history.take(step);
            history.check();
        }
        history.check_all();
        Ok(())
    });
    if let Err(failure) = played {
        panic!("{failure}");
    }
}
