//! The protocol's error numbers.

use std::io;

pub(crate) const EPERM: u32 = 1;
pub(crate) const EIO: u32 = 5;
pub(crate) const ENOMEM: u32 = 12;
pub(crate) const EINVAL: u32 = 22;
pub(crate) const ENOSPC: u32 = 28;
pub(crate) const EOVERFLOW: u32 = 75;
pub(crate) const ENOTSUP: u32 = 95;
pub(crate) const ESHUTDOWN: u32 = 108;

/// Returns the protocol's number for an error of a disk. It is `EIO` for any error that the
/// protocol does not know, and for `EINVAL`, because the request was found valid before it reached
/// the disk.
pub(crate) fn of(error: &io::Error) -> u32 {
    use io::ErrorKind as Kind;
    let known = [EOVERFLOW, ESHUTDOWN];
    let number = error.raw_os_error().and_then(|number| u32::try_from(number).ok());
    if let Some(number) = number.filter(|number| known.contains(number)) {
        return number;
    }
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => ENOSPC,
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => EPERM,
        Kind::OutOfMemory => ENOMEM,
        Kind::Unsupported => ENOTSUP,
        _ => EIO,
    }
}

/// Returns a few words for an error number. The text of the error itself may contain paths, which
/// are not for clients.
pub(crate) fn words(error: u32) -> &'static str {
    match error {
        EPERM => "not permitted",
        ENOMEM => "out of memory",
        EINVAL => "invalid request",
        ENOSPC => "no space left",
        EOVERFLOW => "too large",
        ENOTSUP => "not supported",
        ESHUTDOWN => "shutting down",
        _ => "input/output error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_disk_says_is_told_in_the_protocols_numbers() {
        let of_number = |number| of(&io::Error::from_raw_os_error(number));
        // As Linux numbers them: EPERM, EIO, ENOMEM, EACCES, EINVAL, EFBIG, ENOSPC, EROFS,
        // EOVERFLOW, EOPNOTSUPP, ESHUTDOWN, EDQUOT.
        let told = [1, 5, 12, 13, 22, 27, 28, 30, 75, 95, 108, 122].map(of_number);
        assert_eq!(told, [1, 5, 12, 1, 5, 28, 28, 1, 75, 95, 108, 28]);
        assert_eq!(of(&io::ErrorKind::UnexpectedEof.into()), EIO);
        assert_eq!(of(&io::Error::other("anything")), EIO);
    }
}
