//! `icecore bench`.

mod picture;
mod tables;

use std::cell::Cell;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use icecore::Error;
use icecore::Result;
use icecore::bench::BenchOptions;
use icecore::bench::BenchPlace;
use icecore::bench::BenchReport;
use icecore::image::ImageFile;
use icecore::image::NewTarget;
use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::repository::DEFAULT_LEVEL;
use icecore::storage::FsStorage;
use tempfile::TempDir;

use crate::app::App;
use crate::commands::demo::image;
use crate::commands::demo::tools;
use crate::commands::if_interrupted;
use crate::exit::Verdict;
use crate::host;
use crate::host::Stopwatch;
use crate::json;
use crate::units;

/// The default amount of data to use.
const DATA_BYTES_MAX: u64 = 1 << 30;

/// Measure speed and stored size on your own data
///
/// Measures each stage of the pipeline alone, then whole captures, restores and verifications.
/// Shows what share of the machine's limits they reach, and what other chunk sizes and compression
/// levels would give. Changes neither the images nor the repository: it works in a temporary
/// directory (TMPDIR), which needs space for twice the data and is removed afterwards. Uses up to 1
/// GiB of data, spread evenly over the images.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Files or block devices [default: two versions of a generated small file system, which needs
    /// mke2fs and debugfs]
    #[arg(value_name = "IMAGE", value_hint = clap::ValueHint::FilePath)]
    images: Vec<PathBuf>,
    /// The compression level, -7 (fast) to 19 (small)
    #[arg(long, value_name = "LEVEL", allow_negative_numbers = true, value_parser = units::parse_level,
          default_value_t = DEFAULT_LEVEL)]
    level: i32,
    /// Use all data of the images
    #[arg(long)]
    all: bool,
    /// Draw a chart of the result in this file
    #[arg(long, value_name = "FILE.svg", value_hint = clap::ValueHint::FilePath)]
    plot: Option<PathBuf>,
    /// Work in a temporary directory inside this one
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    work: Option<PathBuf>,
}

impl BenchArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        // From here on, a request to stop leads to the end of this function, which removes the
        // directory.
        host::stop_flag();
        for path in self.plot.iter().chain(&self.work) {
            app.check_outside(path)?;
        }
        let temp = self.directory()?;
        let images = self.images(app, temp.path())?;
        let images: Vec<ImageFile> =
            images.iter().map(|path| ImageFile::open(path)).collect::<Result<_>>()?;
        for (image, path) in images.iter().zip(&self.images) {
            if let Some(format) = image.content(path)?.foreign {
                app.ui.warn(&format!(
                    "{} is a {} file, measured as it is\n  hint: convert it to a raw disk with `{}`",
                    path.display(),
                    format.name,
                    format.command(path)
                ));
            }
        }
        let report = self.measure(app, temp.path(), &images)?;
        let mut result = json::BenchResult::from(&report);
        if let Some(path) = &self.plot {
            std::fs::write(path, picture::draw(&report)?)
                .map_err(|error| Error::io(format!("writing {}", path.display()), error))?;
            app.ui.note(&format!("drew {}", path.display()));
            result.plot = Some(path.display().to_string());
        }
        app.ui.result(&result, &tables::text(&report))?;
        Ok(Verdict::Clean)
    }

    fn directory(&self) -> Result<TempDir> {
        const PREFIX: &str = "icecore-bench-";
        let made = match &self.work {
            Some(dir) => TempDir::with_prefix_in(PREFIX, dir),
            None => TempDir::with_prefix(PREFIX),
        };
        made.map_err(|error| Error::io("creating a temporary directory", error))
    }

    /// Returns the named images, or generates some.
    fn images(&self, app: &App, dir: &Path) -> Result<Vec<PathBuf>> {
        if !self.images.is_empty() {
            return Ok(self.images.clone());
        }
        tools::check()?;
        let (first, second) = (dir.join("v1.raw"), dir.join("v2.raw"));
        let interrupted = || if_interrupted("the generated images are removed");
        let about = image::make(dir, &first).map_err(interrupted())?;
        let changes = image::change(dir, &first, &second).map_err(interrupted())?;
        app.ui.note(&format!("generated two images: an ext4 file system with {about}; then {changes}"));
        Ok(vec![first, second])
    }

    fn measure(&self, app: &App, dir: &Path, images: &[ImageFile]) -> Result<BenchReport> {
        let watch = Stopwatch::start();
        let count = Cell::new(0_u32);
        let name = |what: &str| {
            count.set(count.get() + 1);
            dir.join(format!("{what}-{}", count.get()))
        };
        let last: Cell<Option<PathBuf>> = Cell::new(None);
        let repository = || {
            if let Some(gone) = last.take() {
                std::fs::remove_dir_all(&gone)
                    .map_err(|error| Error::io(format!("removing {}", gone.display()), error))?;
            }
            let path = name("repository");
            last.set(Some(path.clone()));
            Ok(Arc::new(FsStorage::new(path)).into())
        };
        let target = |size_bytes| {
            let target = NewTarget::create(&name("target"), size_bytes, false, host::new_session())?;
            Ok(Box::new(target) as Box<dyn WriteAt>)
        };
        let place = BenchPlace { clock: &|| watch.elapsed(), repository: &repository, target: &target };
        let data_bytes_max = (!self.all).then_some(DATA_BYTES_MAX);
        let options = BenchOptions { level: self.level, data_bytes_max };
        let images: Vec<&dyn ReadAt> = images.iter().map(|image| image as &dyn ReadAt).collect();
        let progress = app.ui.progress("measuring");
        icecore::bench::bench(&images, &place, &options, &progress)
            .map_err(if_interrupted("the temporary directory is removed"))
    }
}
