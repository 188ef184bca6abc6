//! Secrets as text: read without copies that stay behind, and a command in words.

use std::io::Read;
use std::sync::Arc;

use age::secrecy::SecretString;
use age::secrecy::zeroize::Zeroizing;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;

/// The most bytes of a password.
pub(super) const PASSWORD_BYTES_MAX: usize = 4096;

/// Asks for a password on the terminal, with this text. `prompt::ask` is one.
pub type Ask = Arc<dyn Fn(&str) -> Result<SecretString> + Send + Sync>;

/// Reads secret text. The buffer never grows, as that would leave copies in memory.
pub(super) fn read_secret(
    mut from: impl Read,
    bytes_max: usize,
    doing: &dyn Fn() -> String,
) -> Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(vec![0; bytes_max + 1]);
    let mut len = 0;
    while len < bytes.len() {
        match from.read(&mut bytes[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(doing(), error)),
        }
    }
    if len > bytes_max {
        let message = format!("{}: there are more than {bytes_max} bytes", doing());
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    match std::str::from_utf8(&bytes[..len]) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Error::new(ErrorKind::InvalidInput, format!("{}: it is not UTF-8", doing()))),
    }
}

/// Splits a command into words: at spaces, except in quotes. In single quotes everything stands for
/// itself; elsewhere a backslash makes the next character stand for itself. Returns none for a quote
/// that does not end.
pub(super) fn split(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = command.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some(open), char) if open == char => quote = None,
            (None, '\'' | '"') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (None, char) if char.is_whitespace() => words.extend(word.take()),
            (None | Some('"'), '\\') => word.get_or_insert_default().push(chars.next()?),
            _ => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_at_spaces_outside_of_quotes() {
        for (command, words) in [
            ("", &[][..]),
            ("  pass  show backup ", &["pass", "show", "backup"]),
            (r#"sh -c 'echo "$HOME" \n'"#, &["sh", "-c", r#"echo "$HOME" \n"#]),
            (r#"a "b \"c\" d" '' e\ f"#, &["a", r#"b "c" d"#, "", "e f"]),
        ] {
            assert_eq!(split(command).unwrap(), words, "{command}");
        }
        assert_eq!(split("a 'b"), None);
        assert_eq!(split("a \\"), None);
    }

    #[test]
    fn secrets_are_bounded_text() {
        let read = |bytes: &[u8]| read_secret(bytes, 4, &|| "reading it".to_owned());
        assert_eq!(*read(b"four").unwrap(), "four");
        for bytes in [&b"fives"[..], b"\xff"] {
            let error = read(bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().starts_with("reading it: "), "{error}");
        }
    }
}
