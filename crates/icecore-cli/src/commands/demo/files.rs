//! Real files for the demonstration's file system.

use std::io;
use std::path::Path;
use std::path::PathBuf;

use icecore::Error;
use icecore::Result;

/// Larger files are left out, so that there are many files.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Directories with generated or private files.
const LEFT_OUT: [&str; 2] = ["target", ".git"];

/// A source of files, their destination, and a limit.
pub(crate) struct Source {
    /// The description of the files.
    pub(crate) what: &'static str,
    /// The directory of the files.
    pub(crate) from: PathBuf,
    /// The destination, relative to the root of the file system.
    pub(crate) to: &'static str,
    /// The most bytes to take.
    pub(crate) bytes_max: u64,
}

/// The files that were put in.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sum {
    /// The number of files.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// Puts files of `source` under `root`, in the order of their names, as links where that is
/// possible.
pub(crate) fn gather(root: &Path, source: &Source) -> Result<Sum> {
    let failed = |error| Error::io(format!("gathering files of {}", source.from.display()), error);
    let mut sum = Sum::default();
    walk(&source.from, &root.join(source.to), source.bytes_max, &mut sum).map_err(failed)?;
    Ok(sum)
}

fn walk(from: &Path, to: &Path, bytes_max: u64, sum: &mut Sum) -> io::Result<()> {
    let Ok(entries) = std::fs::read_dir(from) else { return Ok(()) };
    let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() && !LEFT_OUT.iter().any(|left_out| name == *left_out) {
            walk(&entry.path(), &to.join(&name), bytes_max, sum)?;
        } else if about.is_file() && about.len() <= FILE_BYTES_MAX && sum.bytes + about.len() <= bytes_max {
            std::fs::create_dir_all(to)?;
            if put(&entry.path(), &to.join(&name)) {
                sum.files += 1;
                sum.bytes += about.len();
            }
        }
    }
    Ok(())
}

/// Returns whether a file could be put there; one without read permission is left out.
fn put(from: &Path, to: &Path) -> bool {
    std::fs::File::open(from).is_ok()
        && (std::fs::hard_link(from, to).is_ok() || std::fs::copy(from, to).is_ok())
}

/// Returns all files under `dir` with their sizes, by name.
pub(crate) fn all(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
            match entry.metadata() {
                Ok(about) if about.is_dir() => waiting.push(entry.path()),
                Ok(about) => found.push((entry.path(), about.len())),
                Err(_) => {}
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_gathered_than_was_allowed_and_nothing_of_build_directories() {
        let from = tempfile::tempdir().unwrap();
        let to = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(from.path().join("target")).unwrap();
        for (name, len) in [("a", 100), ("b", 1000), ("c", 50), ("target/d", 10)] {
            std::fs::write(from.path().join(name), vec![1; len]).unwrap();
        }
        let source = Source { what: "", from: from.path().into(), to: "x", bytes_max: 200 };
        assert_eq!(gather(to.path(), &source).unwrap(), Sum { files: 2, bytes: 150 });
        let names: Vec<_> = all(to.path()).into_iter().map(|(path, _)| path).collect();
        assert_eq!(names, [to.path().join("x/a"), to.path().join("x/c")]);
    }
}
