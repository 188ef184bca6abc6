//! Encodings of bytes and texts inside other texts.

use percent_encoding::AsciiSet;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;

/// The characters to escape in a query: all but those that RFC 3986 calls unreserved.
const QUERY: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Escapes a text for use in a query.
pub(crate) fn in_query(text: &str) -> String {
    utf8_percent_encode(text, &QUERY).to_string()
}

/// Formats bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_query_is_encoded() {
        assert_eq!(in_query("/a?b=c&d \u{e4}"), "%2Fa%3Fb%3Dc%26d%20%C3%A4");
        assert_eq!(in_query("a-b_c.d~9"), "a-b_c.d~9");
    }

    #[test]
    fn digits_are_two_for_each_byte() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
    }
}
