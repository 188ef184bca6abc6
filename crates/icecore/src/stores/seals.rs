//! The seals of a repository: the one place where stored bytes are sealed and opened.
//!
//! A repository is sealed as a whole or not at all. In a plain one, everything here hands bytes on as
//! they are; in a sealed one, nothing that was not sealed is accepted, whatever its header says.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use crate::format::bytes::DecodeError;
use crate::format::pack::Entry;
use crate::format::sealed::Header;
use crate::format::sealed::SEALED_HEADER_BYTES;
use crate::pure::block_cipher::BlockCipher;
use crate::pure::keys::MasterKey;
use crate::pure::keys::Salt;
use crate::pure::padding::pad;
use crate::pure::padding::padme;
use crate::pure::padding::record_units;
use crate::pure::padding::unpad;
use crate::pure::record_cipher::Kind;
use crate::pure::record_cipher::Place;
use crate::pure::record_cipher::RecordCipher;
use crate::pure::record_cipher::Refused;
use crate::pure::record_cipher::SEAL_BYTES;
use crate::words::sizes::to_u64;

/// The seals of a repository, which may be plain.
#[derive(Clone, Default)]
pub(crate) struct Seals(Option<Arc<Keys>>);

struct Keys {
    master: Arc<MasterKey>,
    /// The newest epoch that this handle knows: what it writes is sealed with its keys.
    epoch: AtomicU32,
}

impl Seals {
    /// Returns the seals of a repository with this master key.
    pub(crate) fn new(master: Arc<MasterKey>) -> Self {
        Self(Some(Arc::new(Keys { master, epoch: AtomicU32::new(0) })))
    }

    /// Tells whether the repository is sealed.
    pub(crate) fn are_used(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the master key; none if the repository is plain.
    pub(crate) fn master(&self) -> Option<&Arc<MasterKey>> {
        self.0.as_ref().map(|keys| &keys.master)
    }

    /// Returns the epoch to seal with; none if the repository is plain.
    pub(crate) fn epoch(&self) -> Option<u32> {
        self.0.as_ref().map(|keys| keys.epoch.load(Ordering::Relaxed))
    }

    /// Seals with this epoch from now on, if it is newer.
    pub(crate) fn enter(&self, epoch: u32) {
        if let Some(keys) = &self.0 {
            keys.epoch.fetch_max(epoch, Ordering::Relaxed);
        }
    }

    /// Returns the seals of a pack whose header has this salt, and an epoch if the pack is sealed.
    ///
    /// # Errors
    /// If the pack is sealed and the repository is not, or the other way round.
    pub(crate) fn of_pack(&self, epoch: Option<u32>, salt: &Salt) -> Result<PackSeals, DecodeError> {
        match (&self.0, epoch) {
            (None, None) => Ok(PackSeals::none()),
            (Some(keys), Some(epoch)) => Ok(PackSeals(Some(keys.records(Kind::Pack, epoch, salt)?))),
            (_, epoch) => Err(DecodeError::bad("the cipher of a pack", u8::from(epoch.is_some()))),
        }
    }

    /// Returns how many bytes are stored for so many bytes of a compressed chunk or page.
    pub(crate) fn stored_bytes(&self, bytes: u64) -> u64 {
        if self.are_used() { record_units(bytes + 1) + to_u64(SEAL_BYTES) } else { bytes }
    }

    /// Returns the cipher of an overlay; none if the repository is plain.
    pub(crate) fn of_overlay(&self, epoch: u32, salt: &Salt) -> Option<BlockCipher> {
        self.0.as_ref().map(|keys| BlockCipher::new(&keys.master.epoch_key(epoch), salt))
    }

    /// Returns a file as it is stored. `number` is that of the file among those of its kind, if they
    /// have numbers.
    ///
    /// # Errors
    /// If it is longer than a cipher takes.
    pub(crate) fn seal(
        &self,
        kind: Kind,
        number: u64,
        salt: Salt,
        file: Vec<u8>,
    ) -> Result<Vec<u8>, DecodeError> {
        let Some(keys) = &self.0 else { return Ok(file) };
        let epoch = keys.epoch.load(Ordering::Relaxed);
        let mut bytes = Header { epoch, salt }.encode();
        bytes.extend(file);
        pad(&mut bytes, SEALED_HEADER_BYTES, padme);
        let raw_bytes = to_u64(bytes.len() - SEALED_HEADER_BYTES);
        let sealed = keys.records(kind, epoch, &salt)?.seal(
            Place { number, raw_bytes },
            &mut bytes,
            SEALED_HEADER_BYTES,
        );
        sealed.map(|()| bytes).map_err(DecodeError::Seal)
    }

    /// Returns a stored file as it was before it was sealed.
    ///
    /// # Errors
    /// If it is damaged, or was sealed as another file or in another repository.
    pub(crate) fn open(&self, kind: Kind, number: u64, stored: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
        let Some(keys) = &self.0 else { return Ok(stored) };
        let header = Header::decode(&stored)?;
        let cipher = keys.records(kind, header.epoch, &header.salt)?;
        let mut bytes = stored;
        let sealed = &mut bytes[SEALED_HEADER_BYTES..];
        let raw_bytes = to_u64(sealed.len().saturating_sub(SEAL_BYTES));
        let opened = cipher.open(Place { number, raw_bytes }, sealed);
        let file = opened.and_then(|padded| unpad(padded).ok_or(Refused)).map_err(DecodeError::Seal)?.len();
        bytes.drain(..SEALED_HEADER_BYTES);
        bytes.truncate(file);
        Ok(bytes)
    }
}

/// The seals of the records of one pack.
pub(crate) struct PackSeals(Option<RecordCipher>);

impl PackSeals {
    /// Returns the seals of a pack of a plain repository: none.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Tells whether the pack is sealed.
    pub(crate) fn are_used(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the stored form of a record's encoded bytes, in `buffer` if it differs from them.
    pub(crate) fn seal<'a>(
        &self,
        number: u32,
        entry: &Entry,
        encoded: &'a [u8],
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], DecodeError> {
        let Some(cipher) = &self.0 else { return Ok(encoded) };
        buffer.clear();
        buffer.extend(encoded);
        if entry.is_padded() {
            pad(buffer, 0, record_units);
        }
        cipher.seal(place(number, entry), buffer, 0).map_err(DecodeError::Seal)?;
        Ok(buffer)
    }

