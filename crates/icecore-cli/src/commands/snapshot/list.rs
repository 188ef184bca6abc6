//! `icecore snapshot list`.

use clap::ValueEnum;
use globset::Glob;
use globset::GlobSet;
use globset::GlobSetBuilder;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::Snapshot;
use icecore::snapshot::Unreadable;

use crate::app::App;
use crate::commands::snapshot::columns::FormatArgs;
use crate::commands::warn_of_future;
use crate::exit::Verdict;
use crate::json;
use crate::ui::printable_name;

/// List snapshots, oldest first
///
/// A snapshot is never dated before an earlier one of its resource, even if the clock goes back: it
/// is then dated 1 ms after that one. Warns of snapshots dated later than now.
///
/// Size is the data in the image, without holes and zeros; Min Disk Size is the smallest disk that
/// it fits on.
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
        let columns = self.format.columns()?;
        let globs = globs(&self.globs)?;
        let repo = app.open()?;
        let mut listing = icecore::snapshot::list(&repo)?;
        listing.snapshots.retain(|snapshot| self.wants(&globs, snapshot));
        let verdict = Verdict::from_findings(warn_of_unreadable(app, &listing.unreadable));
        let text = self.format.table(&columns, &listing.snapshots);
        let future = warn_of_future(app, &listing.snapshots);
        let unreadable = listing.unreadable.into_iter();
        let result = json::ListResult {
            snapshots: listing.snapshots.iter().map(json::Snapshot::from).collect(),
            unreadable: unreadable.map(|it| json::Unreadable { file: it.file, reason: it.reason }).collect(),
            from_the_future: future.iter().map(ToString::to_string).collect(),
        };
        app.ui.result(&result, &text)?;
        Ok(verdict)
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

/// Warns of unreadable records. Returns whether there are any.
pub(crate) fn warn_of_unreadable(app: &App, unreadable: &[Unreadable]) -> bool {
    for record in unreadable {
        let file = printable_name(&record.file);
        app.ui.warn(&format!("the record {file} is unreadable: {}", record.reason));
    }
    !unreadable.is_empty()
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
