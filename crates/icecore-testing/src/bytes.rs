//! Comparisons of whole images. In an unoptimised test, comparing byte by byte takes longer than
//! the code under test.

/// Returns whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: &[u8] = &[0; 4096];
    bytes.chunks(ZEROS.len()).all(|part| part == &ZEROS[..part.len()])
}

/// Fails if two images differ, and names the place instead of printing millions of numbers.
pub fn assert_same(found: &[u8], wanted: &[u8], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}: the length");
    if found != wanted {
        let differs = found.iter().zip(wanted).position(|(a, b)| a != b);
        panic!("{what}: the first byte that differs: {differs:?}");
    }
}
