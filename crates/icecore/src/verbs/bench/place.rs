//! The environment of a benchmark: a clock, and places to write to.

use std::time::Duration;

use crate::words::error::Result;
use crate::world::io::WriteAt;
use crate::world::place::Place;

/// The resources that a benchmark needs from its caller.
#[derive(Clone, Copy)]
pub struct BenchPlace<'a> {
    /// Returns the time since some fixed moment, and never goes back.
    pub clock: &'a dyn Fn() -> Duration,
    /// Returns an empty place for a repository. The place of an earlier call is no longer used and
    /// may be removed.
    pub repository: &'a dyn Fn() -> Result<Place>,
    /// Returns a new target of this many bytes that reads as zeros, usually a sparse file. It may
    /// be removed once it is dropped.
    pub target: &'a dyn Fn(u64) -> Result<Box<dyn WriteAt>>,
}

/// The options of a benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BenchOptions {
    /// The zstd level.
    pub level: i32,
    /// The most data of the images to use, spread evenly over them; without a limit, all of it.
    pub data_bytes_max: Option<u64>,
}

/// A stopwatch that measures in seconds.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    pub(crate) clock: &'a dyn Fn() -> Duration,
    /// How often short work is measured.
    pub(crate) repeats: usize,
}

impl Watch<'_> {
    /// Runs `work` once. Returns its result and the time.
    pub(crate) fn once<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
        let begin = (self.clock)();
        let done = work()?;
        Ok((done, (self.clock)().saturating_sub(begin).as_secs_f64()))
    }

    /// Runs `work` several times. Returns the last result and the median of the times.
    pub(crate) fn median<T>(&self, work: impl FnMut() -> Result<T>) -> Result<(T, f64)> {
        self.median_after(|| Ok(()), work)
    }

    /// Does the same, with an unmeasured preparation before each run.
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

    /// Returns the median of the times that `measure` returns.
    pub(crate) fn median_of(&self, measure: impl FnMut() -> Result<f64>) -> Result<f64> {
        let mut times =
            std::iter::repeat_with(measure).take(self.repeats.max(1)).collect::<Result<Vec<f64>>>()?;
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }
}
