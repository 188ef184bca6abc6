//! A storage that tells somebody of each call before it is made.

use std::io;
use std::sync::Arc;

use icecore::storage::Call;
use icecore::storage::LockGuard;
use icecore::storage::LockMode;
use icecore::storage::Storage;
use icecore::storage::Wait;
use icecore::storage::Watched;

/// What is told.
pub(crate) trait Watch: Send + Sync {
    /// A call of the storage is about to be made: its name, and the name of what it is about.
    fn before(&self, call: &'static str, name: &str);

    /// A lock that is to be waited for is held by another. Returns whether it is worth another try;
    /// otherwise the call waits.
    fn blocked(&self, _name: &str) -> bool {
        false
    }

    /// A lock was released.
    fn released(&self, _name: &str) {}
}

impl<F: Fn(&'static str, &str) + Send + Sync> Watch for F {
    fn before(&self, call: &'static str, name: &str) {
        self(call, name);
    }
}

/// Wraps a storage.
pub(crate) fn hooked<S>(inner: S, watch: Arc<dyn Watch>) -> Watched<S, Hook> {
    Watched::new(inner, Hook(watch))
}

pub(crate) struct Hook(Arc<dyn Watch>);

impl icecore::storage::Watch for Hook {
    fn before(&self, call: &Call<'_>) -> io::Result<()> {
        if !call.op.is_of_file() {
            self.0.before(call.op.method(), call.name);
        }
        Ok(())
    }

    fn lock<S: Storage + ?Sized>(
        &self,
        inner: &S,
        name: &str,
        mode: LockMode,
        wait: Wait,
    ) -> io::Result<Option<Box<dyn LockGuard>>> {
        let mut guard = inner.lock(name, mode, Wait::No)?;
        while guard.is_none() && wait == Wait::Yes {
            let how = if self.0.blocked(name) { Wait::No } else { Wait::Yes };
            guard = inner.lock(name, mode, how)?;
        }
        Ok(guard)
    }

    fn released(&self, name: &str) {
        self.0.released(name);
    }
}
