//! Pure functions over bytes: hashing, the zero check, compression, Reed-Solomon, ciphers.

pub(crate) mod block_cipher;
pub(crate) mod compress;
pub(crate) mod erasure;
pub(crate) mod hash;
pub(crate) mod hash_many;
pub(crate) mod keys;
pub(crate) mod padding;
pub(crate) mod record_cipher;
pub(crate) mod secret;
pub(crate) mod span;
pub(crate) mod zero;
