//! Padding of sealed bytes, so that their length says less about them.
//!
//! * An object that is read whole is padded by Padmé (Nikitin et al., "Reducing Metadata Leakage from
//!   Encrypted Files and Communication with PURBs", 2019): a length keeps only its leading bits. It
//!   grows by 12 % at most, by 2 % on average.
//! * A record of a pack is padded to a multiple of 256 bytes, which costs a quarter of that.

use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;

/// The byte after the content. Zeros follow it up to the padded length.
const END: u8 = 0x80;

/// Records are padded to a multiple of this.
const RECORD_UNIT: u64 = 256;

/// Returns the padded length of an object of `len` bytes.
pub(crate) fn padme(len: u64) -> u64 {
    let Some(exponent) = len.checked_ilog2() else { return 0 };
    let kept = exponent.checked_ilog2().map_or(0, |log| log + 1);
    let mask = (1_u64 << (exponent - kept.min(exponent))) - 1;
    len.saturating_add(mask) & !mask
}

/// Returns the padded length of a record of `len` bytes.
pub(crate) fn record_units(len: u64) -> u64 {
    len.next_multiple_of(RECORD_UNIT)
}

/// Pads the bytes of `buffer` from `begin` on. `padded` is one of the functions above.
pub(crate) fn pad(buffer: &mut Vec<u8>, begin: usize, padded: fn(u64) -> u64) {
    buffer.push(END);
    let content = buffer.len().saturating_sub(begin);
    buffer.resize(begin + to_usize(padded(to_u64(content))), 0);
}

/// Returns the content of padded bytes; none if they were not padded.
pub(crate) fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let end = padded.iter().rposition(|byte| *byte != 0)?;
    (padded[end] == END).then(|| &padded[..end])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_those_of_the_paper() {
        let padded =
            [(0, 0), (1, 1), (8, 8), (9, 10), (15, 16), (17, 18), (100, 104), (1000, 1024), (1025, 1088)];
        for (len, expected) in padded {
            assert_eq!(padme(len), expected, "{len}");
        }
        assert_eq!(padme((1 << 20) + 1), (1 << 20) + (1 << 15));
    }

    #[test]
    fn records_become_multiples_of_256_bytes() {
        let padded = [(0, 0), (1, 256), (256, 256), (257, 512), (65536, 65536), (65537, 65792)];
        padded.into_iter().for_each(|(len, expected)| assert_eq!(record_units(len), expected, "{len}"));
    }

    #[test]
    fn padding_adds_12_percent_at_most_and_leaves_few_lengths() {
        let lens = 0..=1_u64 << 17;
        for len in lens.clone() {
            let padded = padme(len);
            assert!(len <= padded && (padded - len) * 100 <= len * 12, "{len} becomes {padded}");
            assert_eq!(padme(padded), padded, "{len}");
        }
        assert!(lens.map(padme).collect::<HashSet<_>>().len() < 260);
    }

    proptest! {
        #[test]
        fn large_lengths_keep_the_bound(len in 1..u64::MAX >> 1) {
            let padded = padme(len);
            prop_assert!(len <= padded && (padded - len) <= len / 8);
            prop_assert_eq!(padme(padded), padded);
        }

        #[test]
        fn content_comes_back(head in vec(any::<u8>(), 0..20), content in vec(0_u8..=0x80, 0..300)) {
            for padded in [padme, record_units] {
                let mut buffer = [&head[..], &content].concat();
                pad(&mut buffer, head.len(), padded);
                let (before, after) = buffer.split_at(head.len());
                prop_assert_eq!(before, &head);
                prop_assert_eq!(to_u64(after.len()), padded(to_u64(content.len()) + 1));
                prop_assert_eq!(unpad(after), Some(&content[..]));
            }
        }
    }

    #[test]
    fn bytes_without_padding_are_refused() {
        for bytes in [&[][..], &[0, 0], &[1], &[0x80, 1, 0]] {
            assert_eq!(unpad(bytes), None, "{bytes:?}");
        }
    }
}
