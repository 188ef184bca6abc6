//! How a command ends, as a number for scripts.

use icecore::ErrorKind;

/// How a command ended that was not stopped by an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All is well.
    Clean,
    /// It finished, and found something that is not as it must be.
    Findings,
    /// An error stopped it, and its output says so already; it exits with this code.
    Told(u8),
}

impl Verdict {
    /// Returns `Findings` if `findings` is true.
    pub(crate) fn from_findings(findings: bool) -> Self {
        if findings { Self::Findings } else { Self::Clean }
    }

    /// Returns the exit code.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Findings => 1,
            Self::Told(code) => code,
        }
    }
}

/// The table of exit codes, for the manual.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  finished, with findings: something is not as it must be
    2  wrong arguments, or input that does not fit
    3  not found: a snapshot, repository, file or device
    4  exists already: a name or a file
    5  in use: a lock, a mounted device, a protected snapshot
    6  corrupt: stored bytes are not what they must be
    7  unsupported: the repository needs a newer program, or another file system
    8  no space left
    9  any other failure of the system or the medium
   10  permission denied, or a read-only place
   11  the image changed in size while it was captured
   12  too few file descriptors or threads, or too little memory
  130  interrupted";

/// Returns the exit code for an error.
pub(crate) fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::InvalidInput => 2,
        ErrorKind::NotFound => 3,
        ErrorKind::AlreadyExists => 4,
        ErrorKind::InUse => 5,
        ErrorKind::Corrupt => 6,
        ErrorKind::Unsupported => 7,
        ErrorKind::NoSpace => 8,
        ErrorKind::Io => 9,
        ErrorKind::PermissionDenied => 10,
        ErrorKind::ImageChanged => 11,
        ErrorKind::OutOfResources => 12,
        ErrorKind::Interrupted => 130,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_lists_every_exit_code() {
        for kind in ErrorKind::all() {
            let line = format!("\n{:>5}  ", exit_code(kind));
            assert!(EXIT_CODES.contains(&line), "{kind:?}");
        }
    }
}
