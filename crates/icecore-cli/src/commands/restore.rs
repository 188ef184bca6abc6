//! `icecore restore`.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Progress;
use icecore::Result;
use icecore::image::ImageFile;
use icecore::image::NewTarget;
use icecore::image::OpenTarget;
use icecore::image::TargetEnd;
use icecore::repository::Repository;
use icecore::snapshot::BadRange;
use icecore::snapshot::BadRanges;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RestoreReport;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::Snapshot;

use crate::app::App;
use crate::commands::ImageFormat;
use crate::commands::if_full;
use crate::commands::if_interrupted;
use crate::commands::parent;
use crate::commands::title;
use crate::commands::warn_of_future;
use crate::exit::Verdict;
use crate::exit::exit_code;
use crate::host;
use crate::host::Stopwatch;
use crate::json;
use crate::json::Restored;
use crate::ui;
use crate::ui::Out;
use crate::units;

/// Write a snapshot's image to a file, a block device or standard output
///
/// A new file is sparse, and gets its name only when it is complete. All data is verified before it
/// is written. If the reader of standard output ends before it has the whole image, that is an
/// error (9). The target may not be in a repository.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// An id, a unique prefix of an id, a name, or RESOURCE@latest
    #[arg(value_name = "SNAP")]
    snapshot: String,
    /// The file or block device to write to; - is standard output
    #[arg(value_name = "TARGET", value_hint = clap::ValueHint::FilePath)]
    target: PathBuf,
    /// Write only what differs into an existing file or block device
    ///
    /// Afterwards a file has the size of the image, or of --size; anything beyond is cut off at the
    /// end. Anything beyond it on a block device stays unchanged, and the result says so.
    #[arg(long)]
    in_place: bool,
    /// Replace an existing file
    #[arg(short, long, conflicts_with = "in_place")]
    force: bool,
    /// Continue if stored data is damaged: write all intact data and zeros for the rest, and list
    /// the bad ranges
    ///
    /// Completes the target, under the requested name, and exits with 6 if anything in it is bad.
    /// With --in-place, right data that is already in the target stays.
    #[arg(short, long)]
    keep_going: bool,
    /// With --in-place: treat the target as a raw disk even if it looks like qcow2, gzip and the
    /// like, which are otherwise refused
    #[arg(long, value_name = "FORMAT", requires = "in_place")]
    format: Option<ImageFormat>,
    /// Make the target this large, such as 20G; it is zero beyond the end of the image
    ///
    /// On a larger block device, nothing beyond this size is touched.
    #[arg(long, value_name = "N", value_parser = units::parse_size)]
    size: Option<u64>,
}

/// The kind of object at the path of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Present {
    Nothing,
    File,
    Device,
    Other,
}

