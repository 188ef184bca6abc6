//! Ids in paths and bodies. Each resource has one spelling of its id, so that two paths are never
//! the same resource.

use uuid::Uuid;

/// The length of a UUID with its hyphens.
const UUID_CHARS: usize = 36;

/// Reads an integer id: decimal digits without sign and leading zeros.
pub(crate) fn number(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && !text.starts_with('0') { text.parse().ok() } else { None }
}

/// Reads a UUID with its hyphens and nothing around it.
pub(crate) fn uuid(text: &str) -> Option<Uuid> {
    if text.len() == UUID_CHARS { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_id_has_one_spelling() {
        assert_eq!([number("1"), number("9223372036854775807")], [Some(1), Some(i64::MAX)]);
        for bad in ["", "0", "01", "+1", "-1", "1 ", "1.0", "0x1", "9223372036854775808", "\u{661}"] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_uuid_has_hyphens() {
        let id = Uuid::from_u128(0x1234_5678);
        assert_eq!(uuid(&id.to_string()), Some(id));
        for bad in [id.simple().to_string(), id.braced().to_string(), id.urn().to_string()] {
            assert_eq!(uuid(&bad), None, "{bad}");
        }
    }
}
