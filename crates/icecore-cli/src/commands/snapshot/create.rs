//! `icecore snapshot create`.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::image::ImageFile;
use icecore::image::ReadAt;
use icecore::repository::Repository;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::CaptureReport;
use icecore::snapshot::Parent;
use icecore::snapshot::ResourceKind;
use tempfile::TempDir;

use crate::app;
use crate::app::App;
use crate::commands::ImageFormat;
use crate::commands::if_interrupted;
use crate::commands::snapshot::new::NewSnapshotArgs;
use crate::commands::title;
use crate::commands::warn_if_clock_is_behind;
use crate::exit::Verdict;
use crate::host;
use crate::host::Stopwatch;
use crate::json;
use crate::ui;
use crate::units;

/// The smallest sector of a disk.
const SECTOR_BYTES: u64 = 512;
/// The longest name that the engine accepts.
const NAME_BYTES_MAX: usize = 255;

/// Take a snapshot of a disk image: a file or a block device
///
/// Without --repo and ICECORE_REPO, the first snapshot creates the default repository. Without
/// --droplet and --volume, the resource is a volume named after the file.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// The image, a raw disk: a file or a block device. icecore does not change it
    #[arg(value_name = "IMAGE", value_hint = clap::ValueHint::FilePath)]
    image: PathBuf,
    #[command(flatten)]
    new: NewSnapshotArgs,
    /// The image is the disk of the droplet with this name
    #[arg(long, value_name = "RESOURCE", conflicts_with = "volume")]
    droplet: Option<String>,
    /// The image is the volume with this name
    #[arg(long, value_name = "RESOURCE")]
    volume: Option<String>,
    /// The snapshot to compare with, or none; affects only the duration [default: the newest of the
    /// resource]
    #[arg(long, value_name = "SNAP|none")]
    parent: Option<String>,
    /// Treat the image as a raw disk even if it looks like qcow2, gzip and the like, which are
    /// otherwise refused, or like no disk at all, which is otherwise a warning
    #[arg(long, value_name = "FORMAT")]
    format: Option<ImageFormat>,
    /// Do not read a file whose inode, size and times are unchanged since the parent's capture
    #[arg(long)]
    trust_mtime: bool,
    /// Write nothing, only show what would be new
    #[arg(long)]
    dry_run: bool,
}

impl CreateArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let (kind, resource) = self.resource()?;
        if self.image.as_os_str() == "-" {
            return Err(Error::new(ErrorKind::InvalidInput, "cannot capture standard input")
                .with_hint("write it to a file first: icecore reads an image at many offsets at once"));
        }
        let image = ImageFile::open(&self.image)?;
        let oddities = self.look_at(app, &image)?;
        let place = self.repository(app)?;
        let options = self.options(&place.repo, kind, resource)?;
        let watch = Stopwatch::start();
        let progress = app.ui.progress(&format!("capturing {}", options.resource));
        let report = icecore::snapshot::capture(&place.repo, &image, &options, &progress).map_err(if_interrupted(
            "no snapshot was made; the next capture reuses what was stored so far, and `icecore gc` removes it",
        ))?;
        let elapsed = watch.elapsed();
        drop(progress);
        if report.changed_while_read {
            app.ui.warn(&format!(
                "{} was written to while it was read: the snapshot may mix old and new blocks\n  \
                 hint: stop the program that writes to it, or freeze the file system, and take another snapshot",
                self.image.display()
            ));
        }
        let behind_ms = warn_if_clock_is_behind(app, &report.snapshot);
        let made =
            json::Made { dry_run: self.dry_run, repository_created: place.created, behind_ms, oddities };
        let result = json::CreateResult::new(&report, made, elapsed);
        app.ui.result(&result, &summary(&report, self.dry_run, elapsed))?;
        Ok(Verdict::Clean)
    }

    /// Refuses files that are not raw disks, warns of images that look unintended, and returns
    /// words for the warnings.
    fn look_at(&self, app: &App, image: &ImageFile) -> Result<Vec<&'static str>> {
        if self.format == Some(ImageFormat::Raw) {
            return Ok(Vec::new());
        }
        let content = image.content(&self.image)?;
        content.check_raw(&self.image)?;
        let name = self.image.display();
        let mut oddities = Vec::new();
        let mut warn = |word, text: String| {
            app.ui.warn(&text);
            oddities.push(word);
        };
        if image.is_empty() {
            let why = "a failed copy, or a file whose content only the kernel has?";
            warn(
                "empty",
                format!("{name} has no bytes\n  hint: is it {why} use --format raw if it is right"),
            );
            return Ok(oddities);
        }
        if !image.len().is_multiple_of(SECTOR_BYTES) {
            let text = format!(
                "{name} has {} bytes, which is not a multiple of {SECTOR_BYTES}\n  \
                 hint: a part of it may be missing; use --format raw if it is right",
                image.len()
            );
            warn("part_of_a_sector", text);
        }
        if !content.is_known_disk {
            let text = format!(
                "{name} has no partition table and no known file system\n  \
                 hint: is it the right file? use --format raw if it is"
            );
            warn("unknown_content", text);
        }
        Ok(oddities)
    }

    fn resource(&self) -> Result<(ResourceKind, String)> {
        match (&self.droplet, &self.volume) {
            (Some(name), _) => Ok((ResourceKind::Droplet, name.clone())),
            (None, Some(name)) => Ok((ResourceKind::Volume, name.clone())),
            (None, None) => Ok((ResourceKind::Volume, name_of_file(&self.image)?)),
        }
    }

    /// Opens the repository. If there is none and nothing is to be written, uses an empty temporary
    /// one.
    fn repository(&self, app: &App) -> Result<Opened> {
        let place = app.place()?;
        if self.dry_run && place.is_default && place.is_vacant()? {
            let temp = TempDir::new().map_err(|error| Error::io("making a temporary directory", error))?;
            let repo = app::make_at(
                &temp.path().join("repository").into(),
                icecore::repository::DEFAULT_LEVEL,
                None,
            )?;
            return Ok(Opened { repo, created: false, _temp: Some(temp) });
        }
        let (repo, created) = app.open_or_make()?;
        Ok(Opened { repo, created, _temp: None })
    }

    fn options(&self, repo: &Repository, kind: ResourceKind, resource: String) -> Result<CaptureOptions> {
        let created_unix_ms = host::now_unix_ms();
        let name = match &self.new.name {
            Some(name) => name.clone(),
            None => free_name(repo, &resource, created_unix_ms)?,
        };
        let parent = match self.parent.as_deref() {
            None => Parent::Newest,
            Some("none") => Parent::None,
            Some(spec) => Parent::Snapshot(icecore::snapshot::find(repo, spec)?.id),
        };
        Ok(CaptureOptions {
            parent,
            trust_mtime: self.trust_mtime,
            dry_run: self.dry_run,
            ..self.new.of_image(created_unix_ms, kind, resource, name)
        })
    }
}

