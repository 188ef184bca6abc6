//! The keys of a sealed repository. All come from its master key, by BLAKE3's key derivation:
//!
//! ```text
//! master key ─ id key: every digest and id, for the life of the repository
//!            └ epoch key, one for each epoch
//!               └ the keys of each object, by its kind and its salt
//! ```
//!
//! Each derivation is `derive_key(context, material)`. The contexts are fixed texts, and each part
//! of the material has a fixed length, so that no two derivations are the same.

use zeroize::Zeroize;

use crate::pure::secret::Secret;

/// The length of a master key in bytes.
pub const MASTER_KEY_BYTES: usize = 32;

const ID_KEY: &str = "icecore 2026-11-30 id key";
const EPOCH_KEY: &str = "icecore 2026-11-30 epoch key";

/// The salt of an object: random, and in the clear in its header.
pub(crate) type Salt = [u8; 24];

/// The key that all other keys of a sealed repository come from. It is wiped from memory when it is
/// dropped, and never printed.
pub struct MasterKey(Secret<MASTER_KEY_BYTES>);

impl MasterKey {
    /// Returns the master key with these bytes. The caller wipes its own copy.
    pub fn new(bytes: &[u8; MASTER_KEY_BYTES]) -> Self {
        Self(Secret::filled(|key| key.copy_from_slice(bytes)))
    }

    /// Returns the bytes, for a key slot. Whoever copies them wipes the copy.
    pub fn expose(&self) -> &[u8; MASTER_KEY_BYTES] {
        self.0.expose()
    }

    /// Returns the key of all digests. It never changes, so that ids stay what they are.
    pub(crate) fn id_key(&self) -> Secret<32> {
        derive(ID_KEY, &[self.0.expose()])
    }

    /// Returns the key of an epoch.
    pub(crate) fn epoch_key(&self, epoch: u32) -> EpochKey {
        EpochKey(derive(EPOCH_KEY, &[self.0.expose(), &epoch.to_le_bytes()]))
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[master key]")
    }
}

/// The key that the keys of all objects of an epoch come from.
#[derive(Debug)]
pub(crate) struct EpochKey(Secret<32>);

impl EpochKey {
    /// Returns the two keys of an object. Each use has a context of its own.
    pub(crate) fn object(&self, context: &str, salt: &Salt) -> Secret<64> {
        derive(context, &[self.0.expose(), salt])
    }
}

fn derive<const N: usize>(context: &str, material: &[&[u8]]) -> Secret<N> {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    material.iter().for_each(|part| {
        hasher.update(part);
    });
    let mut output = hasher.finalize_xof();
    let secret = Secret::filled(|bytes| output.fill(bytes));
    output.zeroize();
    hasher.zeroize();
    secret
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::sizes::to_u8;

    /// The bytes 0 to 31.
    fn master() -> MasterKey {
        MasterKey::new(&std::array::from_fn(to_u8))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // The answers come from tests/sealing/known_answers.py; those of the id key and of the epochs are
    // also what the program `b3sum --derive-key CONTEXT` prints.
    #[test]
    fn keys_are_those_that_another_program_derives() {
        let epoch = |number| hex(master().epoch_key(number).0.expose());
        assert_eq!(
            hex(master().id_key().expose()),
            "f025830ffeea72490df13e7dbae74ea16e5dfc23d817467bb9191b8f1fa8b70f"
        );
        assert_eq!(epoch(0), "829807d6dfaf01b77819e1e5bb03b2757b0ee2285f6fe735b9360389982933b8");
        assert_eq!(epoch(1), "77b84667a4d3075d5487cc07063b443c33adff75c48242c4760649949c4080ca");
        assert_eq!(epoch(u32::MAX), "18c58ea50eba2ebeb302f9e0693cd2657d2b67bea883d1d167e3b052fb5c3c9e");
        let salt = std::array::from_fn(|at| 100 + to_u8(at));
        let keys = master().epoch_key(1).object("icecore 2026-11-30 sealed pack", &salt);
        assert_eq!(
            hex(keys.expose()),
            "043a626729dad18a5702e8233edc7eddcc4001b9f144ff5a8fc0118dd0d8d650\
             90ce2845b3749a4abe4bae597403e32957b079b2e2a394c1d6bf2668893b1c5d"
        );
    }

    #[test]
    fn no_key_is_printed() {
        let master = master();
        let printed = format!("{master:?} {:?} {:?}", master.id_key(), master.epoch_key(1));
        assert_eq!(printed, "[master key] [secret] EpochKey([secret])");
    }
}
