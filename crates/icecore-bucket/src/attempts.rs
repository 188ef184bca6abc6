//! Trying again, with pauses that differ from machine to machine, and not for ever.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::runtime::permit;
use crate::trouble::Trouble;

/// The slowest link that is waited for, in bytes a second.
const SLOWEST: u64 = 64 << 10;

/// The longest pause, also if a store asks for a longer one.
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// How often, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// The time for a request, beside that of its bytes on a slow link.
    pub(crate) request: Duration,
    /// The time from the first attempt on after which no other begins.
    pub(crate) whole: Duration,
    /// The first pause. Each is twice as long as the one before.
    pub(crate) pause: Duration,
    /// The most attempts.
    pub(crate) attempts: u32,
    /// The most attempts at a store that nothing has reached yet: its address may be wrong.
    pub(crate) first_attempts: u32,
}

impl Pace {
    pub(crate) fn new(request: Duration, whole: Duration) -> Self {
        Self { request, whole, pause: Duration::from_millis(100), attempts: 12, first_attempts: 3 }
    }

    /// Returns the time that a request with this many bytes may take.
    fn limit(&self, bytes: u64) -> Duration {
        self.request.saturating_add(Duration::from_secs(bytes / SLOWEST))
    }

    fn pause(&self, attempt: u32, trouble: &Trouble) -> Duration {
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        let calm = if trouble.is_overload() { 4 } else { 1 };
        let pause = self.pause.saturating_mul(factor).saturating_mul(calm);
        let asked = match trouble {
            Trouble::Refused(refusal) => Duration::from_secs(refusal.retry_after.unwrap_or(0)),
            _ => Duration::ZERO,
        };
        // At least half of it, so that the machines come back one after the other.
        let jittered = pause.min(PAUSE_MAX).mul_f64(0.5 + 0.5 * fraction());
        jittered.max(asked.min(PAUSE_MAX))
    }
}

/// Returns a random number from 0 to 1.
fn fraction() -> f64 {
    f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX)
}

/// The attempts at requests to one store.
pub(crate) struct Attempts {
    pace: Pace,
    reached: AtomicBool,
    cancelled: watch::Sender<bool>,
}

