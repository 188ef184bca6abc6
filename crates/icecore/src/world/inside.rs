//! Detection of paths that lead into a repository: only icecore itself writes there.
#![expect(clippy::disallowed_methods, reason = "one of the modules that open files outside the repository")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::DirEntryExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use crate::format::config::MAGIC;
use crate::format::layout;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;

/// Refuses a path to write to if it is in a repository, or is one, whatever links lead there. With
/// `own`, it also detects other names of this repository's files and directories: hard links and
/// bind mounts.
///
/// # Errors
/// `InvalidInput` if it is.
pub fn check_outside_repository(path: &Path, own: Option<&Path>) -> Result<()> {
    let Some(real) = real_path(path) else { return Ok(()) };
    if let Some(repository) = real.ancestors().find(|dir| is_repository(dir)) {
        return Err(inside(path, repository));
    }
    match own {
        Some(own) if is_part_of(&real, own) => Err(inside(path, own)),
        _ => Ok(()),
    }
}

fn inside(path: &Path, repository: &Path) -> Error {
    let message = format!("{} is part of the repository {}", path.display(), repository.display());
    Error::new(ErrorKind::InvalidInput, message).with_hint("choose a place outside it")
}

/// Returns the object that a path leads to, or the nearest existing directory above it. None if
/// that is unknown: then nothing can be written there either.
fn real_path(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().find_map(|path| std::fs::canonicalize(path).ok())
}

/// Returns whether a directory holds a repository. If its config is lost or damaged, its
/// subdirectories decide.
fn is_repository(dir: &Path) -> bool {
    let mut magic = [0; MAGIC.len()];
    let config = dir.join(layout::CONFIG);
    // A pipe with this name would make us wait.
    let is_file = std::fs::metadata(&config).is_ok_and(|about| about.is_file());
    let read = is_file && File::open(config).and_then(|mut file| file.read_exact(&mut magic)).is_ok();
    read && magic == MAGIC
        || [layout::JOURNAL, layout::PACKS, layout::INDEX].iter().all(|name| dir.join(name).is_dir())
}

/// Returns whether the object at `real`, or one of the directories above it, is also in
/// `repository`.
fn is_part_of(real: &Path, repository: &Path) -> bool {
    let Ok(root) = std::fs::metadata(repository) else { return false };
    // An object on another file system is not another name of anything in the repository.
    let wanted: BTreeSet<u64> = real
        .ancestors()
        .filter_map(|path| std::fs::metadata(path).ok())
        .filter(|about| about.dev() == root.dev())
        .map(|about| about.ino())
        .collect();
    let mut dirs = vec![repository.to_owned()];
    while let Some(dir) = dirs.pop().filter(|_| !wanted.is_empty()) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if wanted.contains(&entry.ino()) {
                return true;
            }
            if entry.file_type().is_ok_and(|about| about.is_dir()) {
                dirs.push(entry.path());
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::world::in_place::OpenTarget;
    use crate::world::scratch::Outcome;
    use crate::world::target::NewTarget;

    const SESSION: uuid::Uuid = uuid::Uuid::from_u128(7);

    #[test]
    fn nothing_is_written_into_a_repository_by_any_path_to_it() -> Outcome {
        let dir = tempfile::tempdir()?;
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("repo/packs/ab"))?;
        std::fs::write(at("repo/config"), [&MAGIC[..], b"more"].concat())?;
        std::fs::write(at("repo/packs/ab/pack"), vec![0; 4096])?;
        std::fs::create_dir_all(at("other"))?;
        symlink(at("repo/packs"), at("other/link"))?;
        symlink(at("repo/packs/ab/pack"), at("other/file"))?;
        symlink("../../other", at("repo/packs/out"))?;
        std::fs::hard_link(at("repo/packs/ab/pack"), at("other/hard"))?;
        let inside = [
            "repo",
            "repo/config",
            "repo/new",
            "repo/packs/ab/pack",
            "other/../repo/x",
            "other/link/ab/pack",
            "other/link/new/deep/x",
            "other/file",
        ];
        for name in inside {
            let error = check_outside_repository(&at(name), None).err().ok_or(name)?;
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
            assert!(error.to_string().contains("repo"), "{error}");
        }
        for name in ["", "other", "other/new", "other/hard", "repo/packs/out/x"] {
            assert!(check_outside_repository(&at(name), None).is_ok(), "{name}");
        }
        // A hard link is found if it is known which repository could have it.
        assert!(check_outside_repository(&at("other/hard"), Some(&at("repo"))).is_err());
        assert!(check_outside_repository(&at("other/new"), Some(&at("repo"))).is_ok());
        for (name, replace) in
            [("repo/new", false), ("repo/packs/ab/pack", true), ("other/link/ab/pack", true)]
        {
            assert!(NewTarget::create(&at(name), 4096, replace, SESSION).is_err(), "{name}");
        }
        assert!(OpenTarget::open(&at("repo/packs/ab/pack"), 4096).is_err());
        assert!(OpenTarget::open(&at("other/file"), 4096).is_err());
        assert!(!at("repo/new").exists());
        Ok(())
    }

    #[test]
    fn a_repository_is_one_without_its_config_and_other_directories_are_none() -> Outcome {
        let dir = tempfile::tempdir()?;
        let at = |name: &str| dir.path().join(name);
        for name in [layout::JOURNAL, layout::PACKS, layout::INDEX] {
            assert!(check_outside_repository(&at("disk.raw"), None).is_ok());
            std::fs::create_dir(at(name))?;
        }
        assert!(check_outside_repository(&at("disk.raw"), None).is_err());
        let git = tempfile::tempdir()?;
        std::fs::write(git.path().join("config"), "[core]\n")?;
        assert!(check_outside_repository(&git.path().join("disk.raw"), None).is_ok());
        Ok(())
    }
}
