//! Threads: starting them with an error if the system refuses, and a pool for calls from the
//! workers of another pool.

use std::io;
use std::sync::mpsc;
use std::thread;

use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::sync::thread::Scope;
use crate::words::sync::thread::ScopedJoinHandle;

/// The number of threads that verbs start in addition to the workers: for packing, publishing,
/// merging, writing, progress.
const OTHER_THREADS: usize = 4;

/// Starts the workers that all verbs share: `wanted` of them, or as many as the system allows. A
/// program calls this before anything else. Without it, the first verb starts one worker per core,
/// and panics if there is one thread too few.
///
/// # Errors
/// `OutOfResources` if not even one starts.
pub fn start_workers(wanted: usize) -> Result<()> {
    let mut threads = Vec::new();
    while threads.len() < wanted.max(1) {
        let (give, given) = mpsc::sync_channel::<rayon::ThreadBuilder>(1);
        match thread::Builder::new().spawn(move || given.recv().map(rayon::ThreadBuilder::run)) {
            Ok(thread) => threads.push((give, thread)),
            Err(error) if threads.is_empty() => return Err(Error::no_thread(error)),
            Err(_) => {
                // The other threads of verbs need some of those that the system allows.
                for (give, thread) in threads.split_off(threads.len().saturating_sub(OTHER_THREADS).max(1)) {
                    drop(give);
                    // The thread has nothing to do, and ends.
                    let _ = thread.join();
                }
                break;
            }
        }
    }
    let workers = rayon::ThreadPoolBuilder::new().num_threads(threads.len());
    let mut threads = threads.into_iter();
    let workers = workers.spawn_handler(|worker| {
        let (give, _) = threads.next().ok_or(io::ErrorKind::Other)?;
        give.send(worker).map_err(|_| io::ErrorKind::Other.into())
    });
    // An error means that there are already workers.
    let _ = workers.build_global();
    Ok(())
}

/// Starts a thread of a scope.
///
/// # Errors
/// `OutOfResources` if the system refuses.
#[cfg(not(feature = "shuttle"))]
pub(crate) fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    thread::Builder::new().spawn_scoped(scope, work).map_err(Error::no_thread)
}

/// Starts a thread of a scope. Under the model checker it always starts.
#[cfg(feature = "shuttle")]
#[expect(clippy::disallowed_methods, reason = "it does not fail")]
pub(crate) fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    Ok(scope.spawn(work))
}

/// Calls `what`, which waits for the work of its pool. If the caller is a worker, `what` runs in a
/// new pool: the caller may be the only worker of its pool, or all others may wait in the same way.
/// Meanwhile the caller takes on no other work, which could wait for a lock held further up its
/// stack.
pub(crate) fn apart<T: Send>(what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    if rayon::current_thread_index().is_none() {
        return what();
    }
    // `what` runs on a thread of the pool itself.
    let workers = rayon::current_num_threads() + 1;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build();
    let pool = pool.map_err(|error| Error::no_thread(io::Error::other(error)))?;
    let work = || pool.install(what);
    thread::scope(|threads| {
        let thread = thread::Builder::new().spawn_scoped(threads, work).map_err(Error::no_thread)?;
        thread.join().map_err(|_| Error::worker_lost())?
    })
}