impl RestoreArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let to_stdout = self.target.as_os_str() == "-";
        match self.run_to(app, to_stdout) {
            // The program that reads the image there must not take this for a part of it.
            Err(error) if to_stdout => {
                app.ui.error_aside(&error);
                Ok(Verdict::Told(exit_code(error.kind())))
            }
            done => done,
        }
    }

    fn run_to(&self, app: &App, to_stdout: bool) -> Result<Verdict> {
        if to_stdout {
            self.check_stream()?;
        }
        let repo = app.open()?;
        let snapshot = icecore::snapshot::find(&repo, &self.snapshot)?;
        if self.snapshot.ends_with("@latest") {
            warn_of_future(app, [&snapshot]);
        }
        let watch = Stopwatch::start();
        let (mode, restored) = if to_stdout {
            ("stdout", self.stream(app, &repo, &snapshot)?)
        } else if self.in_place {
            ("in_place", self.in_place(app, &repo, &snapshot).map_err(|error| if_full(error, "the target"))?)
        } else {
            ("new_file", self.new_file(app, &repo, &snapshot).map_err(|error| if_full(error, "the target"))?)
        };
        let elapsed = watch.elapsed();
        let target = self.target.display().to_string();
        let text = summary(&snapshot, &target, &restored, elapsed) + &bad_lines(&restored.report.bad);
        let result = json::RestoreResult::new(&snapshot, target, mode, &restored, elapsed);
        if to_stdout {
            app.ui.result_aside(&result, &text)?;
        } else {
            app.ui.result(&result, &text)?;
        }
        Ok(if restored.report.bad.bytes == 0 {
            Verdict::Clean
        } else {
            Verdict::Told(exit_code(ErrorKind::Corrupt))
        })
    }

    fn check_stream(&self) -> Result<()> {
        if self.in_place || self.force || self.size.is_some() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "--in-place, --force and --size do not apply to standard output",
            )
            .with_hint("remove them, or name a file"));
        }
        if Out::is_terminal() {
            return Err(Error::new(ErrorKind::InvalidInput, "refusing to write a disk image to a terminal")
                .with_hint("send the output to a file or a program, or name a file instead of -"));
        }
        Ok(())
    }

    /// Returns the size that the target shall have.
    fn size(&self, snapshot: &Snapshot) -> Result<u64> {
        match self.size {
            Some(size) if size < snapshot.size_bytes => {
                let image = snapshot.size_bytes;
                let message =
                    format!("{size} bytes are not enough for {}, which has {image} bytes", title(snapshot));
                Err(Error::new(ErrorKind::InvalidInput, message)
                    .with_hint("icecore never truncates an image: choose a larger --size, or leave it out"))
            }
            Some(size) => Ok(size),
            None => Ok(snapshot.size_bytes),
        }
    }

    fn new_file(&self, app: &App, repo: &Repository, snapshot: &Snapshot) -> Result<Restored> {
        let path = &self.target;
        let size = self.size(snapshot)?;
        app.check_outside(parent(path))?;
        let exists = |hint: &str| {
            Error::new(ErrorKind::AlreadyExists, format!("{} already exists", path.display())).with_hint(hint)
        };
        match present(path)? {
            Present::Nothing => {}
            Present::File if self.force => {}
            Present::File => {
                return Err(exists("use --in-place to write only what differs, or --force to replace it"));
            }
            Present::Device => {
                return Err(exists("it is a block device: use --in-place to overwrite its content"));
            }
            Present::Other => {
                return Err(exists("it is neither a file nor a block device: choose another target"));
            }
        }
        let target = NewTarget::create(path, size, self.force, host::new_session())?;
        let progress = app.ui.progress(&format!("restoring {}", snapshot.name));
        let report = self
            .restore(repo, snapshot, RestoreTo::Fresh(&target), &progress)
            .map_err(if_interrupted("the target is unchanged; nothing is left of the new file"))?;
        target.finish()?;
        Ok(Restored { report, end: TargetEnd::default() })
    }

    fn in_place(&self, app: &App, repo: &Repository, snapshot: &Snapshot) -> Result<Restored> {
        let path = &self.target;
        let size = self.size(snapshot)?;
        app.check_outside(path)?;
        match present(path)? {
            Present::File | Present::Device => {}
            Present::Nothing => {
                return Err(Error::new(ErrorKind::NotFound, format!("{} does not exist", path.display()))
                    .with_hint("leave out --in-place to create a new file"));
            }
            Present::Other => {
                let message = format!("{} is neither a file nor a block device", path.display());
                return Err(Error::new(ErrorKind::InvalidInput, message).with_hint("choose another target"));
            }
        }
        // If it is unreadable, opening it fails below.
        if self.format.is_none()
            && let Ok(content) = ImageFile::open(path).and_then(|image| image.content(path))
        {
            content.check_raw(path)?;
        }
        let target = OpenTarget::open(path, size)?;
        let progress = app.ui.progress(&format!("restoring {}", snapshot.name));
        let report = self.restore(repo, snapshot, RestoreTo::InPlace(&target), &progress).map_err(
            if_interrupted("the target holds a part of the image; run the same command again to continue"),
        )?;
        let end = target
            .finish()
            .map_err(|error| Error::io(format!("writing {} to the medium", path.display()), error))?;
        Ok(Restored { report, end })
    }

    fn restore(
        &self,
        repo: &Repository,
        snapshot: &Snapshot,
        to: RestoreTo<'_>,
        progress: &dyn Progress,
    ) -> Result<RestoreReport> {
        let damage = if self.keep_going { OnDamage::GoOn } else { OnDamage::Stop };
        icecore::snapshot::restore(repo, snapshot.id, to, damage, progress)
    }

    /// Writes the image to standard output. A reader that goes away did not get it: that is an
    /// error.
    fn stream(&self, app: &App, repo: &Repository, snapshot: &Snapshot) -> Result<Restored> {
        let mut out = Out::new();
        let progress = app.ui.progress(&format!("restoring {}", snapshot.name));
        let restored = self.restore(repo, snapshot, RestoreTo::Stream(&mut out), &progress);
        let restored = restored.map_err(if_interrupted("the output is incomplete"));
        // If the output could not be written, its own error says more than the engine's.
        let report = out.finish().and(restored)?;
        Ok(Restored { report, end: TargetEnd::default() })
    }
}

