//! Progress on a terminal, and requests to stop.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::Sender;
use std::thread::Builder;
use std::thread::JoinHandle;
use std::time::Duration;

use icecore::Meter;
use icecore::Progress;
use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;

use crate::host;
use crate::host::Stopwatch;
use crate::ui::out::printable;
use crate::units;

/// An operation shorter than this shows no progress.
const PATIENCE: Duration = Duration::from_millis(500);
const REDRAW: Duration = Duration::from_millis(100);
/// The meters that can drive the bar, best first.
const LEADING: [Meter; 6] =
    [Meter::Scanned, Meter::Restored, Meter::Rewritten, Meter::Checked, Meter::Protected, Meter::Fetched];
/// The longest text before the bar, in characters.
const PREFIX_MAX: usize = 32;
const WITH_TOTAL: &str = "{prefix} [{bar:24}] {msg}, {binary_bytes_per_sec}, {eta} left";
const WITHOUT_TOTAL: &str = "{prefix} {spinner} {msg}";

/// A running operation. It is cheap to advance from any thread; another thread draws.
pub(crate) struct Running {
    counters: Arc<Counters>,
    painter: Option<(Sender<()>, JoinHandle<()>)>,
    /// Its start, and its time limit.
    limit: Option<(Stopwatch, Duration)>,
}

struct Counters {
    done: [AtomicU64; 9],
    total: [AtomicU64; 9],
    stop: Arc<AtomicBool>,
}

fn index(meter: Meter) -> usize {
    match meter {
        Meter::Scanned => 0,
        Meter::New => 1,
        Meter::Stored => 2,
        Meter::Restored => 3,
        Meter::Checked => 4,
        Meter::Pages => 5,
        Meter::Rewritten => 6,
        Meter::Protected => 7,
        Meter::Fetched => 8,
    }
}

impl Counters {
    fn done(&self, meter: Meter) -> u64 {
        self.done[index(meter)].load(Ordering::Relaxed)
    }

    fn total(&self, meter: Meter) -> u64 {
        self.total[index(meter)].load(Ordering::Relaxed)
    }
}

impl Running {
    /// Starts to count, and to listen for requests to stop; draws only if `shown`.
    pub(crate) fn start(what: &str, shown: bool) -> Self {
        let counters = Arc::new(Counters {
            done: Default::default(),
            total: Default::default(),
            stop: host::stop_flag(),
        });
        // Without a thread, nothing is drawn.
        let painter = shown.then_some(()).and_then(|()| {
            let (ended, wait) = mpsc::channel();
            let counters = Arc::clone(&counters);
            let what = what.to_owned();
            let painting = Builder::new().spawn(move || paint(&what, &counters, &wait)).ok()?;
            Some((ended, painting))
        });
        Self { counters, painter, limit: None }
    }

    /// Limits the remaining time, from now on.
    pub(crate) fn limited_to(mut self, time: Option<Duration>) -> Self {
        self.limit = time.map(|time| (Stopwatch::start(), time));
        self
    }
}

impl Progress for Running {
    fn total(&self, meter: Meter, total: u64) {
        self.counters.total[index(meter)].store(total, Ordering::Relaxed);
    }

    fn advance(&self, meter: Meter, amount: u64) {
        self.counters.done[index(meter)].fetch_add(amount, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.counters.stop.load(Ordering::Relaxed)
    }

    fn time_is_up(&self) -> bool {
        self.limit.is_some_and(|(since, time)| since.elapsed() >= time)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some((ended, painter)) = self.painter.take() {
            drop(ended);
            // A drawing thread that failed has nothing more to show.
            let _ = painter.join();
        }
    }
}

fn paint(what: &str, counters: &Counters, wait: &mpsc::Receiver<()>) {
    let watch = Stopwatch::start();
    // While hidden, the bar learns the rate, but draws nothing.
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    bar.set_prefix(shortened(what));
    let mut has_total = None;
    let mut told = false;
    while wait.recv_timeout(REDRAW) == Err(RecvTimeoutError::Timeout) {
        if bar.is_hidden() && watch.elapsed() >= PATIENCE {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        if counters.stop.load(Ordering::Relaxed) && !told {
            told = true;
            bar.println("stopping cleanly (press Ctrl-C again to end at once)");
        }
        draw(&bar, counters, &mut has_total);
    }
    bar.finish_and_clear();
}

/// Returns a text short enough to leave space on the line.
fn shortened(text: &str) -> String {
    let text = printable(text);
    if text.chars().count() <= PREFIX_MAX {
        return text.into_owned();
    }
    text.chars().take(PREFIX_MAX - 1).chain(['…']).collect()
}

fn draw(bar: &ProgressBar, counters: &Counters, has_total: &mut Option<bool>) {
    let leading = LEADING.into_iter().find(|meter| counters.total(*meter) > 0 || counters.done(*meter) > 0);
    let total = leading.map_or(0, |meter| counters.total(meter));
    if *has_total != Some(total > 0) {
        *has_total = Some(total > 0);
        let template = if total > 0 { WITH_TOTAL } else { WITHOUT_TOTAL };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
    }
    let done = leading.map_or(0, |meter| counters.done(meter));
    if total > 0 {
        let done = done.min(total);
        bar.set_length(total);
        bar.set_message(format!(
            "{} of {}{}",
            units::bytes(done),
            units::bytes(total),
            news(counters, leading)
        ));
        bar.set_position(done);
    } else {
        let pages = units::count(counters.done(Meter::Pages), "manifest page");
        bar.set_message(if done > 0 { units::bytes(done) } else { pages });
        bar.tick();
    }
}

/// Returns how much new data a capture has found.
fn news(counters: &Counters, leading: Option<Meter>) -> String {
    if leading == Some(Meter::Scanned) {
        format!(", {} new", units::bytes(counters.done(Meter::New)))
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_many_threads_add_up() {
        let running = Running::start("test", false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| running.advance(Meter::Scanned, 3)));
            }
        });
        running.total(Meter::Scanned, 5000);
        assert_eq!(running.counters.done(Meter::Scanned), 1200);
        assert_eq!(running.counters.total(Meter::Scanned), 5000);
        assert!(!running.cancelled());
    }
}
