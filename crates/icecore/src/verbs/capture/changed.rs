//! The possible differences between an image and the snapshot that it was derived from.

use std::ops::Range;

use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::sizes::SPAN_BYTES;
use crate::words::sizes::to_u64;
use crate::words::units::LeafNumber;

/// Spans of an image, in order. Memory grows with the number of partly covered leaf regions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    runs: Vec<LeafRun>,
}

/// Consecutive leaf regions that have the same spans, with a bit for each span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LeafRun {
    first: LeafNumber,
    leaves: u64,
    spans: u64,
}

impl Changed {
    /// Adds a range of bytes, and with it all spans that it touches. It must begin in or after the
    /// leaf region in which the last one ends.
    ///
    /// # Errors
    /// `InvalidInput` if it does not.
    pub(crate) fn add(&mut self, range: Range<u64>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let (first, last) = (LeafNumber::of(range.start), LeafNumber::of(range.end - 1));
        self.add_leaves(first, 1, first.span_mask(&range))?;
        if first == last {
            return Ok(());
        }
        self.add_leaves(first.next(), last.0 - first.0 - 1, u64::MAX)?;
        self.add_leaves(last, 1, last.span_mask(&range))
    }

    /// Adds the spans whose bits are set, in each of `leaves` leaf regions from number `first` on.
    /// The first region must not come before the last one here.
    ///
    /// # Errors
    /// `InvalidInput` if it does.
    pub(crate) fn add_leaves(&mut self, first: LeafNumber, leaves: u64, spans: u64) -> Result<()> {
        if leaves == 0 || spans == 0 {
            return Ok(());
        }
        let Some(last) = self.runs.last_mut() else {
            self.runs.push(LeafRun { first, leaves, spans });
            return Ok(());
        };
        let end = last.end();
        if first.next() < end {
            let (first, end) = (first.0, end.0);
            let why = format!("leaf region {first} comes behind region {} among what has changed", end - 1);
            return Err(Error::new(ErrorKind::InvalidInput, why));
        }
        if first < end {
            let both = last.spans | spans;
            last.leaves -= 1;
            if last.leaves == 0 {
                self.runs.pop();
            }
            self.push(LeafRun { first, leaves: 1, spans: both });
            self.push(LeafRun { first: end, leaves: leaves - 1, spans });
        } else {
            self.push(LeafRun { first, leaves, spans });
        }
        Ok(())
    }

    /// Adds a run that begins after all others.
    fn push(&mut self, run: LeafRun) {
        match self.runs.last_mut() {
            _ if run.leaves == 0 => {}
            Some(last) if last.spans == run.spans && last.end() == run.first => {
                last.leaves += run.leaves;
            }
            _ => self.runs.push(run),
        }
    }

    /// Returns an upper bound of the bytes that it covers in an image of `image_bytes`.
    pub(crate) fn bytes_at_most(&self, image_bytes: u64) -> u64 {
        let of_run =
            |run: &LeafRun| u64::from(run.spans.count_ones()).saturating_mul(run.leaves * to_u64(SPAN_BYTES));
        self.runs.iter().map(of_run).fold(0, u64::saturating_add).min(image_bytes)
    }

    /// Returns the first leaf region with number `from` or higher, and its spans.
    pub(crate) fn next(&self, from: LeafNumber) -> Option<(LeafNumber, u64)> {
        let at = self.runs.partition_point(|run| run.end() <= from);
        self.runs.get(at).map(|run| (run.first.max(from), run.spans))
    }
}

impl LeafRun {
    /// Returns the number of the region after it.
    fn end(&self) -> LeafNumber {
        LeafNumber(self.first.0 + self.leaves)
    }
}
