//! The cipher of records: AES-256-GCM, with a key for each object and a synthetic nonce.
//!
//! A record is a part of an object that is read on its own. Sealed, it is as long as before and is
//! followed by a seal of 28 bytes: the nonce (12), then the tag (16).
//!
//! The nonce is a keyed hash of the bytes, their place and their sizes. So two machines that are
//! clones of one memory image, and make objects with the same salt, use one nonce twice only for
//! the same bytes in the same place, which gives the same sealed bytes. A counter would repeat a
//! nonce with other bytes, which reveals both of them and lets anybody forge records.

use ring::aead::AES_256_GCM;
use ring::aead::Aad;
use ring::aead::LessSafeKey;
use ring::aead::NONCE_LEN;
use ring::aead::Nonce;
use ring::aead::Tag;
use ring::aead::UnboundKey;

use crate::pure::keys::EpochKey;
use crate::pure::keys::Salt;
use crate::pure::secret::Secret;
use crate::words::sizes::to_u64;

/// The bytes that follow a sealed record.
pub(crate) const SEAL_BYTES: usize = NONCE_LEN + TAG_BYTES;
const TAG_BYTES: usize = 16;

/// The kind of object that a record is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pack,
    Entry,
    Checkpoint,
    /// A file that only this machine needs.
    Local,
    /// A record of reads.
    Reads,
}

impl Kind {
    fn context(self) -> &'static str {
        match self {
            Self::Pack => "icecore 2026-11-30 sealed pack",
            Self::Entry => "icecore 2026-11-30 sealed entry",
            Self::Checkpoint => "icecore 2026-11-30 sealed checkpoint",
            Self::Local => "icecore 2026-11-30 sealed local",
            Self::Reads => "icecore 2026-11-30 sealed reads",
        }
    }
}

/// Where a record is, and what else is known of it before it is opened. All of this is
/// authenticated with the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The record's number in its object.
    pub(crate) number: u64,
    /// The number of bytes that the record decodes to.
    pub(crate) raw_bytes: u64,
}

/// The record cannot be opened: it is damaged, or was not sealed with this key for this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the seal does not fit")]
pub(crate) struct Refused;

/// The cipher of the records of one object.
pub(crate) struct RecordCipher {
    /// On the heap, so that it never moves and can be wiped.
    cipher: Box<LessSafeKey>,
    keys: Secret<64>,
}

impl RecordCipher {
    /// Returns the cipher of an object.
    ///
    /// # Errors
    /// Never: the key has the right length.
    pub(crate) fn new(epoch: &EpochKey, kind: Kind, salt: &Salt) -> Result<Self, Refused> {
        let keys = epoch.object(kind.context(), salt);
        let cipher = Box::new(cipher(&keys.expose()[..32])?);
        Ok(Self { cipher, keys })
    }

    /// Seals the bytes of `buffer` from `begin` on, in place, and appends the seal.
    ///
    /// # Errors
    /// If there are more bytes than AES-GCM takes: 64 GiB.
    pub(crate) fn seal(&self, place: Place, buffer: &mut Vec<u8>, begin: usize) -> Result<(), Refused> {
        let Some(bytes) = buffer.get_mut(begin..) else { return Err(Refused) };
        let about = about(place, bytes.len());
        let nonce = self.nonce(bytes, &about);
        let tag = self
            .cipher
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&about), bytes)
            .map_err(|_| Refused)?;
        buffer.extend(nonce);
        buffer.extend(tag.as_ref());
        Ok(())
    }

    /// Opens a record with its seal in place, and returns its bytes.
    ///
    /// # Errors
    /// If these are not the bytes that were sealed in this place, in an object with this key. The
    /// bytes mean nothing then.
    pub(crate) fn open<'a>(&self, place: Place, sealed: &'a mut [u8]) -> Result<&'a mut [u8], Refused> {
        let Some((rest, tag)) = sealed.split_last_chunk_mut::<TAG_BYTES>() else { return Err(Refused) };
        let Some((bytes, nonce)) = rest.split_last_chunk_mut::<NONCE_LEN>() else { return Err(Refused) };
        let about = about(place, bytes.len());
        let (nonce, tag) = (Nonce::assume_unique_for_key(*nonce), Tag::from(*tag));
        self.cipher.open_in_place_separate_tag(nonce, Aad::from(&about), tag, bytes, 0..).map_err(|_| Refused)
    }

    /// Returns the nonce of a record. It covers everything that the tag covers: one nonce with two
    /// tags would give away the key of the tags.
    fn nonce(&self, bytes: &[u8], about: &[u8; 24]) -> [u8; NONCE_LEN] {
        let key = &self.keys.expose().as_chunks::<32>().0[1];
        // The bytes come first: BLAKE3 is twice as fast where they begin at the begin of its input.
        let digest = blake3::Hasher::new_keyed(key).update(bytes).update(about).finalize();
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&digest.as_bytes()[..NONCE_LEN]);
        nonce
    }
}

