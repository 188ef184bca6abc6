//! Fuzzing targets for the parsers of user input. The tests replay what the fuzzer found.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use icecore::repository::LEVELS;

use crate::args;
use crate::commands::snapshot::columns::Column;
use crate::commands::snapshot::list;
use crate::commands::snapshot::tag::Changes;
use crate::ui;
use crate::units;

/// Parses the arguments of the program, each ended by a zero byte.
pub fn arguments(bytes: &[u8]) {
    let arguments: Vec<OsString> =
        bytes.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
    if let Err(error) = args::parse(&arguments) {
        assert_ne!(error.to_string(), "");
    }
}

/// Parses single values: sizes, percentages, levels, columns, tags, patterns, and texts that are
/// shown.
pub fn values(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(size) = units::parse_size(&text) {
        // The shown form parses to about the same size, as far as it can be written.
        let shown = units::bytes(size);
        if let Ok(again) = units::parse_size(&shown) {
            assert!(
                again.abs_diff(size) <= size / 10,
                "{text:?} is {size}, shown as {shown}, read as {again}"
            );
        } else {
            assert_eq!(shown, "16.0 EiB", "{size} is shown as what cannot be read");
        }
    }
    if let Ok(part) = units::parse_percent(&text) {
        assert!((0.0..=1.0).contains(&part), "{text:?} is {part}");
    }
    if let Ok(level) = units::parse_level(&text) {
        assert!(LEVELS.contains(&level), "{text:?} is {level}");
    }
    let words: Vec<String> = text.split('\n').map(str::to_owned).collect();
    if let Ok(changes) = Changes::parse(&words) {
        assert_eq!(changes.add.len() + changes.remove.len(), words.len());
    }
    for word in &words {
        let _ = Column::parse(word);
    }
    if let Ok(globs) = list::globs(&words) {
        let _ = words.iter().filter(|word| globs.is_match(word)).count();
    }
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!ui::printable(&text).contains(steers), "{text:?} would change the terminal");
}

#[cfg(test)]
mod tests {
    use icecore_testing::fuzz::replay::replay;

    use super::*;

    #[test]
    fn parsers_take_what_fuzzers_made_up() {
        replay(("cli_arguments", arguments));
        replay(("cli_values", values));
    }
}
