//! `icecore snapshot prune`.

use globset::GlobSet;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::Repository;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::OwnBytes;
use icecore::snapshot::Snapshot;
use icecore::snapshot::SnapshotId;
use icecore::snapshot::retention;
use icecore::snapshot::retention::Decision;
use icecore::snapshot::retention::Plan;
use icecore::snapshot::retention::Policy;
use icecore::snapshot::retention::Within;

use crate::app::App;
use crate::commands::snapshot::delete::UNDO;
use crate::commands::snapshot::list::Kind;
use crate::commands::snapshot::list::globs;
use crate::commands::title;
use crate::commands::warn_of_future;
use crate::exit;
use crate::exit::Verdict;
use crate::host;
use crate::json;
use crate::ui;
use crate::ui::Column;
use crate::units;

/// Delete the snapshots that a policy does not keep
///
/// The policy applies to each droplet and each volume separately, and a snapshot stays if any of
/// the rules keeps it. An hour, day, week, month or year without a snapshot does not count. A
/// protected snapshot stays. A snapshot that is being read, or from which a volume was created, is
/// skipped with a warning. --keep-within alone deletes all snapshots of a resource that has no
/// recent ones; add --keep-last 1 to keep the newest in any case. A snapshot from the future, dated
/// by a wrong clock, stays in addition to the others and counts for no rule. All others are deleted
/// together, or none of them. The next `icecore gc` frees the space; until then
/// `icecore snapshot undelete` restores them.
#[derive(Debug, clap::Args)]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    policy: PolicyArgs,
    /// The time zone of hours, days and so on: a name such as Europe/Berlin, or local for the
    /// system's zone
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    timezone: String,
    /// Only snapshots of droplets and volumes whose names match one of these patterns (*, ?, [a-z],
    /// {a,b})
    #[arg(long, value_name = "GLOB")]
    of: Vec<String>,
    /// Only snapshots of this resource type
    #[arg(long, value_name = "TYPE")]
    resource: Option<Kind>,
    /// Only snapshots with this tag; if repeated, with all of them
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Also delete snapshots from which volumes were created; the volumes keep the data they need
    #[arg(long)]
    keep_clones: bool,
    /// Delete nothing, only show which rules keep which snapshots, and which would be deleted
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    force: bool,
}

/// The rules of a policy.
#[derive(Debug, clap::Args)]
struct PolicyArgs {
    /// Keep the newest N
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Keep the newest of each of the last N hours that have a snapshot
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u32>,
    /// Keep the newest of each of the last N days that have a snapshot
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// Keep the newest of each of the last N ISO weeks that have a snapshot
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// Keep the newest of each of the last N months that have a snapshot
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// Keep the newest of each of the last N years that have a snapshot
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// Keep all snapshots up to this age: numbers with y, mo, w, d, h, min or s, such as 14d or "1y
    /// 6mo"
    #[arg(long, value_name = "TIME", value_parser = units::parse_within)]
    keep_within: Option<Within>,
    /// Keep all snapshots with this tag; can be repeated
    #[arg(long = "keep-tag", value_name = "TAG")]
    keep_tags: Vec<String>,
}

impl PolicyArgs {
    fn policy(&self) -> Policy {
        Policy {
            keep_last: self.keep_last,
            keep_hourly: self.keep_hourly,
            keep_daily: self.keep_daily,
            keep_weekly: self.keep_weekly,
            keep_monthly: self.keep_monthly,
            keep_yearly: self.keep_yearly,
            keep_within: self.keep_within,
            keep_tags: self.keep_tags.clone(),
        }
    }
}

