//! What the system answers where a file system or a device lacks something.

use std::io;

use rustix::io::Errno;

/// Tells whether an error says that this file system or device cannot do that at all.
pub(crate) fn is_unsupported(error: Errno) -> bool {
    [Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS, Errno::NODEV].contains(&error)
}

/// Makes an error that says what the file system of a repository lacks, and what to do about it, of one that says so with a
/// number only. Others stay.
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
                "the file system lets nobody set permissions, and others could read this: mount it with the option umask=077 (vfat, exfat, ntfs), \
             file_mode=0600,dir_mode=0700 (cifs) or the like"
            }
            Lacking::Locks => {
                "the file system has no locks, and two programs could damage the repository: mount it with them (nfs: without nolock, cifs: \
             without nobrl), or keep the repository on another"
            }
            Lacking::SyncedDirectories => {
                "the file system cannot sync directories, and a power cut could lose what was reported as done: keep the repository on another"
            }
        },
    )
}

/// What a repository needs and some file systems do not have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lacking {
    /// `fchmod`, where files do not get the mode that they are made with.
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
