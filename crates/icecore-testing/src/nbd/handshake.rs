//! A client that sends arbitrary bytes.

use crate::nbd::disk::Watched;
use crate::nbd::script::play;

/// Plays a client. The first byte selects how its bytes arrive; all others are what it sends.
pub fn run(bytes: &[u8]) {
    let Some((mode, says)) = bytes.split_first() else { return };
    let piece = [1, 7, 100, 100_000][usize::from(mode >> 1 & 3)];
    let told = play(&Watched::new(mode & 1 != 0), says.to_vec(), piece);
    assert!(told.starts_with(b"NBDMAGICIHAVEOPT\0\x03"));
    // The longest answer to an option is the list of exports or the longest text. The longest
    // answer to a request is the data it asks for.
    assert!(told.len() <= 10_000 + says.len() / 16 * 10_000 + says.len() / 28 * (300 << 10));
}
