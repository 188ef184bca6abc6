//! What a key slot holds, inside of its age file.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | signature: `ICEKEYS\n` |
//! | 8 | `u16` | version, 1 |
//! | 10 | 16 | id of the repository |
//! | 26 | 32 | master key |
//!
//! So the master key is the last 32 bytes: in an emergency, `age --decrypt SLOT | tail -c 32`.

use age::secrecy::zeroize::Zeroizing;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::MASTER_KEY_BYTES;
use icecore::repository::MasterKey;
use icecore::repository::RepositoryId;
use uuid::Uuid;

/// The number of bytes of the content.
pub(super) const CONTENT_BYTES: usize = 8 + 2 + 16 + MASTER_KEY_BYTES;

const SIGNATURE: [u8; 8] = *b"ICEKEYS\n";
const VERSION: u16 = 1;

/// What a key slot holds.
#[derive(Debug)]
pub struct SlotContent {
    /// The repository that the key is of. A slot of another repository opens, but does not fit.
    pub repository: RepositoryId,
    /// Its master key.
    pub master: MasterKey,
}

impl SlotContent {
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(CONTENT_BYTES));
        bytes.extend(SIGNATURE);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.repository.0.as_bytes());
        bytes.extend(self.master.expose());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let Some((signature, rest)) = bytes.split_first_chunk::<8>() else { return Err(not_ours()) };
        let Some((version, rest)) = rest.split_first_chunk::<2>() else { return Err(not_ours()) };
        if *signature != SIGNATURE {
            return Err(not_ours());
        }
        let version = u16::from_le_bytes(*version);
        if version != VERSION {
            let message =
                format!("the key slot has version {version}, and this program knows version {VERSION}");
            return Err(Error::new(ErrorKind::Unsupported, message).with_hint("use a newer icecore"));
        }
        let Some((id, key)) = rest.split_first_chunk::<16>() else { return Err(not_ours()) };
        let key = <&[u8; MASTER_KEY_BYTES]>::try_from(key).map_err(|_| not_ours())?;
        Ok(Self { repository: RepositoryId(Uuid::from_bytes(*id)), master: MasterKey::new(key) })
    }
}

fn not_ours() -> Error {
    Error::new(ErrorKind::Corrupt, "the key slot was opened, but holds no key of icecore")
        .with_hint("another program made this file: remove it from keys/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden() -> Vec<u8> {
        let mut bytes = b"ICEKEYS\n\x01\x00".to_vec();
        bytes.extend([3; 16]);
        bytes.extend(0..32);
        bytes
    }

    fn content() -> SlotContent {
        let master = std::array::from_fn(|at| u8::try_from(at).unwrap());
        SlotContent { repository: RepositoryId(Uuid::from_bytes([3; 16])), master: MasterKey::new(&master) }
    }

    #[test]
    fn the_bytes_are_these() {
        assert_eq!(*content().encode(), golden());
        let decoded = SlotContent::decode(&golden()).unwrap();
        assert_eq!(decoded.repository, content().repository);
        assert_eq!(decoded.master.expose(), content().master.expose());
        assert_eq!(golden().len(), CONTENT_BYTES);
    }

    #[test]
    fn other_bytes_are_refused() {
        for len in 0..golden().len() {
            assert!(SlotContent::decode(&golden()[..len]).is_err(), "{len} bytes");
        }
        assert!(SlotContent::decode(&[golden(), vec![0]].concat()).is_err(), "one byte more");
        for at in 0..8 {
            let mut bytes = golden();
            bytes[at] ^= 1;
            assert_eq!(SlotContent::decode(&bytes).unwrap_err().kind(), ErrorKind::Corrupt, "byte {at}");
        }
        let mut newer = golden();
        newer[8] = 2;
        assert_eq!(SlotContent::decode(&newer).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn the_key_is_not_printed() {
        let printed = format!("{:?}", content());
        assert!(printed.contains("[master key]") && !printed.contains("1, 2, 3"), "{printed}");
    }
}
