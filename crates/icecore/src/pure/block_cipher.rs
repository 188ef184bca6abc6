//! The cipher of overlays: AES-256-XTS, each block of 4 KiB on its own, with the number of the block
//! as its tweak. A block stays as long as it is and is replaced in place, so there is no room for a
//! tag: a changed block is noticed no more than on an encrypted disk.

use aes::Aes256;
use aes::Block;
use aes::cipher::BlockDecrypt;
use aes::cipher::BlockEncrypt;
use aes::cipher::KeyInit;

use crate::pure::keys::EpochKey;
use crate::pure::keys::Salt;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::to_u64;

const CONTEXT: &str = "icecore 2026-11-30 sealed overlay";
/// The bytes that AES takes at once.
const UNIT: usize = 16;
/// The units that go through the processor together.
const LANES: usize = 8;

/// The cipher of one overlay.
pub(crate) struct BlockCipher {
    data: Aes256,
    tweak: Aes256,
}

impl BlockCipher {
    /// Returns the cipher of an overlay.
    pub(crate) fn new(epoch: &EpochKey, salt: &Salt) -> Self {
        Self::of(epoch.object(CONTEXT, salt).expose())
    }

    fn of(keys: &[u8; 64]) -> Self {
        let (data, tweak) = keys.split_at(32);
        Self { data: Aes256::new(data.into()), tweak: Aes256::new(tweak.into()) }
    }

    /// Encrypts blocks in place. The first has the number `first` in its overlay.
    pub(crate) fn encrypt(&self, first: u64, blocks: &mut [[u8; BLOCK_BYTES]]) {
        self.each(first, blocks, |units| self.data.encrypt_blocks(units));
    }

    /// Decrypts blocks in place. The first has the number `first` in its overlay.
    pub(crate) fn decrypt(&self, first: u64, blocks: &mut [[u8; BLOCK_BYTES]]) {
        self.each(first, blocks, |units| self.data.decrypt_blocks(units));
    }

    fn each(&self, first: u64, blocks: &mut [[u8; BLOCK_BYTES]], aes: impl Fn(&mut [Block])) {
        for (at, block) in blocks.iter_mut().enumerate() {
            let number = u128::from(first) + u128::from(to_u64(at));
            let mut tweak = Block::from(number.to_le_bytes());
            self.tweak.encrypt_block(&mut tweak);
            let mut tweak = u128::from_le_bytes(tweak.into());
            for units in block.as_chunks_mut::<UNIT>().0.as_chunks_mut::<LANES>().0 {
                let mut tweaks = [0; LANES];
                tweaks.iter_mut().for_each(|place| {
                    *place = tweak;
                    tweak = doubled(tweak);
                });
                let mut lanes = [Block::default(); LANES];
                for ((lane, unit), tweak) in lanes.iter_mut().zip(&*units).zip(tweaks) {
                    *lane = (u128::from_le_bytes(*unit) ^ tweak).to_le_bytes().into();
                }
                aes(&mut lanes);
                for ((unit, lane), tweak) in units.iter_mut().zip(lanes).zip(tweaks) {
                    *unit = (u128::from_le_bytes(lane.into()) ^ tweak).to_le_bytes();
                }
            }
        }
    }
}

impl std::fmt::Debug for BlockCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlockCipher")
    }
}

/// Multiplies a tweak by x in GF(2^128), without a branch on the secret.
fn doubled(tweak: u128) -> u128 {
    (tweak << 1) ^ ((tweak >> 127) * 0x87)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::pure::keys::MasterKey;
    use crate::words::sizes::to_u8;

    fn cipher(master: u8, epoch: u32, salt: Salt) -> BlockCipher {
        let master = std::array::from_fn(|at| master + to_u8(at));
        BlockCipher::new(&MasterKey::new(&master).epoch_key(epoch), &salt)
    }

    fn salt() -> Salt {
        std::array::from_fn(|at| 100 + to_u8(at))
    }

    fn encrypted(cipher: &BlockCipher, number: u64, block: [u8; BLOCK_BYTES]) -> [u8; BLOCK_BYTES] {
        let mut blocks = [block];
        cipher.encrypt(number, &mut blocks);
        blocks[0]
    }

    fn digest(bytes: &[u8]) -> String {
        blake3::hash(bytes).to_hex().to_string()
    }

    /// The answers come from tests/sealing/known_answers.py.
    #[test]
    fn encrypted_blocks_are_those_of_another_program() {
        let content = std::array::from_fn(|at| to_u8(at % 251));
        let answers = [
            (0, "cfed0dea934ffea7af606ec3666804095aec84cf327e51d707140af185a54e52"),
            ((1 << 32) + 5, "34bf7779cba69a2a390eddcc55efec464afcab22479e92172df9ae6fc5fd418b"),
        ];
        for (number, answer) in answers {
            assert_eq!(digest(&encrypted(&cipher(0, 1, salt()), number, content)), answer, "block {number}");
        }
    }

    /// The tenth vector of IEEE 1619 has a unit of 512 bytes, which begins as ours does.
    #[test]
    fn the_vector_of_the_standard_holds() {
        let keys = concat!(
            "2718281828459045235360287471352662497757247093699959574966967627",
            "3141592653589793238462643383279502884197169399375105820974944592"
        );
        let keys = std::array::from_fn(|at| u8::from_str_radix(&keys[2 * at..2 * at + 2], 16).unwrap());
        let content = std::array::from_fn(|at| to_u8(at % 256));
        let encrypted = encrypted(&BlockCipher::of(&keys), 0xff, content);
        assert_eq!(encrypted[..8], [0x1c, 0x3b, 0x3a, 0x10, 0x2f, 0x77, 0x03, 0x86]);
        assert_eq!(encrypted[504..512], [0xb9, 0xc6, 0xe6, 0x93, 0xe1, 0x48, 0xc1, 0x51]);
        assert_eq!(
            digest(&encrypted[..512]),
            "c7f0c5a9a42216bd0030ff5375200831bd50307b2dbf12eb3891f940318ecd24"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn blocks_come_back_and_each_stands_for_itself(
            contents in vec(any::<u8>(), 1..4), first in 0..u64::MAX - 4,
        ) {
            let cipher = cipher(0, 1, salt());
            let blocks: Vec<_> = contents.iter().map(|byte| [*byte; BLOCK_BYTES]).collect();
            let mut changed = blocks.clone();
            cipher.encrypt(first, &mut changed);
            for (at, block) in blocks.iter().enumerate() {
                prop_assert_eq!(encrypted(&cipher, first + to_u64(at), *block), changed[at]);
            }
            cipher.decrypt(first, &mut changed);
            prop_assert_eq!(changed, blocks);
        }
    }

    #[test]
    fn no_two_units_of_equal_blocks_look_alike() {
        let block = [0; BLOCK_BYTES];
        let all = [
            encrypted(&cipher(0, 1, salt()), 0, block),
            encrypted(&cipher(0, 1, salt()), 1, block),
            encrypted(&cipher(0, 1, salt().map(|byte| byte ^ 1)), 0, block),
            encrypted(&cipher(0, 2, salt()), 0, block),
            encrypted(&cipher(1, 1, salt()), 0, block),
        ];
        let units: HashSet<_> = all.iter().flat_map(|block| block.as_chunks::<UNIT>().0).collect();
        assert_eq!(units.len(), all.len() * BLOCK_BYTES / UNIT);
    }

    #[test]
    fn nothing_is_printed_of_a_cipher() {
        assert_eq!(format!("{:?}", cipher(0, 1, salt())), "BlockCipher");
    }
}
