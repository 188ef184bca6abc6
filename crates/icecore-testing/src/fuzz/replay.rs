//! Replays the corpora of the fuzzing targets, and everything that a fuzzer ever found.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// A fuzzing target: its name, and the function that it calls.
pub type Target = (&'static str, fn(&[u8]));

/// Plays all inputs of a target.
#[track_caller]
pub fn replay((name, target): Target) {
    let mut played = 0;
    for kind in ["corpus", "found"] {
        let Ok(inputs) = fs::read_dir(directory().join(kind).join(name)) else { continue };
        for input in inputs {
            let path = input.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            assert!(std::panic::catch_unwind(|| target(&bytes)).is_ok(), "{} fails", path.display());
            played += 1;
        }
    }
    assert!(played > 0, "there is no corpus of {name}");
}

/// Returns the names of all targets, sorted.
pub fn all_targets() -> Vec<String> {
    let files = fs::read_dir(directory().join("fuzz_targets")).unwrap();
    let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> = files.map(|file| name(file.unwrap().path())).collect();
    names.sort();
    names
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}
