//! Keeps threads that want the same piece from fetching it more than once.

use std::collections::HashSet;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::PoisonError;

/// The pieces that are being fetched.
#[derive(Default)]
pub(super) struct Flights {
    under_way: Mutex<HashSet<(String, u64)>>,
    landed: Condvar,
}

/// The right to fetch a piece, until it is dropped.
pub(super) struct Flight<'a> {
    flights: &'a Flights,
    piece: (String, u64),
}

impl Flights {
    /// Waits until nobody else fetches a piece. A thread holds one at a time, so none waits for
    /// itself.
    pub(super) fn begin(&self, name: &str, number: u64) -> Flight<'_> {
        let piece = (name.to_owned(), number);
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        while !under_way.insert(piece.clone()) {
            under_way = self.landed.wait(under_way).unwrap_or_else(PoisonError::into_inner);
        }
        Flight { flights: self, piece }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut under_way = self.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.piece);
        self.flights.landed.notify_all();
    }
}
