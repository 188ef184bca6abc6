//! Exit codes.

use icecore::ErrorKind;

/// The outcome of a command that no error stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The command found no problem.
    Clean,
    /// The command finished, and found a problem.
    Findings,
    /// The output already reports an error; the command exits with this code.
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
    1  finished, and found a problem
    2  invalid arguments or unsuitable input
    3  not found: a snapshot, repository, file or device
    4  already exists: a name or a file
    5  in use: a lock, a mounted device, a protected snapshot
    6  corrupt: stored bytes are damaged
    7  unsupported: the repository needs a newer program, or another file system
    8  no space left
    9  any other failure of the system or the medium
   10  permission denied, a wrong password, or a read-only place
   11  the image changed in size during the capture
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
