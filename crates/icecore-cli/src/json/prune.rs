//! JSON of `snapshot prune`.

use icecore::snapshot::OwnBytes;
use icecore::snapshot::retention::Decision;
use icecore::snapshot::retention::Plan;
use serde::Serialize;

use crate::json::snapshot::Snapshot;

/// The result of `snapshot prune`.
#[derive(Serialize)]
pub(crate) struct PruneResult {
    dry_run: bool,
    kept: Vec<Kept>,
    deleted: Vec<Snapshot>,
    in_use: Vec<InUse>,
    own_bytes: Option<u64>,
    freed_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Kept {
    snapshot: Snapshot,
    rules: Vec<String>,
}

#[derive(Serialize)]
struct InUse {
    snapshot: Snapshot,
    reason: String,
}

impl PruneResult {
    /// `in_use` lists the snapshots that could not be deleted, each with the reason. `own` is the
    /// data that only the snapshots to be deleted use, if it was counted.
    pub(crate) fn new(
        plan: &Plan,
        deleted: &[icecore::snapshot::Snapshot],
        in_use: &[(icecore::snapshot::Snapshot, String)],
        own: Option<OwnBytes>,
        dry_run: bool,
    ) -> Self {
        let kept = plan.decisions.iter().filter(|decision| !decision.goes());
        let left = |(snapshot, reason): &(icecore::snapshot::Snapshot, String)| InUse {
            snapshot: Snapshot::from(snapshot),
            reason: reason.clone(),
        };
        Self {
            dry_run,
            kept: kept.map(Kept::from).collect(),
            deleted: deleted.iter().map(Snapshot::from).collect(),
            in_use: in_use.iter().map(left).collect(),
            own_bytes: own.map(|own| own.data_bytes),
            freed_bytes: own.map(|own| own.stored_bytes + own.manifest_bytes),
        }
    }
}

impl From<&Decision> for Kept {
    fn from(decision: &Decision) -> Self {
        let rules = decision.kept_by.iter().map(ToString::to_string).collect();
        Self { snapshot: Snapshot::from(&decision.snapshot), rules }
    }
}
