//! Threads: an error where the system gives none, and some for what may be called by a worker of somebody's pool.

use std::io;
use std::sync::mpsc;
use std::thread;

use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::sync::thread::Scope;
use crate::words::sync::thread::ScopedJoinHandle;

/// Threads that verbs start besides the workers: for packing, publishing, merging, writing, progress.
const OTHER_THREADS: usize = 4;

/// Starts the workers that all verbs share, `wanted` of them or as many as the system gives: for a program to call before it does anything
/// else. Without it, the first verb starts one for each core, and panics where there is a thread too few.
///
/// # Errors
/// `OutOfResources` if there is not even one.
pub fn start_workers(wanted: usize) -> Result<()> {
    let mut threads = Vec::new();
    while threads.len() < wanted.max(1) {
        let (give, given) = mpsc::sync_channel::<rayon::ThreadBuilder>(1);
        match thread::Builder::new().spawn(move || given.recv().map(rayon::ThreadBuilder::run)) {
            Ok(thread) => threads.push((give, thread)),
            Err(error) if threads.is_empty() => return Err(Error::no_thread(error)),
            Err(_) => {
                // The others need some of those that there are.
                for (give, thread) in threads.split_off(threads.len().saturating_sub(OTHER_THREADS).max(1)) {
                    drop(give);
                    // It has nothing to do, and ends.
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
    // An error is that there are workers already.
    let _ = workers.build_global();
    Ok(())
}

/// Starts a thread of a scope.
///
/// # Errors
/// `OutOfResources` where the system gives none.
#[cfg(not(feature = "shuttle"))]
pub(crate) fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    thread::Builder::new().spawn_scoped(scope, work).map_err(Error::no_thread)
}

/// Starts a thread of a scope. That of the model checker always starts.
#[cfg(feature = "shuttle")]
#[expect(clippy::disallowed_methods, reason = "it does not fail")]
pub(crate) fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    Ok(scope.spawn(work))
}

/// Calls `what`, which waits for what its pool does. A worker calls it in a pool of its own: it may be the only worker of its pool, or
/// all others may wait as it does. Meanwhile it takes on no other work, which could wait for a lock that is held further up its stack.
pub(crate) fn apart<T: Send>(what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    if rayon::current_thread_index().is_none() {
        return what();
    }
    // `what` is on a thread of the pool itself.
    let workers = rayon::current_num_threads() + 1;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build();
    let pool = pool.map_err(|error| Error::no_thread(io::Error::other(error)))?;
    let work = || pool.install(what);
    thread::scope(|threads| {
        let thread = thread::Builder::new().spawn_scoped(threads, work).map_err(Error::no_thread)?;
        thread.join().map_err(|_| Error::worker_lost())?
    })
}
