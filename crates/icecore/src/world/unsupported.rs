//! What the system answers where a file system or a device lacks something.

use rustix::io::Errno;

/// Tells whether an error says that this file system or device cannot do that at all.
pub(crate) fn is_unsupported(error: Errno) -> bool {
    [Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS, Errno::NODEV].contains(&error)
}
