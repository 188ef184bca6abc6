//! Retries for locks that another process holds only for a moment.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use icecore::ErrorKind;
use icecore::Result;

/// How long, and how often, to retry when another program seems to hold a lock.
const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(10);

/// Retries an operation that needs a file for itself. When this process starts a program, to import
/// an image for instance, the child has all files of this process open for a moment. So it also
/// holds the locks of files that were closed meanwhile.
pub(crate) fn patiently<T>(what: impl Fn() -> Result<T>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match what() {
            Err(error) if error.kind() == ErrorKind::InUse && Instant::now() < end => thread::sleep(PAUSE),
            done => return done,
        }
    }
}