struct Opened {
    repo: Repository,
    created: bool,
    /// The temporary repository, removed at the end.
    _temp: Option<TempDir>,
}

/// Returns the name of a file without its extension.
fn name_of_file(image: &Path) -> Result<String> {
    let stem = image.file_stem().and_then(|stem| stem.to_str());
    stem.map(ToOwned::to_owned).ok_or_else(|| {
        let message = format!("cannot derive a name for the volume from {}", image.display());
        Error::new(ErrorKind::InvalidInput, message).with_hint("name the resource with --volume or --droplet")
    })
}

/// Returns a name from the resource and the time that no snapshot has.
pub(crate) fn free_name(repo: &Repository, resource: &str, unix_ms: i64) -> Result<String> {
    let time = units::time_for_names(unix_ms);
    let later = (2_u64..).map(|n| join_name(resource, &format!("{time}-{n}")));
    for name in std::iter::once(join_name(resource, &time)).chain(later) {
        match icecore::snapshot::find(repo, &name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(name),
            Err(error) if error.kind() != ErrorKind::InvalidInput => return Err(error),
            _ => {}
        }
    }
    Ok(join_name(resource, &time))
}

fn join_name(resource: &str, ending: &str) -> String {
    let room = NAME_BYTES_MAX.saturating_sub(ending.len() + 1);
    let cut = (0..=room.min(resource.len())).rev().find(|at| resource.is_char_boundary(*at)).unwrap_or(0);
    format!("{}-{ending}", &resource[..cut])
}

/// Returns a summary of a capture.
fn summary(report: &CaptureReport, dry_run: bool, elapsed: Duration) -> String {
    let snapshot = &report.snapshot;
    let stats = &snapshot.stats;
    let head = if dry_run {
        "dry run: nothing was written".to_owned()
    } else {
        format!("snapshot {}", title(snapshot))
    };
    let image = format!(
        "{}, {} without holes and zeros",
        units::bytes(snapshot.size_bytes),
        units::bytes(stats.data_bytes)
    );
    let mut lines = vec![("image", image), ("read", read(report, elapsed)), ("new", new(report))];
    if dry_run {
        lines.push((
            "stored",
            format!("would take {} at most", units::bytes(stats.stored_bytes + stats.manifest_bytes)),
        ));
    } else {
        let stored = format!(
            "{} and {} of manifest",
            units::bytes(stats.stored_bytes),
            units::bytes(stats.manifest_bytes)
        );
        lines.push(("stored", stored));
    }
    let dedup = units::times(units::ratio(stats.data_bytes, stats.new_bytes));
    let compression = units::times(units::ratio(stats.new_bytes, stats.stored_bytes));
    if stats.new_bytes > 0 {
        lines.push(("saved", format!("dedup {dedup}, compression {compression}")));
    }
    format!("{head}\n{}", ui::pairs(2, &lines))
}

fn read(report: &CaptureReport, elapsed: Duration) -> String {
    let time = units::duration(elapsed);
    if report.trusted_mtime {
        return format!("nothing: the file is unchanged according to its times ({time})");
    }
    if report.read_bytes == 0 {
        return format!("nothing ({time})");
    }
    format!("{} in {time} ({})", units::bytes(report.read_bytes), units::rate(report.read_bytes, elapsed))
}

fn new(report: &CaptureReport) -> String {
    let stats = &report.snapshot.stats;
    if report.unchanged {
        return "nothing: the image is unchanged since the last snapshot".into();
    }
    if stats.data_bytes == 0 {
        return "nothing: the image has no data".into();
    }
    if stats.new_bytes == 0 {
        return "nothing: all data was already there".into();
    }
    format!(
        "{}, {} of the data",
        units::bytes(stats.new_bytes),
        units::percent(stats.new_bytes, stats.data_bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_named_after_its_file() {
        for (path, name) in [("/x/web.raw", "web"), ("/dev/sdb", "sdb"), ("droplet-a.v1.raw", "droplet-a.v1")]
        {
            assert_eq!(name_of_file(Path::new(path)).unwrap(), name);
        }
        assert!(name_of_file(Path::new("/")).is_err());
    }

    #[test]
    fn a_name_that_is_made_is_never_too_long() {
        assert_eq!(join_name("web-1", "20261124-081530"), "web-1-20261124-081530");
        let long = "ä".repeat(127);
        let name = join_name(&long, "20261124-081530");
        assert!(name.len() <= NAME_BYTES_MAX && name.ends_with("ä-20261124-081530"));
    }
}