    /// Puts the encoded bytes of a record in the place of its stored form. After an error, the
    /// bytes in `buffer` mean nothing.
    pub(crate) fn open(&self, number: u32, entry: &Entry, buffer: &mut Vec<u8>) -> Result<(), DecodeError> {
        let Some(cipher) = &self.0 else { return Ok(()) };
        let opened = cipher.open(place(number, entry), buffer).map(|opened| &*opened);
        let encoded = match entry.is_padded() {
            true => opened.and_then(|padded| unpad(padded).ok_or(Refused)),
            false => opened,
        };
        let bytes = encoded.map_err(DecodeError::Seal)?.len();
        buffer.truncate(bytes);
        Ok(())
    }
}

/// Returns the place of a record in its pack.
fn place(number: u32, entry: &Entry) -> Place {
    Place { number: number.into(), raw_bytes: entry.raw_bytes.into() }
}

impl Keys {
    fn records(&self, kind: Kind, epoch: u32, salt: &Salt) -> Result<RecordCipher, DecodeError> {
        RecordCipher::new(&self.master.epoch_key(epoch), kind, salt).map_err(DecodeError::Seal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::sealed::looks_sealed;
    use crate::pure::compress::Codec;
    use crate::words::sizes::to_u8;

    const KINDS: [Kind; 4] = [Kind::Entry, Kind::Checkpoint, Kind::Local, Kind::Reads];

    /// The seals of the repository in tests/sealing/known_answers.py, in epoch 1.
    fn seals() -> Seals {
        let seals = Seals::new(Arc::new(MasterKey::new(&std::array::from_fn(to_u8))));
        seals.enter(1);
        seals.enter(0);
        seals
    }

    fn salt() -> Salt {
        std::array::from_fn(|at| 100 + to_u8(at))
    }

    fn file() -> Vec<u8> {
        b"a file of one hundred bytes ".repeat(4)
    }

    fn entry(codec: Codec, slots: u16) -> Entry {
        Entry {
            id: [1; 16],
            offset: 104,
            stored_bytes: 0,
            raw_bytes: 4096,
            crc: 0,
            codec,
            slots,
            is_record: false,
            first_block: 0,
            bitmap: None,
        }
    }

    fn digest(bytes: &[u8]) -> String {
        blake3::hash(bytes).to_hex().to_string()
    }

    #[test]
    fn sealed_files_are_those_of_another_program() {
        let answers = [
            "ec37e61f52eb5d069ceae127558f4e5db28954429d2d2af2d7372d6386071b61",
            "48a92db97eedec8bc7b6d0546ab0c7a6e318f32ae8369b815e7ee529b590516d",
            "12fce069a82ad3a4c06aebbf10276a2e9cfcda04d880e31266c251802abb87da",
            "f5ebfcb3642ff4afebd93a3311a1e373c89b15c28b724f0feac0e4e9c8c4873b",
        ];
        for ((kind, number), answer) in KINDS.into_iter().zip([300, 300, 0, 3]).zip(answers) {
            let sealed = seals().seal(kind, number, salt(), file()).unwrap();
            assert!(looks_sealed(&sealed) && sealed.len() == 188);
            assert_eq!(digest(&sealed), answer, "{kind:?}");
            assert_eq!(seals().open(kind, number, sealed).unwrap(), file());
        }
    }

    #[test]
    fn sealed_records_are_those_of_another_program() {
        let zstd = entry(Codec::Zstd, 1);
        let raw = entry(Codec::Raw, 1);
        let answers = [
            (
                258,
                zstd,
                b"compressed".to_vec(),
                "04fcf18c2fd255455ab91a3c034ed019bc457bc6c535a65a1afad66f36a31f38",
            ),
            (3, raw, vec![7; 4096], "95ed2a8469ef5bf464f7daf9ba8bf6bf9a4cc0ac6751af8a3272a1e63d1c20ff"),
        ];
        let pack = || seals().of_pack(Some(1), &salt()).unwrap();
        for (number, entry, encoded, answer) in answers {
            let mut buffer = Vec::new();
            let mut stored = pack().seal(number, &entry, &encoded, &mut buffer).unwrap().to_vec();
            assert_eq!(digest(&stored), answer, "record {number}");
            let mut elsewhere = stored.clone();
            assert!(pack().open(number + 1, &entry, &mut elsewhere).is_err());
            pack().open(number, &entry, &mut stored).unwrap();
            assert_eq!(stored, encoded);
        }
    }

    #[test]
    fn lengths_of_records_say_little_unless_the_slots_say_them_anyway() {
        let stored = |entry: Entry, len: usize| {
            let pack = seals().of_pack(Some(1), &salt()).unwrap();
            pack.seal(0, &entry, &vec![1; len], &mut Vec::new()).unwrap().len()
        };
        let (zstd, page) = (entry(Codec::Zstd, 1), entry(Codec::Raw, 0));
        for (len, padded) in [(0, 256), (255, 256), (256, 512), (5000, 5120)] {
            assert_eq!([stored(zstd, len), stored(page, len)], [padded + SEAL_BYTES; 2], "{len} bytes");
            assert_eq!(seals().stored_bytes(to_u64(len)), to_u64(padded + SEAL_BYTES));
        }
        assert_eq!(stored(entry(Codec::Raw, 1), 4096), 4096 + SEAL_BYTES);
    }

    #[test]
    fn a_file_of_another_kind_number_key_or_place_is_refused_and_so_is_one_that_is_not_sealed() {
        let sealed = seals().seal(Kind::Entry, 7, salt(), file()).unwrap();
        let other = Seals::new(Arc::new(MasterKey::new(&[1; 32])));
        let open = |seals: &Seals, kind, number, bytes: &[u8]| seals.open(kind, number, bytes.to_vec());
        assert!(open(&seals(), Kind::Entry, 8, &sealed).is_err());
        assert!(open(&seals(), Kind::Checkpoint, 7, &sealed).is_err());
        assert!(open(&other, Kind::Entry, 7, &sealed).is_err());
        assert!(open(&seals(), Kind::Entry, 7, &file()).is_err());
        for len in 0..sealed.len() {
            assert!(open(&seals(), Kind::Entry, 7, &sealed[..len]).is_err(), "{len} bytes");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&seals(), Kind::Entry, 7, &changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_repository_is_sealed_as_a_whole_or_not_at_all() {
        let plain = Seals::default();
        assert_eq!(plain.seal(Kind::Entry, 7, salt(), file()).unwrap(), file());
        assert_eq!(plain.open(Kind::Entry, 7, file()).unwrap(), file());
        assert!(plain.of_pack(Some(0), &salt()).is_err() && seals().of_pack(None, &salt()).is_err());
        assert!(!plain.of_pack(None, &salt()).unwrap().are_used() && plain.of_overlay(0, &salt()).is_none());
        assert_eq!((plain.epoch(), plain.stored_bytes(5)), (None, 5));
        assert!(plain.master().is_none() && seals().master().is_some());
        assert_eq!(seals().epoch(), Some(1));
    }
}
