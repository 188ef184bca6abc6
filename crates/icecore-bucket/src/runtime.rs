//! The one runtime of a process, on which all requests run, and how much of them there may be.

use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::runtime::Builder;
use tokio::runtime::Handle;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;

/// The threads that move bytes. Those who wait for a request wait on their own.
const WORKERS: usize = 2;

/// The most requests in flight.
const REQUESTS: usize = 32;

/// The most bytes in flight, in units: what requests send and receive.
const UNITS: u32 = 4096;

/// The bytes of a unit.
const UNIT_BYTES: u64 = 64 << 10;

static RUNTIME: Mutex<Option<&'static Runtime>> = Mutex::new(None);
static IN_FLIGHT: Semaphore = Semaphore::const_new(REQUESTS);
static BYTES_IN_FLIGHT: Semaphore = Semaphore::const_new(UNITS as usize);

/// Returns the runtime, which is started if needed and stays as long as the process.
///
/// # Errors
/// Those of starting threads.
pub(crate) fn runtime() -> io::Result<&'static Handle> {
    let mut started = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = *started {
        return Ok(runtime.handle());
    }
    let name = "icecore-bucket";
    let runtime =
        Builder::new_multi_thread().worker_threads(WORKERS).thread_name(name).enable_all().build()?;
    let runtime: &'static Runtime = Box::leak(Box::new(runtime));
    *started = Some(runtime);
    Ok(runtime.handle())
}

/// The right to have a request in flight.
pub(crate) struct Permit {
    _bytes: Option<SemaphorePermit<'static>>,
    _request: Option<SemaphorePermit<'static>>,
}

/// Waits until a request that moves this many bytes may go.
pub(crate) async fn permit(bytes: u64) -> Permit {
    let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(UNITS).clamp(1, UNITS);
    // They are never closed. Everybody takes bytes first, so nobody waits for one who waits.
    let bytes = BYTES_IN_FLIGHT.acquire_many(units).await.ok();
    Permit { _bytes: bytes, _request: IN_FLIGHT.acquire().await.ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_all_bytes_go_alone() {
        runtime().unwrap().block_on(async {
            drop(permit(u64::MAX).await);
            drop(permit(0).await);
        });
    }

    #[test]
    fn there_is_one_runtime() {
        assert_eq!(runtime().unwrap().id(), runtime().unwrap().id());
    }
}
