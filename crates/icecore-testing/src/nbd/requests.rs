//! Requests with any command, flags, place and length.
#![expect(clippy::big_endian_bytes, reason = "the protocol is big-endian")]

use crate::nbd::disk::BYTES;
use crate::nbd::disk::Watched;
use crate::nbd::script::play;

/// Returns the messages of a client that opens the export: with structured replies and both
/// contexts, or with neither.
fn opening(structured: bool) -> Vec<u8> {
    let option = |number: u8, data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        [&b"IHAVEOPT\0\0\0"[..], &[number], &length, data].concat()
    };
    let mut says = vec![0, 0, 0, 3];
    if structured {
        says.extend(option(8, &[]));
        let contexts = b"\0\0\0\x01d\0\0\0\x02\0\0\0\x0fbase:allocation\0\0\0\x08test:odd";
        says.extend(option(10, contexts));
    }
    says.extend(option(7, b"\0\0\0\x01d\0\0"));
    says
}

/// Returns the number that a byte selects: one near a boundary, or any.
fn number(kind: u8, value: u16) -> u64 {
    let value = u64::from(value);
    let near = [0, 4096, 40_000, 65_536, BYTES as u64, 32 << 20, 128 << 20, 1 << 32, u64::MAX];
    match near.get(usize::from(kind >> 1)) {
        Some(near) if kind & 1 == 0 => near.wrapping_add(value),
        Some(near) => near.wrapping_sub(value),
        None => value,
    }
}

/// Plays a client. The first byte selects how it speaks; each request is ten bytes.
pub fn run(bytes: &[u8]) {
    let Some((mode, records)) = bytes.split_first() else { return };
    let structured = mode & 1 != 0;
    let mut says = opening(structured);
    let mut asked = 0_u64;
    for record in records.chunks(10) {
        let Some([command, flags, more, kinds, o0, o1, l0, l1, payload, fill]) = record.first_chunk() else {
            // The remaining bytes are sent unchanged.
            says.extend(record);
            break;
        };
        let offset = number(kinds >> 4, u16::from_be_bytes([*o0, *o1]));
        let length = number(kinds & 15, u16::from_be_bytes([*l0, *l1]));
        let length = u32::try_from(length & 0xffff_ffff).unwrap();
        asked += 1;
        says.extend(0x2560_9513_u32.to_be_bytes());
        says.extend([*more, *flags, 0, *command]);
        says.extend(asked.to_be_bytes());
        says.extend(offset.to_be_bytes());
        says.extend(length.to_be_bytes());
        if *command == 1 {
            // Most payloads have the right length.
            let whole = if length <= 128 << 10 { length as usize } else { 0 };
            let length = if payload & 0x80 != 0 { usize::from(*payload) } else { whole };
            says.extend(vec![*fill; length]);
        }
    }
    let piece = [100, 1000, 5000, 1 << 20][usize::from(mode >> 2 & 3)];
    let told = play(&Watched::new(mode & 2 != 0), says, piece);
    if structured {
        check(&told, asked);
    }
}

/// Checks the messages after the handshake: each must be whole and belong to a request.
fn check(told: &[u8], asked: u64) {
    let end = [&0x0003_e889_0455_65a9_u64.to_be_bytes()[..], &[0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0]].concat();
    let begin = told.windows(end.len()).position(|window| window == end).unwrap() + end.len();
    let mut rest = &told[begin..];
    let mut answered = std::collections::BTreeSet::new();
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    while !rest.is_empty() {
        let (length, cookie, done) = if rest[..4] == 0x6744_6698_u32.to_be_bytes() {
            (16, number(&rest[8..16]), true)
        } else {
            assert_eq!(rest[..4], 0x668e_33ef_u32.to_be_bytes());
            (20 + usize::try_from(number(&rest[16..20])).unwrap(), number(&rest[8..16]), rest[5] & 1 != 0)
        };
        // A client that hides a request in a payload knows that request's cookie.
        assert!(
            !done || answered.insert(cookie) || cookie == 0 || cookie > asked,
            "{cookie} is answered twice"
        );
        rest = rest.get(length..).expect("a message that is not whole");
    }
}
