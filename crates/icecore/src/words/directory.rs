//! Checks of the name of a repository's directory, before the file system is asked.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;

/// Checks that a path can name a directory. Without the check, `s3://bucket/x` would be a directory
/// `s3:` on this machine instead of a bucket.
///
/// # Errors
/// `InvalidInput` if it is empty or a URL.
pub fn check_directory(path: &Path) -> Result<()> {
    let bytes = path.as_os_str().as_bytes();
    let error = |message: String| Error::new(ErrorKind::InvalidInput, message);
    if bytes.is_empty() {
        return Err(error("the name of the directory is empty".to_owned()).with_hint("name a directory"));
    }
    let Some(end) = bytes.windows(3).position(|window| window == b"://") else { return Ok(()) };
    if end == 0 || bytes[..end].contains(&b'/') {
        return Ok(());
    }
    let shown = path.display();
    let hint = match bytes.strip_prefix(b"file://") {
        Some(_) => "remove file://".to_owned(),
        None => {
            format!("name a directory of this machine; if a directory really has this name, write ./{shown}")
        }
    };
    Err(error(format!("{shown} is a URL, but a repository must be a directory of this machine"))
        .with_hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_nothing_are_no_directories() {
        for good in ["repo", "/srv/repo", "./s3://x", "a/b://c", "s3:/x", "user@host:x", "://x"] {
            assert!(check_directory(Path::new(good)).is_ok(), "{good}");
        }
        for wrong in ["", "s3://bucket/x", "sftp://host/x", "rest:http://host/", "file:///srv/repo", "S3://x"]
        {
            let error = check_directory(Path::new(wrong))
                .err()
                .map(|error| (error.kind(), error.next_step().is_some()));
            assert_eq!(error, Some((ErrorKind::InvalidInput, true)), "{wrong}");
        }
    }
}