impl PruneArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let policy = self.policy.policy();
        policy.check()?;
        let zone = host::time_zone(&self.timezone)?;
        let globs = globs(&self.of)?;
        let repo = app.open()?;
        let mut snapshots = icecore::snapshot::list(&repo)?;
        snapshots.retain(|snapshot| self.wants(&globs, snapshot));
        warn_of_future(app, &snapshots);
        let plan = retention::plan(&snapshots, &policy, host::now_unix_ms(), &zone)?;
        let pruned =
            if self.dry_run { self.foresee(app, &repo, &plan)? } else { self.delete(app, &repo, &plan)? };
        for (snapshot, reason) in &pruned.in_use {
            app.ui.warn(&format!("{} stays: {reason}", title(snapshot)));
        }
        let result = json::PruneResult::new(&plan, &pruned.deleted, &pruned.in_use, pruned.own, self.dry_run);
        app.ui.result(&result, &self.text(&plan, &pruned))?;
        if !self.dry_run && !pruned.deleted.is_empty() {
            app.ui.note(UNDO);
        }
        Ok(match pruned.in_use.is_empty() || self.dry_run {
            true => Verdict::Clean,
            false => Verdict::Told(exit::exit_code(ErrorKind::InUse)),
        })
    }

    fn wants(&self, globs: &GlobSet, snapshot: &Snapshot) -> bool {
        (globs.is_empty() || globs.is_match(&snapshot.resource))
            && self.resource.is_none_or(|kind| kind.is(snapshot.kind))
            && self.tags.iter().all(|tag| snapshot.tags.contains(tag))
    }

    fn delete(&self, app: &App, repo: &Repository, plan: &Plan) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        let going = plan.going().count();
        if going == 0 {
            return Ok(pruned);
        }
        if !self.force {
            app.ui.note(&table(plan, &pruned));
            let question = format!("Are you sure you want to delete {}?", count(going));
            if !app.ui.confirm(&question, "confirm with --force, or preview with --dry-run")? {
                return Err(Error::new(ErrorKind::Interrupted, "not confirmed: nothing was deleted"));
            }
        }
        let options = DeleteOptions { clones_keep_it: self.keep_clones };
        let ids: Vec<SnapshotId> = plan.going().map(|snapshot| snapshot.id).collect();
        let done = icecore::snapshot::delete_free(repo, &ids, options)
            .map_err(|error| error.in_context("nothing was deleted"))?;
        pruned.deleted = done.deleted;
        let in_use = done.in_use.into_iter();
        pruned.in_use = in_use.map(|(snapshot, error)| (snapshot, error.to_string())).collect();
        Ok(pruned)
    }

    /// Returns what a deletion would do. It cannot know which snapshots will be in use by readers.
    fn foresee(&self, app: &App, repo: &Repository, plan: &Plan) -> Result<Pruned> {
        let volumes =
            if self.keep_clones { Vec::new() } else { icecore::volume::list_volumes(repo)?.volumes };
        let mut pruned = Pruned::default();
        for snapshot in plan.going() {
            let made =
                |origin: &Option<Snapshot>| origin.as_ref().is_some_and(|origin| origin.id == snapshot.id);
            match volumes.iter().find(|volume| made(&volume.origin)) {
                None => pruned.deleted.push(snapshot.clone()),
                Some(volume) => {
                    let reason = format!("volume {} was created from it", volume.name);
                    pruned.in_use.push((snapshot.clone(), reason));
                }
            }
        }
        let ids: Vec<SnapshotId> = pruned.deleted.iter().map(|snapshot| snapshot.id).collect();
        let progress = app.ui.progress("counting the space that would be freed");
        let own = icecore::snapshot::own_bytes(repo, &ids, &progress);
        drop(progress);
        match own {
            Ok(own) => pruned.own = Some(own),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            // The deletion does not depend on it.
            Err(error) => app.ui.warn(&format!("cannot count the space that gc could free: {error}")),
        }
        Ok(pruned)
    }

    fn text(&self, plan: &Plan, pruned: &Pruned) -> String {
        let (deleted, all) = (pruned.deleted.len(), plan.decisions.len());
        if self.dry_run {
            let table = if all == 0 { String::new() } else { table(plan, pruned) + "\n\n" };
            let own = pruned.own.map(|own| units::bytes(own.stored_bytes + own.manifest_bytes));
            let then = own.map_or_else(String::new, |own| format!(", and gc could then free about {own}"));
            return format!(
                "{table}dry run: nothing was deleted; {deleted} of {} would be deleted{then}",
                count(all)
            );
        }
        if plan.going().next().is_none() {
            return match all {
                0 => "nothing to delete: there are no matching snapshots".to_owned(),
                _ => format!("nothing to delete: all {} stay", count(all)),
            };
        }
        pruned.deleted.iter().map(|snapshot| format!("deleted {}\n", title(snapshot))).collect()
    }
}

/// The result of a prune, or of its dry run.
#[derive(Debug, Default)]
struct Pruned {
    deleted: Vec<Snapshot>,
    /// The snapshots that could not be deleted, and why.
    in_use: Vec<(Snapshot, String)>,
    /// The data that only the snapshots to be deleted use, if known.
    own: Option<OwnBytes>,
}

fn count(snapshots: usize) -> String {
    units::count(snapshots as u64, "snapshot")
}

/// Returns a table of all snapshots, with the rules that keep each.
fn table(plan: &Plan, pruned: &Pruned) -> String {
    let columns = [
        Column::Text("ID"),
        Column::Text("Name"),
        Column::Text("Created"),
        Column::Text("Resource"),
        Column::Text("Type"),
        Column::Text("Result"),
        Column::Text("Rules"),
    ];
    let fate = |decision: &Decision| match decision.goes() {
        false => "stays",
        true if pruned.in_use.iter().any(|(left, _)| left.id == decision.snapshot.id) => "in use",
        true => "goes",
    };
    let row = |decision: &Decision| {
        let snapshot = &decision.snapshot;
        vec![
            snapshot.id.to_string(),
            snapshot.name.clone(),
            units::time_for_people(snapshot.created_unix_ms),
            snapshot.resource.clone(),
            snapshot.kind.as_str().to_owned(),
            fate(decision).to_owned(),
            decision.kept_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        ]
    };
    ui::table(&columns, &plan.decisions.iter().map(row).collect::<Vec<_>>(), true)
}
