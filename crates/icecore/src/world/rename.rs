//! Renames to a name that must be free.
#![expect(clippy::disallowed_methods, reason = "one of the places that change names of files")]

use std::ffi::OsStr;
use std::os::fd::AsFd;

use rustix::fs::AtFlags;
use rustix::fs::RenameFlags;
use rustix::io::Errno;
use rustix::io::Result;
use rustix::io::retry_on_intr;

/// A place: an open directory, and a name in it.
pub(crate) type Spot<'a, D> = (&'a D, &'a OsStr);

/// Renames a file without replacing: `EXIST` if the new name is taken.
pub(crate) fn rename_new<D: AsFd>(from: Spot<'_, D>, to: Spot<'_, D>) -> Result<()> {
    let rename = || rustix::fs::renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE);
    match retry_on_intr(rename) {
        // Not all file systems know the flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link_new(from, to),
        done => done,
    }
}

/// Adds the new name, then removes the old one: equivalent to a rename, if the file system has hard
/// links.
fn link_new<D: AsFd>(from: Spot<'_, D>, to: Spot<'_, D>) -> Result<()> {
    match retry_on_intr(|| rustix::fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty())) {
        Ok(()) => retry_on_intr(|| rustix::fs::unlinkat(from.0, from.1, AtFlags::empty())),
        // On FAT and the like, a file that appears between this check and the rename is lost.
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            match rustix::fs::statat(to.0, to.1, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => retry_on_intr(|| rustix::fs::renameat(from.0, from.1, to.0, to.1)),
                Ok(_) => Err(Errno::EXIST),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::scratch::Outcome;

    #[test]
    fn a_name_that_is_taken_stays_what_it_is_with_and_without_the_flag() -> Outcome {
        for rename in [rename_new, link_new] {
            let dir = tempfile::tempdir()?;
            let opened = std::fs::File::open(dir.path())?;
            let content = |name: &str| std::fs::read_to_string(dir.path().join(name)).ok();
            std::fs::write(dir.path().join("a"), "first")?;
            std::fs::write(dir.path().join("b"), "second")?;
            let spot = |name: &'static str| (&opened, OsStr::new(name));
            rename(spot("a"), spot("new"))?;
            assert_eq!(rename(spot("b"), spot("new")), Err(Errno::EXIST));
            assert_eq!((content("new").as_deref(), content("b").as_deref()), (Some("first"), Some("second")));
            assert_eq!(content("a"), None);
        }
        Ok(())
    }
}
