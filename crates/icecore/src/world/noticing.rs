//! A record of when this process lacked permission, file descriptors or memory.
//!
//! Many places treat an error of one file as a problem of that file, and continue. These errors say
//! nothing about the stored data, so code that is about to report damage asks here first.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::error::is_shortage;
use crate::world::watched::Call;
use crate::world::watched::Watch;

/// The record so far. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Shortages(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    count: u64,
    /// The last error: its object, and its number or kind.
    last: Option<(String, Option<i32>)>,
}

impl Shortages {
    /// Returns the number of recorded errors.
    pub(crate) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// Returns an error if there was one since there were `since`.
    pub(crate) fn check(&self, since: u64) -> Result<()> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &seen.last {
            Some((name, code)) if seen.count > since => {
                let error = code.map_or(io::ErrorKind::OutOfMemory.into(), io::Error::from_raw_os_error);
                Err(Error::stored_io(format!("reading {name}"), error))
            }
            _ => Ok(()),
        }
    }
}

/// Records shortages, and a lack of permission to read. A lack of permission to change is not
/// recorded: much can be done without it.
impl Watch for Shortages {
    fn after(&self, call: &Call<'_>, error: Option<&io::Error>) {
        let denied = |error: &io::Error| call.op.is_read() && error.kind() == io::ErrorKind::PermissionDenied;
        if let Some(error) = error.filter(|error| is_shortage(error) || denied(error)) {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.count += 1;
            seen.last = Some((call.name.to_owned(), error.raw_os_error()));
        }
    }
}
