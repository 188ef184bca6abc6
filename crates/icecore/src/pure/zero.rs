//! The zero check.

/// The number of bytes to check between branches.
const GROUP: usize = 256;

/// Returns whether all bytes are zero. Written so that the compiler uses vector instructions.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (groups, rest) = bytes.as_chunks::<GROUP>();
    groups.iter().all(|group| group.iter().fold(0, |seen, byte| seen | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_anywhere_is_found() {
        let mut bytes = vec![0; 4096 + 3];
        assert!(is_zero(&bytes));
        for at in 0..bytes.len() {
            bytes[at] = 0x80;
            assert!(!is_zero(&bytes), "at {at}");
            bytes[at] = 0;
        }
        assert!(is_zero(&[]));
    }
}