/// Returns lines that list the bad ranges of the target.
fn bad_lines(bad: &BadRanges) -> String {
    if bad.bytes == 0 {
        return String::new();
    }
    let listed: u64 = bad.ranges.iter().map(|range| range.bytes).sum();
    let mut text = format!(
        "THE TARGET IS INCOMPLETE: {} of the image could not be restored and are zero there:\n",
        units::bytes(bad.bytes)
    );
    for BadRange { offset, bytes, problem } in &bad.ranges {
        text += &format!("  bad: {} at byte {offset}: {problem}\n", units::bytes(*bytes));
    }
    if listed < bad.bytes {
        text += &format!("  bad: {} more, in too many ranges to list\n", units::bytes(bad.bytes - listed));
    }
    text
}

fn present(path: &Path) -> Result<Present> {
    match std::fs::metadata(path) {
        Ok(about) if about.is_file() => Ok(Present::File),
        Ok(about) if about.file_type().is_block_device() => Ok(Present::Device),
        Ok(_) => Ok(Present::Other),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Present::Nothing),
        Err(error) => Err(Error::io(format!("looking at {}", path.display()), error)),
    }
}

fn summary(snapshot: &Snapshot, target: &str, restored: &Restored, elapsed: Duration) -> String {
    let Restored { report, end } = restored;
    let image = format!(
        "{}, {} without holes and zeros",
        units::bytes(report.image_bytes),
        units::bytes(report.data_bytes)
    );
    let mut lines = vec![("image", image), ("written", units::bytes(report.written_bytes))];
    if report.kept_bytes > 0 {
        lines.push(("kept", format!("{} already correct", units::bytes(report.kept_bytes))));
    }
    if report.zeroed_bytes > 0 {
        lines.push(("zeroed", units::bytes(report.zeroed_bytes)));
    }
    if end.cut_bytes > 0 {
        lines.push(("beyond", format!("{} of the file were cut off", units::bytes(end.cut_bytes))));
    }
    if end.left_bytes > 0 {
        let left = units::bytes(end.left_bytes);
        lines.push(("beyond", format!("{left} of the device left unchanged; --size can zero more of it")));
    }
    if report.packs_healed > 0 {
        let healed = units::count(report.packs_healed, "damaged pack");
        lines.push(("healed", format!("{healed}, put back from parity")));
    }
    let rate = units::rate(report.data_bytes, elapsed);
    lines.push(("time", format!("{}, {rate} of data", units::duration(elapsed))));
    format!("restored {} to {target}\n{}", title(snapshot), ui::pairs(2, &lines))
}