impl Attempts {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, reached: AtomicBool::new(false), cancelled: watch::Sender::new(false) }
    }

    /// Ends all requests, and those to come.
    pub(crate) fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Makes a call that moves about this many bytes until it has a result. The call is told which
    /// attempt it is, from 0 on.
    ///
    /// # Errors
    /// The trouble of the last attempt.
    pub(crate) async fn run<T>(
        &self,
        bytes: u64,
        call: impl AsyncFnMut(u32) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mut cancelled = self.cancelled.subscribe();
        tokio::select! {
            biased;
            _ = cancelled.wait_for(|cancelled| *cancelled) => Err(Trouble::Cancelled),
            done = self.repeat(bytes, call) => done,
        }
    }

    async fn repeat<T>(
        &self,
        bytes: u64,
        mut call: impl AsyncFnMut(u32) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let limit = self.pace.limit(bytes);
        let begun = Instant::now();
        let mut attempt = 0;
        loop {
            let permit = permit(bytes).await;
            let trouble = match timeout(limit, call(attempt)).await.unwrap_or(Err(Trouble::TimedOut)) {
                Ok(done) => {
                    self.reached.store(true, Ordering::Relaxed);
                    return Ok(done);
                }
                Err(trouble) => trouble,
            };
            drop(permit);
            attempt += 1;
            if trouble.is_answer() {
                self.reached.store(true, Ordering::Relaxed);
            }
            let attempts = match self.reached.load(Ordering::Relaxed) {
                true => self.pace.attempts,
                false => self.pace.first_attempts,
            };
            let late = begun.elapsed() >= self.pace.whole.saturating_add(limit - self.pace.request);
            if !trouble.may_pass() || attempt >= attempts || late {
                return Err(trouble);
            }
            sleep(self.pace.pause(attempt - 1, &trouble)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::runtime::Builder;

    use super::*;
    use crate::refusal::Refusal;

    /// Runs on a clock that stands still, but when everybody waits for it.
    fn on_paused_clock<T>(test: impl Future<Output = T>) -> T {
        Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test)
    }

    fn refused(status: u16) -> Trouble {
        Trouble::Refused(Box::new(Refusal { status, ..Refusal::default() }))
    }

    fn attempts() -> Attempts {
        Attempts::new(Pace::new(Duration::from_secs(30), Duration::from_secs(180)))
    }

    /// Returns those at a store that has answered before.
    async fn reached() -> Attempts {
        let attempts = attempts();
        assert_eq!(attempts.run(0, async |_| Ok(())).await, Ok(()));
        attempts
    }

    /// Makes a call that always fails so; returns how often, and how long that took.
    async fn failures(attempts: &Attempts, trouble: Trouble) -> (u32, Duration) {
        let (begun, mut calls) = (Instant::now(), 0);
        let failed = attempts.run(0, async |attempt| {
            assert_eq!(attempt, calls);
            calls += 1;
            Err::<(), _>(trouble.clone())
        });
        assert_eq!(failed.await, Err(trouble.clone()));
        (calls, begun.elapsed())
    }

    #[test]
    fn what_may_pass_is_tried_again_and_nothing_else() {
        on_paused_clock(async {
            let third = async |attempt| if attempt < 2 { Err(refused(503)) } else { Ok(attempt) };
            assert_eq!(attempts().run(0, third).await, Ok(2));
            for (trouble, calls) in [
                (refused(403), 1),
                (Trouble::Missing, 1),
                (Trouble::Tls("x".into()), 1),
                (Trouble::NoCredentials, 1),
                (refused(500), 12),
                (Trouble::Cut("x".into()), 12),
            ] {
                let attempts = reached().await;
                assert_eq!(failures(&attempts, trouble.clone()).await.0, calls, "{trouble:?}");
            }
        });
    }

    #[test]
    fn a_store_that_nothing_has_reached_is_soon_given_up() {
        on_paused_clock(async {
            for away in [Trouble::Unreachable("x".into()), Trouble::TimedOut, Trouble::Cut("x".into())] {
                assert_eq!(failures(&attempts(), away.clone()).await.0, 3);
                assert_eq!(failures(&reached().await, away).await.0, 12);
            }
            assert_eq!(failures(&attempts(), refused(500)).await.0, 12);
        });
    }

    #[test]
    fn no_attempt_begins_after_the_limit_of_the_whole() {
        on_paused_clock(async {
            let (reached, begun) = (reached().await, Instant::now());
            let silent = reached.run(0, async |_| pending::<Result<(), Trouble>>().await).await;
            assert_eq!(silent, Err(Trouble::TimedOut));
            // Six attempts of 30 s fit into 180 s, with pauses between them.
            let taken = begun.elapsed();
            assert!(taken >= Duration::from_secs(180) && taken < Duration::from_secs(215), "{taken:?}");
        });
    }

    #[test]
    fn many_bytes_have_more_time() {
        on_paused_clock(async {
            let pace = Pace { attempts: 1, ..Pace::new(Duration::from_secs(30), Duration::ZERO) };
            let begun = Instant::now();
            let attempts = Attempts::new(pace);
            let silent = attempts.run(64 << 20, async |_| pending::<Result<(), Trouble>>().await);
            assert_eq!(silent.await, Err(Trouble::TimedOut));
            assert_eq!(begun.elapsed().as_secs(), 30 + 1024);
        });
    }

    #[test]
    fn a_store_that_asks_for_time_gets_it() {
        on_paused_clock(async {
            let asks = Refusal { status: 503, retry_after: Some(7), ..Refusal::default() };
            let asks = Trouble::Refused(Box::new(asks));
            let begun = Instant::now();
            let second = async |attempt| if attempt == 0 { Err(asks.clone()) } else { Ok(()) };
            assert_eq!(attempts().run(0, second).await, Ok(()));
            assert!(begun.elapsed() >= Duration::from_secs(7));
        });
    }

    #[test]
    fn pauses_grow_to_a_limit_and_are_longer_for_an_overload() {
        let pace = Pace::new(Duration::from_secs(30), Duration::from_secs(180));
        for (attempt, trouble, low, high) in [
            (0, Trouble::TimedOut, 50, 100),
            (3, Trouble::TimedOut, 400, 800),
            (0, refused(503), 200, 400),
            (40, Trouble::TimedOut, 10_000, 20_000),
        ] {
            let pause = pace.pause(attempt, &trouble).as_millis();
            assert!((low..=high).contains(&pause), "{attempt}: {pause}");
        }
    }

    #[test]
    fn cancelling_ends_what_waits_and_what_comes() {
        on_paused_clock(async {
            let attempts = attempts();
            let waiting = attempts.run(0, async |_| {
                attempts.cancel();
                pending::<Result<(), Trouble>>().await
            });
            assert_eq!(waiting.await, Err(Trouble::Cancelled));
            assert_eq!(attempts.run(0, async |_| Ok(())).await, Err(Trouble::Cancelled));
        });
    }
}
