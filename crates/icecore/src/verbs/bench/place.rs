//! What a benchmark is given: a clock, and places to write to.

use std::sync::Arc;
use std::time::Duration;

use crate::words::error::Result;
use crate::world::io::WriteAt;
use crate::world::storage::Storage;

/// What a benchmark needs of the outside.
#[derive(Clone, Copy)]
pub struct BenchPlace<'a> {
    /// Tells the time since some moment, and never goes back.
    pub clock: &'a dyn Fn() -> Duration,
    /// Returns an empty storage for a repository. What an earlier call returned is not used any
    /// more and can go.
    pub storage: &'a dyn Fn() -> Result<Arc<dyn Storage>>,
    /// Returns a new target of so many bytes that reads as zeros, a sparse file most often. It can
    /// go when it is dropped.
    pub target: &'a dyn Fn(u64) -> Result<Box<dyn WriteAt>>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BenchOptions {
    /// The zstd level.
    pub level: i32,
    /// How much of the images' data is used at most, chosen evenly over them; all of it where there
    /// is no limit.
    pub data_bytes_max: Option<u64>,
}

/// Measures times, in seconds.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    pub(crate) clock: &'a dyn Fn() -> Duration,
    /// How often what is short is measured.
    pub(crate) repeats: usize,
}

impl Watch<'_> {
    /// Does something once.
    pub(crate) fn once<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
        let begin = (self.clock)();
        let done = work()?;
        Ok((done, (self.clock)().saturating_sub(begin).as_secs_f64()))
    }

    /// Does something several times. Returns what came of it last, and the median of the times.
    pub(crate) fn median<T>(&self, work: impl FnMut() -> Result<T>) -> Result<(T, f64)> {
        self.median_after(|| Ok(()), work)
    }

    /// The same, with a preparation before each time that is not measured.
    pub(crate) fn median_after<T>(
        &self,
        prepare: impl Fn() -> Result<()>,
        mut work: impl FnMut() -> Result<T>,
    ) -> Result<(T, f64)> {
        prepare()?;
        let (mut done, first) = self.once(&mut work)?;
        let mut times = vec![first];
        for _ in 1..self.repeats {
            prepare()?;
            let (again, time) = self.once(&mut work)?;
            done = again;
            times.push(time);
        }
        times.sort_by(f64::total_cmp);
        Ok((done, times[times.len() / 2]))
    }

    /// Returns the median of times that `measure` tells.
    pub(crate) fn median_of(&self, measure: impl FnMut() -> Result<f64>) -> Result<f64> {
        let mut times =
            std::iter::repeat_with(measure).take(self.repeats.max(1)).collect::<Result<Vec<f64>>>()?;
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }
}
