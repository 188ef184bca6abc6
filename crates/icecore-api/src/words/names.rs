//! Checks of names from clients and the configuration.

use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The cloud's message for a bad name of a volume.
const INVALID_VOLUME_NAME: &str =
    "failed to create volume: invalid volume name. names must be lowercase and alphanumeric";
/// The longest name of a volume.
const VOLUME_NAME_MAX: usize = 64;
/// The longest name of a Droplet, a snapshot, an image or a tag, in bytes.
const NAME_MAX: usize = 255;
/// The longest text about something, in bytes.
const DESCRIPTION_MAX: usize = 1024;

/// Checks the name of a new volume: lower-case letters, digits and `-`, beginning with a letter.
pub(crate) fn check_volume(name: &str) -> ApiResult<()> {
    if name.len() > VOLUME_NAME_MAX {
        return Err(ApiError::unprocessable(format!(
            "{INVALID_VOLUME_NAME}, with at most {VOLUME_NAME_MAX} characters; this has {}",
            name.len()
        )));
    }
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let first = name.chars().next().is_some_and(|first| first.is_ascii_lowercase());
    if first && name.chars().all(good) {
        return Ok(());
    }
    Err(ApiError::unprocessable(INVALID_VOLUME_NAME))
}

/// Checks the name of a Droplet: that of a host.
pub(crate) fn check_droplet(name: &str) -> ApiResult<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if name.len() > NAME_MAX {
        return Err(too_long("Name", NAME_MAX, name));
    }
    if ends(name.chars().next()) && ends(name.chars().last()) && name.chars().all(good) {
        return Ok(());
    }
    Err(ApiError::unprocessable("Name Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)"))
}

/// Checks the name of a VPC.
pub(crate) fn check_vpc(name: &str) -> ApiResult<()> {
    if name.len() > NAME_MAX {
        return Err(too_long("name", NAME_MAX, name));
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if !name.is_empty() && name.chars().all(good) {
        return Ok(());
    }
    Err(ApiError::unprocessable("name can only have letters, digits, dashes and periods"))
}

/// Checks the name of a snapshot or an image, which is free text.
pub(crate) fn check_text(what: &str, name: &str) -> ApiResult<()> {
    let turning = |c: char| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if name.len() > NAME_MAX {
        return Err(too_long(what, NAME_MAX, name));
    }
    let bad = name.trim().is_empty() || name.trim() != name;
    if bad || name.chars().any(|c| c.is_control() || turning(c)) {
        return Err(ApiError::unprocessable(format!("{what} must have 1 to 255 bytes of printable text")));
    }
    Ok(())
}

/// Checks a text about something.
pub(crate) fn check_description(what: &str, text: &str) -> ApiResult<()> {
    if text.len() > DESCRIPTION_MAX {
        return Err(too_long(what, DESCRIPTION_MAX, text));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(ApiError::unprocessable(format!("{what} can only have printable text")));
    }
    Ok(())
}

/// Checks the name of a tag.
pub(crate) fn check_tag(name: &str) -> ApiResult<()> {
    let good = |c: char| c.is_alphanumeric() || matches!(c, ':' | '-' | '_');
    if name.len() > NAME_MAX {
        return Err(too_long("tag name", NAME_MAX, name));
    }
    if !name.is_empty() && name.chars().all(good) {
        return Ok(());
    }
    Err(ApiError::unprocessable(
        "tag name must have 1 to 255 letters, digits, colons, dashes and underscores",
    ))
}

/// Returns the error for a text that is too long.
fn too_long(what: &str, bytes_max: usize, text: &str) -> ApiError {
    let (bytes, unit) = (text.len(), if text.is_ascii() { "characters" } else { "bytes" });
    ApiError::unprocessable(format!("{what} can have at most {bytes_max} {unit}; this has {bytes}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_have_names_of_lower_case() {
        for good in ["a", "pvc-0a1b", &"x".repeat(64)] {
            assert!(check_volume(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "1a", "-a", "a_b", "a.b", "a b", "\u{e4}", &"x".repeat(65)] {
            assert!(check_volume(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn droplets_have_names_of_hosts() {
        assert!(check_droplet("Web-1.example.com").is_ok());
        for bad in ["", "-a", "a.", "a b", "a/b", "a_b"] {
            assert!(check_droplet(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn snapshots_have_names_of_text_and_tags_have_words() {
        assert!(check_text("name", "Before the upgrade, 2 pm").is_ok());
        for bad in ["", " ", " a", "a\nb", "\u{1b}", "a\u{202e}b", &"x".repeat(256)] {
            assert!(check_text("name", bad).is_err(), "{bad:?}");
        }
        assert!(check_tag("env:prod_1-x").is_ok());
        for bad in ["", "a b", "a.b", "a/b", &"x".repeat(256)] {
            assert!(check_tag(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_too_long_is_told_the_limit() {
        let long = "x".repeat(2000);
        for (checked, limit) in [
            (check_volume(&long), "at most 64"),
            (check_droplet(&long), "at most 255"),
            (check_text("name", &long), "at most 255"),
            (check_description("description", &long), "at most 1024"),
            (check_tag(&long), "at most 255"),
        ] {
            let message = checked.unwrap_err().message;
            assert!(message.contains(limit) && message.contains("2000"), "{message}");
        }
    }
}
