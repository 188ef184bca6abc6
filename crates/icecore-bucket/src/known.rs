//! An object that has just been read, and need not be read once more.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;

use crate::fetch::Fetch;
use crate::fetch::Tail;

/// Answers the first request for the end of one object from memory, and passes on all others.
pub(crate) struct Known {
    name: String,
    object: Mutex<Option<Bytes>>,
    behind: Arc<dyn Fetch>,
}

impl Known {
    pub(crate) fn new(name: &str, object: Vec<u8>, behind: Arc<dyn Fetch>) -> Self {
        Self { name: name.to_owned(), object: Mutex::new(Some(object.into())), behind }
    }
}

impl Fetch for Known {
    fn get(&self, name: &str, range: Range<u64>) -> io::Result<Bytes> {
        self.behind.get(name, range)
    }

    fn tail(&self, name: &str, bytes_max: u64) -> io::Result<Tail> {
        if name == self.name {
            let known = self.object.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(bytes) = known.filter(|bytes| bytes.len() as u64 <= bytes_max) {
                return Ok(Tail { object_bytes: bytes.len() as u64, bytes });
            }
        }
        self.behind.tail(name, bytes_max)
    }

    fn head(&self, name: &str) -> io::Result<u64> {
        self.behind.head(name)
    }
}
