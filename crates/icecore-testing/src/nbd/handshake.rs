//! A client that says anything at all.

use crate::nbd::disk::Watched;
use crate::nbd::script::play;

/// The first byte says how the bytes come; the others are what the client says, from the first on.
pub fn run(bytes: &[u8]) {
    let Some((mode, says)) = bytes.split_first() else { return };
    let piece = [1, 7, 100, 100_000][usize::from(mode >> 1 & 3)];
    let told = play(&Watched::new(mode & 1 != 0), says.to_vec(), piece);
    assert!(told.starts_with(b"NBDMAGICIHAVEOPT\0\x03"));
    // An option is answered with the list of exports at most, or the longest text; a request with
    // what it asks for.
    assert!(told.len() <= 10_000 + says.len() / 16 * 10_000 + says.len() / 28 * (300 << 10));
}
