//! Threads for what may be called by a worker of somebody's pool.

use std::io;
use std::thread;

use crate::words::error::Error;
use crate::words::error::Result;

/// Calls `what`, which waits for what its pool does. A worker calls it in a pool of its own: it may be the only worker of its pool, or
/// all others may wait as it does. Meanwhile it takes on no other work, which could wait for a lock that is held further up its stack.
pub(crate) fn apart<T: Send>(what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    if rayon::current_thread_index().is_none() {
        return what();
    }
    // `what` is on a thread of the pool itself.
    let workers = rayon::current_num_threads() + 1;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build();
    let pool = pool.map_err(|error| Error::io("starting threads", io::Error::other(error)))?;
    thread::scope(|threads| threads.spawn(|| pool.install(what)).join()).map_err(|_| Error::worker_lost())?
}
