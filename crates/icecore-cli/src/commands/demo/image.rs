//! The demonstration's disk image, before and after a day of work.

use std::path::Path;
use std::path::PathBuf;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;

use crate::commands::demo::files;
use crate::commands::demo::files::Source;
use crate::commands::demo::files::Sum;
use crate::commands::demo::tools;
use crate::units;

const IMAGE_SIZE: &str = "512M";
const SOURCE_BYTES_MAX: u64 = 32 << 20;
const PROGRAM_BYTES_MAX: u64 = 256 << 20;
/// The directory in which the files of the file system are gathered.
const ROOT: &str = "root";
const BLOCK: usize = 4096;

/// Makes a file system with real files in `image`. Returns a description of its content.
pub(crate) fn make(dir: &Path, image: &Path) -> Result<String> {
    let root = dir.join(ROOT);
    std::fs::create_dir_all(&root).map_err(|error| Error::io(format!("making {}", root.display()), error))?;
    let mut told = Vec::new();
    let mut all = Sum::default();
    for source in sources() {
        let sum = files::gather(&root, &source)?;
        if sum.files > 0 {
            told.push(format!("{} of {}", units::count(sum.files, "file"), source.what));
        }
        all.files += sum.files;
        all.bytes += sum.bytes;
    }
    if all.files == 0 {
        return Err(Error::new(ErrorKind::NotFound, "there are no files to put into a file system"));
    }
    let options = ["-q", "-F", "-t", "ext4", "-L", "demo", "-d"].map(Path::new);
    let arguments: Vec<&Path> =
        options.into_iter().chain([root.as_path(), image, Path::new(IMAGE_SIZE)]).collect();
    tools::run("mke2fs", &arguments)?;
    Ok(format!("{}, {}", told.join(", "), units::bytes(all.bytes)))
}

/// Returns the source tree of this program, if it is there, and the Rust toolchain, or else the
/// system's programs.
fn sources() -> Vec<Source> {
    let source_tree = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned);
    let mut sources = Vec::new();
    if let Some(from) = source_tree.filter(|dir| dir.join("Cargo.toml").exists()) {
        sources.push(Source { what: "this source tree", from, to: "src", bytes_max: SOURCE_BYTES_MAX });
    }
    let half = PROGRAM_BYTES_MAX / 2;
    let (what, above) = match tools::rust_toolchain() {
        Some(dir) => (["the Rust toolchain's programs", "its libraries"], dir),
        None => (["this system's programs", "its libraries"], PathBuf::from("/usr")),
    };
    for (to, what) in ["bin", "lib"].into_iter().zip(what) {
        sources.push(Source { what, from: above.join(to), to, bytes_max: half });
    }
    sources
}

/// Copies `before` to `after` and changes the file system in it as daily work does: a log grows, a
/// program is upgraded, another is removed, a source file is edited. Returns a description of the
/// changes.
pub(crate) fn change(dir: &Path, before: &Path, after: &Path) -> Result<String> {
    let options = ["--sparse=always", "--reflink=auto"].map(Path::new);
    tools::run("cp", &options.into_iter().chain([before, after]).collect::<Vec<_>>())?;
    let root = dir.join(ROOT);
    let there = files::all(&root);
    let mut script = Script { dir: dir.to_owned(), commands: String::new(), told: Vec::new() };
    script.write("log", &log(), "/app.log")?;
    script.told.push("a log was written".into());
    if let Some((path, len)) = of_size(&there, "lib", 8 << 20) {
        let bytes =
            std::fs::read(path).map_err(|error| Error::io(format!("reading {}", path.display()), error))?;
        script.replace(&root, path, &upgraded(bytes))?;
        script.told.push(format!("a library of {} was upgraded", units::bytes(len)));
    }
    if let Some((path, len)) = of_size(&there, "bin", 10 << 20) {
        script.remove(&root, path);
        script.told.push(format!("a program of {} was removed", units::bytes(len)));
    }
    if let Some((path, _)) = of_size(&there, "src", 4 << 10) {
        let bytes =
            std::fs::read(path).map_err(|error| Error::io(format!("reading {}", path.display()), error))?;
        script.replace(&root, path, &[b"edited\n", bytes.as_slice()].concat())?;
        script.told.push("a source file was edited".into());
    }
    script.run(after)
}

/// Returns the file under `part` whose size is nearest to `wanted`.
fn of_size<'a>(there: &'a [(PathBuf, u64)], part: &str, wanted: u64) -> Option<(&'a Path, u64)> {
    let part = Path::new(ROOT).join(part);
    let inside = |path: &Path| path.ancestors().any(|above| above.ends_with(&part));
    let nearest = there.iter().filter(|(path, _)| inside(path)).min_by_key(|(_, len)| len.abs_diff(wanted));
    nearest.map(|(path, len)| (path.as_path(), *len))
}

/// Returns text in the form of a program's log.
fn log() -> Vec<u8> {
    let line = |n: u64| {
        let checksum = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        format!(
            "2026-11-24T08:15:30Z worker-{} request {n} took {} us, sum {checksum:011x}\n",
            n % 7,
            n * 37 % 9001
        )
    };
    (0..60_000).map(line).collect::<String>().into_bytes()
}

/// Returns a file with one block in sixteen changed.
fn upgraded(mut bytes: Vec<u8>) -> Vec<u8> {
    for block in bytes.chunks_mut(BLOCK).step_by(16) {
        block.reverse();
    }
    bytes
}

/// The commands for debugfs.
struct Script {
    dir: PathBuf,
    commands: String,
    told: Vec<String>,
}

impl Script {
    fn write(&mut self, name: &str, bytes: &[u8], to: &str) -> Result<()> {
        let from = self.dir.join(name);
        std::fs::write(&from, bytes)
            .map_err(|error| Error::io(format!("writing {}", from.display()), error))?;
        // Older versions of debugfs treat the last argument as a name in the current directory.
        let (parent, name) = to.rsplit_once('/').unwrap_or(("", to));
        self.commands += &format!("cd \"{parent}/\"\nwrite \"{}\" \"{name}\"\n", from.display());
        Ok(())
    }

    fn remove(&mut self, root: &Path, path: &Path) {
        self.commands += &format!("rm \"{}\"\n", inside(root, path));
    }

    fn replace(&mut self, root: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
        self.remove(root, path);
        let name = path.file_name().map(|name| format!("new-{}", name.to_string_lossy())).unwrap_or_default();
        self.write(&name, bytes, &inside(root, path))
    }

    fn run(self, image: &Path) -> Result<String> {
        let script = self.dir.join("changes.debugfs");
        std::fs::write(&script, &self.commands)
            .map_err(|error| Error::io(format!("writing {}", script.display()), error))?;
        let said = tools::run("debugfs", &[Path::new("-w"), Path::new("-f"), &script, image])?;
        // debugfs continues after an error, and then exits with 0.
        match said.lines().find(|line| !line.is_empty() && !line.starts_with("debugfs ")) {
            Some(line) => Err(Error::new(ErrorKind::Io, format!("the program debugfs failed: {line}"))),
            None => Ok(self.told.join(", ")),
        }
    }
}

/// Returns the path of a gathered file in the file system.
fn inside(root: &Path, path: &Path) -> String {
    format!("/{}", path.strip_prefix(root).unwrap_or(path).display())
}