impl Drop for RecordCipher {
    /// Overwrites the expanded key, which ring does not wipe.
    fn drop(&mut self) {
        if let Ok(zeros) = cipher(&[0; 32]) {
            *self.cipher = zeros;
        }
        // The compiler must not leave out what is overwritten just before it is freed.
        std::hint::black_box(&mut self.cipher);
    }
}

impl std::fmt::Debug for RecordCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecordCipher")
    }
}

fn cipher(key: &[u8]) -> Result<LessSafeKey, Refused> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| Refused)
}

/// Returns the associated data: number, raw and stored length. The kind and the salt are in the key.
fn about(place: Place, stored_bytes: usize) -> [u8; 24] {
    let mut about = [0; 24];
    let fields = [place.number, place.raw_bytes, to_u64(stored_bytes)];
    for (part, field) in about.as_chunks_mut::<8>().0.iter_mut().zip(fields) {
        *part = field.to_le_bytes();
    }
    about
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::pure::keys::MasterKey;
    use crate::words::sizes::to_u8;

    const KINDS: [Kind; 5] = [Kind::Pack, Kind::Entry, Kind::Checkpoint, Kind::Local, Kind::Reads];
    const PLACE: Place = Place { number: 258, raw_bytes: 1000 };

    /// What decides the key of an object: master key, epoch, kind, salt.
    type Object = ([u8; 32], u32, Kind, Salt);

    fn object() -> Object {
        (std::array::from_fn(to_u8), 1, Kind::Pack, std::array::from_fn(|at| 100 + to_u8(at)))
    }

    fn cipher_of((master, epoch, kind, salt): Object) -> RecordCipher {
        RecordCipher::new(&MasterKey::new(&master).epoch_key(epoch), kind, &salt).unwrap()
    }

    fn seal(object: Object, place: Place, content: &[u8]) -> Vec<u8> {
        let mut buffer = content.to_vec();
        cipher_of(object).seal(place, &mut buffer, 0).unwrap();
        buffer
    }

    fn open(object: Object, place: Place, sealed: &[u8]) -> Result<Vec<u8>, Refused> {
        cipher_of(object).open(place, &mut sealed.to_vec()).map(|bytes| bytes.to_vec())
    }

    /// The answers come from tests/sealing/known_answers.py.
    #[test]
    fn sealed_bytes_are_those_of_another_program() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let content: [u8; 40] = std::array::from_fn(to_u8);
        let answers = [
            (
                Kind::Pack,
                "d1bffc45c7a1094677d955aff269fa05e5bfb2bec0dc8c437f463b1ca39be0b7a2bd9b49f5e8660d\
                 b4a7643eafa2fc30b05f41a0b2b586ede7d27ab6d9b41737c1962bfd",
                "724f4232c12b0011fcb71bc6892da49775e236a6a97085ad2d31e593",
            ),
            (
                Kind::Entry,
                "5fa3714673431b7c6a42fb5accfb14cd65c4f6b1a7492125e5b23a54d951351f4e8a6fdc268cf21a\
                 688ad76b6885e0c8602bc6023d6219fa3a03b5919221658e4c9e1958",
                "df9b7d89917019adfacbcb8c0508d3921d6a090ae1a6bef37c842c32",
            ),
            (
                Kind::Checkpoint,
                "dd67daa5e6d9ca7f4728b897dca78b60b63bf718733a9f5078d8713a58da587d86b4a92b2692e300\
                 0179823d4e48e9e58502ab62de5c09949613ff27e0015663ddb146ed",
                "2003dd9f1f3107223b56d71565f9b77e38269c5ee24fc050eafb3cea",
            ),
            (
                Kind::Local,
                "deb242642a948698c145da64f22bb0851b2fac297f4166c375bf9d5bcd37624b4218f094875cabb9\
                 1de080a619c68d5c537f9788365001146a2ec258caf0633f412ddb8d",
                "c0b765f5575551deb7edec8f1aabeb40043b1cab5de841057fb9bf1a",
            ),
            (
                Kind::Reads,
                "2bbed3ebedd37579dcca5859eb24d2d6d3a4f186748594461ffc1b699f830495d7d4c809b9f64f1f\
                 20c5eaa77928d9f4e9e3318d2e0a7fc0e5acfe0665fef881f2ea0bc6",
                "fcfd19265c80b2785d648d2bff435b49894e604e795d1c5f1cc1894a",
            ),
        ];
        let (master, epoch, _, salt) = object();
        for (kind, full, empty) in answers {
            let object = (master, epoch, kind, salt);
            assert_eq!(hex(&seal(object, PLACE, &content)), full, "{kind:?}");
            assert_eq!(hex(&seal(object, Place { number: 0, raw_bytes: 0 }, &[])), empty, "{kind:?}");
        }
    }

    #[test]
    fn a_record_is_sealed_in_the_middle_of_a_buffer_and_opened_in_place() {
        let mut buffer = b"head and content".to_vec();
        cipher_of(object()).seal(PLACE, &mut buffer, 9).unwrap();
        assert_eq!(buffer[..9], *b"head and ");
        assert_eq!(buffer.len(), 16 + SEAL_BYTES);
        assert_eq!(cipher_of(object()).open(PLACE, &mut buffer[9..]).unwrap(), b"content");
        assert_eq!(buffer[..16], *b"head and content");
        assert_eq!(cipher_of(object()).seal(PLACE, &mut vec![1], 2), Err(Refused), "behind its end");
    }

    #[test]
    fn no_changed_or_missing_byte_is_accepted() {
        for len in [0, 1, 15, 16, 17, 300] {
            let sealed = seal(object(), PLACE, &vec![7; len]);
            assert_eq!(open(object(), PLACE, &sealed).unwrap(), vec![7; len]);
            for at in 0..sealed.len() {
                for mask in [1, 0x10, 0x80, 0xff] {
                    let mut changed = sealed.clone();
                    changed[at] ^= mask;
                    assert_eq!(open(object(), PLACE, &changed), Err(Refused), "byte {at} of {len}");
                }
                assert_eq!(open(object(), PLACE, &sealed[..at]), Err(Refused), "{at} bytes of {len}");
            }
            assert_eq!(open(object(), PLACE, &[&sealed[..], &[0]].concat()), Err(Refused), "one more");
        }
    }

    proptest! {
        #[test]
        fn a_record_in_another_place_is_refused(content in vec(any::<u8>(), 0..200), other in any::<u32>()) {
            let (master, epoch, kind, salt) = object();
            let sealed = seal(object(), PLACE, &content);
            let different = |byte: u8| byte ^ to_u8(other % 255 + 1);
            let others = [
                (master.map(different), epoch, kind, salt),
                (master, epoch.wrapping_add(other.max(1)), kind, salt),
                (master, epoch, kind, salt.map(different)),
            ];
            let kinds = KINDS.into_iter().filter(|other| *other != kind).map(|kind| (master, epoch, kind, salt));
            for object in others.into_iter().chain(kinds) {
                prop_assert_eq!(open(object, PLACE, &sealed), Err(Refused), "{:?}", object);
            }
            let more = u64::from(other) + 1;
            for place in [
                Place { number: PLACE.number ^ more, ..PLACE },
                Place { raw_bytes: PLACE.raw_bytes ^ more, ..PLACE },
            ] {
                prop_assert_eq!(open(object(), place, &sealed), Err(Refused), "{:?}", place);
            }
            prop_assert_eq!(open(object(), PLACE, &sealed), Ok(content));
        }

        /// The random numbers of two machines that are clones of one memory image repeat, and so do
        /// the salts of their objects.
        #[test]
        fn a_repeated_salt_repeats_no_nonce_with_other_bytes(
            records in vec((0_u64..3, 0_u64..3, vec(0_u8..2, 0..4)), 2..200),
        ) {
            let mut used = HashMap::new();
            for (number, raw_bytes, content) in records {
                let sealed = seal(object(), Place { number, raw_bytes }, &content);
                let nonce: [u8; NONCE_LEN] = *sealed[content.len()..].first_chunk().unwrap();
                let record = (number, raw_bytes, content, sealed);
                let before = used.entry(nonce).or_insert_with(|| record.clone());
                prop_assert_eq!(before, &record, "the same nonce for another record");
            }
        }
    }

    #[test]
    fn nothing_is_printed_of_a_cipher() {
        assert_eq!(format!("{:?}", cipher_of(object())), "RecordCipher");
    }
}
