//! `icecore snapshot list`.

use clap::ValueEnum;
use globset::Glob;
use globset::GlobSet;
use globset::GlobSetBuilder;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::Repository;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::Snapshot;

use crate::app::App;
use crate::commands::snapshot::columns::Column;
use crate::commands::snapshot::columns::FormatArgs;
use crate::commands::warn_of_future;
use crate::exit::Verdict;
use crate::json;

/// List snapshots, oldest first
///
/// A snapshot is never dated before an earlier one of its resource, even if the clock goes back: it
/// is then dated 1 ms after that one. Warns of snapshots dated later than now.
///
/// Size is the data in the image, without holes and zeros; Min Disk Size is the smallest disk that
/// it fits on.
///
/// With --deleted, lists deleted snapshots that `icecore snapshot undelete` can still restore, in
/// the order of their deletion.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only snapshots whose name or id matches one of these patterns (*, ?, [a-z], {a,b})
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
    /// Only snapshots of this resource type
    #[arg(long, value_name = "TYPE")]
    resource: Option<Kind>,
    /// Only snapshots of the droplet or volume with this name
    #[arg(long, value_name = "RESOURCE")]
    of: Option<String>,
    /// Only snapshots with this tag; if repeated, with all of them
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// List deleted snapshots instead
    #[arg(long)]
    deleted: bool,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Droplet,
    Volume,
}

impl Kind {
    /// Returns whether a snapshot is of this resource type.
    pub(crate) fn is(self, kind: ResourceKind) -> bool {
        match self {
            Self::Droplet => kind == ResourceKind::Droplet,
            Self::Volume => kind == ResourceKind::Volume,
        }
    }
}

impl ListArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let columns = self.format.columns(self.deleted)?;
        let globs = globs(&self.globs)?;
        let repo = app.open()?;
        if self.deleted {
            return self.list_deleted(app, &repo, &globs, &columns);
        }
        let mut snapshots = icecore::snapshot::list(&repo)?;
        snapshots.retain(|snapshot| self.wants(&globs, snapshot));
        let text = self.format.table(&columns, &snapshots);
        let future = warn_of_future(app, &snapshots);
        let result = json::ListResult {
            snapshots: snapshots.iter().map(json::Snapshot::from).collect(),
            from_the_future: future.iter().map(ToString::to_string).collect(),
        };
        app.ui.result(&result, &text)?;
        Ok(Verdict::Clean)
    }

    fn list_deleted(
        &self,
        app: &App,
        repo: &Repository,
        globs: &GlobSet,
        columns: &[Column],
    ) -> Result<Verdict> {
        let mut deleted = icecore::snapshot::list_deleted(repo)?;
        deleted.retain(|deleted| self.wants(globs, &deleted.snapshot));
        let rows = deleted.iter().map(|deleted| (&deleted.snapshot, Some(deleted.deleted_unix_ms)));
        let text = self.format.table_of(columns, rows);
        let snapshots = deleted.iter().map(json::DeletedSnapshot::from).collect();
        app.ui.result(&json::ListDeletedResult { snapshots }, &text)?;
        Ok(Verdict::Clean)
    }

    fn wants(&self, globs: &GlobSet, snapshot: &Snapshot) -> bool {
        let named =
            globs.is_empty() || globs.is_match(&snapshot.name) || globs.is_match(snapshot.id.to_string());
        named
            && self.resource.is_none_or(|kind| kind.is(snapshot.kind))
            && self.of.as_ref().is_none_or(|name| *name == snapshot.resource)
            && self.tags.iter().all(|tag| snapshot.tags.contains(tag))
    }
}

/// Returns a matcher for any of these patterns.
pub(crate) fn globs(patterns: &[String]) -> Result<GlobSet> {
    let wrong = |error: globset::Error| {
        Error::new(ErrorKind::InvalidInput, format!("not a valid pattern: {error}"))
            .with_hint("*, ?, [a-z] and {a,b} have a special meaning; a \\ before one of them takes it away")
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern).map_err(wrong)?);
    }
    set.build().map_err(wrong)
}
