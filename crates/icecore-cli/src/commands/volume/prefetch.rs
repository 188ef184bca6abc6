//! `--prefetch`: fetches the data of snapshots ahead of their readers.

use std::sync::Arc;
use std::thread;

use icecore::Error;
use icecore::Meter;
use icecore::Progress;
use icecore::Result;
use icecore::repository::Repository;
use icecore::snapshot::BlockCache;
use icecore::snapshot::SnapshotId;
use icecore::volume::Prefetch;
use icecore::volume::PrefetchEnd;
use icecore::volume::PrefetchExtent;
use icecore::volume::PrefetchReport;

use crate::app::App;
use crate::exit::Verdict;
use crate::host;
use crate::units;

/// What is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Extent {
    /// What was recorded
    Recorded,
    /// That first, then everything
    All,
}

impl From<Extent> for PrefetchExtent {
    fn from(extent: Extent) -> Self {
        match extent {
            Extent::Recorded => Self::Recorded,
            Extent::All => Self::All,
        }
    }
}

/// Stops when the process is asked to.
struct WhileServing;

impl Progress for WhileServing {
    fn total(&self, _meter: Meter, _total: u64) {}

    fn advance(&self, _meter: Meter, _amount: u64) {}

    fn cancelled(&self) -> bool {
        host::asked_to_stop()
    }
}

/// Fetches snapshots, one after another, while the process does other work. It ends with the
/// process at the latest.
pub(crate) fn in_background(app: &App, snapshots: Vec<(String, Prefetch)>, extent: Extent) -> Result<()> {
    let ui = app.ui;
    let bytes_max = app.place()?.at.near_bytes_max();
    let work = move || {
        for (name, snapshot) in snapshots {
            match snapshot.run(extent.into(), bytes_max, &WhileServing) {
                Ok(report) if report.end == PrefetchEnd::Stopped => return,
                Ok(report) => ui.note(&told(&name, &report)),
                Err(_) if host::asked_to_stop() => return,
                Err(error) => ui.warn(&format!("not all of {name} was prefetched: {error}")),
            }
        }
    };
    thread::Builder::new().spawn(work).map_err(|error| Error::io("starting to prefetch", error))?;
    Ok(())
}

/// Fetches a snapshot, and shows the progress.
pub(crate) fn in_foreground(
    app: &App,
    repo: &Arc<Repository>,
    snapshot: SnapshotId,
    extent: Extent,
) -> Result<Verdict> {
    let bytes_max = app.place()?.at.near_bytes_max();
    let fetched = {
        let running = app.ui.progress("prefetching");
        Prefetch::of_snapshot(Arc::clone(repo), snapshot, &BlockCache::usual())
            .and_then(|prefetch| prefetch.run(extent.into(), bytes_max, &running))
    };
    match fetched {
        Ok(report) if report.end == PrefetchEnd::Stopped => {
            app.ui.warn("the prefetch was stopped; the volume is whole without it");
        }
        Ok(report) => {
            app.ui.note(&told("the snapshot", &report));
            return Ok(Verdict::Clean);
        }
        Err(error) => {
            app.ui.warn(&format!("the prefetch failed; the volume is whole without it: {error}"));
        }
    }
    Ok(Verdict::from_findings(true))
}

fn told(name: &str, report: &PrefetchReport) -> String {
    let bytes = units::bytes(report.bytes);
    let first = match report.has_record {
        true => format!("first {} that was recorded", units::bytes(report.recorded_bytes)),
        false => "nothing was recorded of it".to_owned(),
    };
    let rest = match report.end {
        PrefetchEnd::Full => "; there is no room for the rest",
        PrefetchEnd::Complete | PrefetchEnd::Stopped => "",
    };
    format!("prefetched {bytes} of {name}, {first}{rest}")
}
