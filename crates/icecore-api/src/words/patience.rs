//! Retries for locks that another process holds only for a moment.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use icecore::ErrorKind;
use icecore::Result;

/// How long something is tried again that another program seems to use, and how often.
const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(10);

/// Does something that needs a file for itself. A program that is just being started by this one,
/// to import an image for instance, has all files of this process open for a moment, and with them
/// the locks of those that were closed meanwhile.
pub(crate) fn patiently<T>(what: impl Fn() -> Result<T>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match what() {
            Err(error) if error.kind() == ErrorKind::InUse && Instant::now() < end => thread::sleep(PAUSE),
            done => return done,
        }
    }
}
