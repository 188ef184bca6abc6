//! What the tests of sealed repositories stand on.

use icecore::repository::InitOptions;
use icecore::repository::Secrets;
use icecore_testing::repository::init_options;

/// Returns what a repository with these secrets is made of.
pub(crate) fn repository(secrets: Secrets) -> InitOptions {
    InitOptions { secrets, ..init_options() }
}
