//! Tests that are about everything, once more on sealed repositories. `ICECORE_TEST_SEALED=1` runs all
//! of the tests so; those that look at bytes fail then.

use icecore_testing::repository::on_sealed_repositories;

use crate::at_once;
use crate::crash;
use crate::exhaust;
use crate::faults;
use crate::model;
use crate::volumes;

macro_rules! again {
    ($($name:ident: $test:path;)+) => {
        $(#[test]
        fn $name() {
            on_sealed_repositories($test);
        })+
    };
}

again! {
    an_init_crashes: crash::catalog::an_init;
    one_operation_after_another_crashes: crash::catalog::one_operation_after_another;
    a_verification_fails: faults::a_verification_calls_nothing_damaged_that_it_could_not_read;
    a_small_capture_crashes: crash::capture::a_small_capture;
    a_gc_crashes: crash::collect::a_gc;
    a_gc_fails: faults::a_gc_that_fails_anywhere_loses_nothing;
    whatever_is_done_between_two_calls: at_once::whatever_is_done_between_two_calls_of_an_operation;
    every_file_is_removed_zeroed_swapped_and_replaced: exhaust::every_file_is_removed_zeroed_swapped_and_replaced;
    random_histories: model::random_histories_lose_nothing;
    random_histories_of_a_volume: volumes::model::random_histories_of_a_volume_are_those_of_a_plain_image;
}
