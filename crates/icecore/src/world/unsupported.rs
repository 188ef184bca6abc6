//! Errors of file systems and devices that lack a feature.

use std::io;

use rustix::io::Errno;

/// Returns whether an error says that this file system or device lacks the operation.
pub(crate) fn is_unsupported(error: Errno) -> bool {
    [Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS, Errno::NODEV].contains(&error)
}

/// Turns an error number that says that the file system of a repository lacks a feature into an
/// error that names the feature and the remedy. Other errors stay.
pub(crate) fn lacking(what: Lacking, error: Errno) -> io::Error {
    let is_it = match what {
        Lacking::Modes => error == Errno::PERM || is_unsupported(error),
        Lacking::Locks => error == Errno::NOLCK || is_unsupported(error),
        Lacking::SyncedDirectories => error == Errno::BADF || is_unsupported(error),
    };
    if !is_it {
        return error.into();
    }
    io::Error::new(
        io::ErrorKind::Unsupported,
        match what {
            Lacking::Modes => {
                "the file system cannot set permissions, so others could read the data: mount it with the option umask=077 \
         (vfat, exfat, ntfs), file_mode=0600,dir_mode=0700 (cifs) or the like"
            }
            Lacking::Locks => {
                "the file system has no locks, so two programs could damage the repository: mount it with locks (nfs: without \
         nolock, cifs: without nobrl), or keep the repository on another file system"
            }
            Lacking::SyncedDirectories => {
                "the file system cannot sync directories, so a power cut could lose completed work: keep the repository on \
         another file system"
            }
        },
    )
}

/// A feature that a repository needs and some file systems lack.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lacking {
    /// `fchmod`, if files do not get the mode they are created with.
    Modes,
    /// `flock`.
    Locks,
    /// `fsync` of a directory.
    SyncedDirectories,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_system_lacks_is_told_and_other_errors_stay() {
        for (what, error, word) in [
            (Lacking::Modes, Errno::PERM, "umask"),
            (Lacking::Modes, Errno::OPNOTSUPP, "umask"),
            (Lacking::Locks, Errno::NOLCK, "nolock"),
            (Lacking::Locks, Errno::NOSYS, "nolock"),
            (Lacking::SyncedDirectories, Errno::INVAL, "power cut"),
        ] {
            let told = lacking(what, error);
            assert!(told.to_string().contains(word) && told.kind() == io::ErrorKind::Unsupported, "{told}");
        }
        for (what, error) in [
            (Lacking::Modes, Errno::IO),
            (Lacking::Locks, Errno::INTR),
            (Lacking::SyncedDirectories, Errno::NOSPC),
        ] {
            assert_eq!(lacking(what, error).raw_os_error(), Some(error.raw_os_error()));
        }
    }
}
