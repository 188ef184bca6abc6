//! A storage that fails on purpose, for tests.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use icecore::storage::Call;
use icecore::storage::Mapped;
use icecore::storage::Op;
use icecore::storage::Watch;
use icecore::storage::Watched;

use crate::fault::Calls;
use crate::fault::Fault;

/// A storage whose calls fail as a fault decides. Listing an empty directory does not count as a
/// call.
pub type FaultStorage<S> = Watched<S, Fault>;

/// Returns a storage whose `n`-th changing call (from 0) and all later ones fail with `kind`, as
/// after a crash.
pub fn failing_from<S>(inner: S, n: u64, kind: io::ErrorKind) -> FaultStorage<S> {
    Watched::new(inner, Fault::new(Calls::Changes, n..u64::MAX, move || kind.into()))
}

/// Returns a storage in which only the `n`-th changing call (from 0) fails, with `kind`.
pub fn failing_once<S>(inner: S, n: u64, kind: io::ErrorKind) -> FaultStorage<S> {
    Watched::new(inner, Fault::new(Calls::Changes, n..n.saturating_add(1), move || kind.into()))
}

impl Watch for Fault {
    fn before(&self, call: &Call<'_>) -> io::Result<()> {
        match call.op {
            Op::List | Op::ListDirs => Ok(()),
            op if op.is_read() => self.read(op.method(), call.name),
            op => self.change(op.method(), call.name),
        }
    }

    fn listed(&self, call: &Call<'_>, names: &[String]) -> io::Result<()> {
        if names.is_empty() { Ok(()) } else { self.read(call.op.method(), call.name) }
    }

    /// A failing write may have written a part.
    fn torn(&self, bytes: usize) -> usize {
        bytes / 2
    }

    fn mapped(&self, name: &str, inner: Mapped) -> Mapped {
        let (broken, zeros) = (Arc::default(), vec![0; inner.len()]);
        let map = FaultMap {
            inner,
            zeros,
            broken: Arc::clone(&broken),
            name: name.to_owned(),
            fault: self.clone(),
        };
        Mapped::that_may_break(map, broken)
    }
}

struct FaultMap {
    inner: Mapped,
    zeros: Vec<u8>,
    broken: Arc<AtomicBool>,
    name: String,
    fault: Fault,
}

impl AsRef<[u8]> for FaultMap {
    fn as_ref(&self) -> &[u8] {
        if self.fault.look(&self.name).is_err() {
            self.broken.store(true, Ordering::SeqCst);
        }
        if self.broken.load(Ordering::SeqCst) { &self.zeros } else { &self.inner }
    }
}
