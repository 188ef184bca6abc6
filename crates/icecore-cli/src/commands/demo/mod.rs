//! `icecore demo`: snapshot and restore, from end to end, on a generated file system.

mod files;
pub(crate) mod image;
pub(crate) mod tools;

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::image::ImageFile;
use icecore::image::NewTarget;
use icecore::repository::Repository;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::CaptureReport;
use icecore::snapshot::OnDamage;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::RestoreTo;
use tempfile::TempDir;

use crate::app;
use crate::app::App;
use crate::commands::if_interrupted;
use crate::exit::Verdict;
use crate::host;
use crate::host::Stopwatch;
use crate::json;
use crate::ui;
use crate::ui::Column;
use crate::units;

const RESOURCE: &str = "demo";

/// Demonstrate icecore on a small generated file system
///
/// Generates an ext4 image with files of this program's source and of the Rust toolchain, takes a
/// snapshot, changes the image, takes another snapshot, restores both and compares the files with
/// cmp. Uses a separate repository, and about 1 GiB in a temporary directory (TMPDIR), which is
/// removed afterwards. Needs mke2fs and debugfs.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Work in this directory and keep everything: images, repository, restored files
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    keep: Option<PathBuf>,
}

/// One image, captured and restored.
struct Step {
    report: CaptureReport,
    capture: Duration,
    restore: Duration,
}

impl DemoArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        // From here on, a request to stop leads to the end of this function, which removes the
        // directory.
        host::stop_flag();
        tools::check()?;
        let (dir, _temp) = self.directory()?;
        let first = dir.join("v1.raw");
        let about = image::make(&dir, &first)?;
        app.ui.note(&format!("generated v1.raw: an ext4 file system with {about}"));
        let repo = app::make_at(&dir.join("repository").into(), icecore::repository::DEFAULT_LEVEL, None)?;
        let one = capture(app, &repo, &first)?;
        app.ui.note(&format!("took snapshot v1 in {}", units::duration(one.1)));
        let second = dir.join("v2.raw");
        let changes = image::change(&dir, &first, &second)?;
        app.ui.note(&format!("made v2.raw, a changed copy: {changes}"));
        let two = capture(app, &repo, &second)?;
        app.ui.note(&format!("took snapshot v2 in {}", units::duration(two.1)));
        let mut steps = Vec::new();
        for ((report, capture), image) in [(one, first), (two, second)] {
            let restore = restore(app, &repo, &report, &image)?;
            app.ui.note(&format!("restored {}; cmp found no difference", report.snapshot.name));
            steps.push(Step { report, capture, restore });
        }
        self.tell(app, &repo, &dir, &steps)?;
        Ok(Verdict::Clean)
    }

    fn directory(&self) -> Result<(PathBuf, Option<TempDir>)> {
        let Some(dir) = &self.keep else {
            let temp = TempDir::with_prefix("icecore-demo-")
                .map_err(|error| Error::io("creating a temporary directory", error))?;
            return Ok((temp.path().to_owned(), Some(temp)));
        };
        icecore::repository::check_directory(dir)?;
        icecore::image::check_outside_repository(dir, None)?;
        let failed = |error| Error::io(format!("making {}", dir.display()), error);
        std::fs::create_dir_all(dir).map_err(failed)?;
        if std::fs::read_dir(dir).map_err(failed)?.next().is_some() {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("{} is not empty", dir.display()))
                .with_hint("name a new directory"));
        }
        Ok((dir.clone(), None))
    }

    fn tell(&self, app: &App, repo: &Repository, dir: &Path, steps: &[Step]) -> Result<()> {
        let stats = icecore::maintenance::stats(repo, &app.ui.progress("counting"))?.repository;
        let mut text = format!("{}\n\n", table(steps));
        text += &format!(
            "{} with {} of data take {} in the repository{}\n",
            units::count(stats.snapshots, "full image"),
            units::bytes(stats.data_bytes),
            units::bytes(stats.total_bytes),
            units::ratio(stats.data_bytes, stats.total_bytes)
                .map_or_else(String::new, |ratio| format!(": {ratio:.1} times less")),
        );
        if self.keep.is_some() {
            text += &format!(
                "everything is kept in {0}; try: icecore --repo {0}/repository stats\n",
                dir.display()
            );
        }
        let result = json::DemoResult {
            steps: steps.iter().map(json_step).collect(),
            image_bytes: stats.logical_bytes,
            data_bytes: stats.data_bytes,
            repository_bytes: stats.total_bytes,
            kept: self.keep.as_ref().map(|dir| dir.display().to_string()),
        };
        app.ui.result(&result, &text)
    }
}

fn capture(app: &App, repo: &Repository, image: &Path) -> Result<(CaptureReport, Duration)> {
    let name = image.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let options = CaptureOptions::new(
        host::new_snapshot_id(),
        host::now_unix_ms(),
        ResourceKind::Droplet,
        RESOURCE,
        name.clone(),
    );
    let watch = Stopwatch::start();
    let progress = app.ui.progress(&format!("capturing {name}"));
    let report = icecore::snapshot::capture(repo, &ImageFile::open(image)?, &options, &progress)
        .map_err(if_interrupted("the demonstration is removed"))?;
    Ok((report, watch.elapsed()))
}

/// Restores a snapshot, and lets another program compare the file with the image.
fn restore(app: &App, repo: &Repository, report: &CaptureReport, image: &Path) -> Result<Duration> {
    let snapshot = &report.snapshot;
    let restored = image.with_extension("restored.raw");
    let watch = Stopwatch::start();
    let target = NewTarget::create(&restored, snapshot.size_bytes, false, host::new_session())?;
    let progress = app.ui.progress(&format!("restoring {}", snapshot.name));
    icecore::snapshot::restore(repo, snapshot.id, RestoreTo::Fresh(&target), OnDamage::Stop, &progress)
        .map_err(if_interrupted("the demonstration is removed"))?;
    target.finish()?;
    let time = watch.elapsed();
    drop(progress);
    tools::compare(image, &restored)?;
    Ok(time)
}

fn table(steps: &[Step]) -> String {
    let columns = [
        Column::Text("Snapshot"),
        Column::Number("Image"),
        Column::Number("Data"),
        Column::Number("New"),
        Column::Number("Stored"),
        Column::Number("Capture"),
        Column::Number("Restore"),
        Column::Text("Equal"),
    ];
    let row = |step: &Step| {
        let snapshot = &step.report.snapshot;
        vec![
            snapshot.name.clone(),
            units::bytes(snapshot.size_bytes),
            units::bytes(snapshot.stats.data_bytes),
            units::bytes(snapshot.stats.new_bytes),
            units::bytes(snapshot.stats.stored_bytes + snapshot.stats.manifest_bytes),
            units::duration(step.capture),
            units::duration(step.restore),
            "yes".into(),
        ]
    };
    ui::table(&columns, &steps.iter().map(row).collect::<Vec<_>>(), true)
}

fn json_step(step: &Step) -> json::DemoStep {
    json::DemoStep {
        snapshot: json::Snapshot::from(&step.report.snapshot),
        capture_ms: units::milliseconds(step.capture),
        restore_ms: units::milliseconds(step.restore),
        equal: true,
    }
}
