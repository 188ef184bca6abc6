//! Pure functions over bytes: hashing, the zero check, compression, Reed-Solomon, ciphers.

#[cfg_attr(not(test), expect(dead_code, reason = "repositories are not sealed yet"))]
pub(crate) mod block_cipher;
pub(crate) mod compress;
pub(crate) mod erasure;
pub(crate) mod hash;
pub(crate) mod hash_many;
#[cfg_attr(not(test), expect(dead_code, reason = "repositories are not sealed yet"))]
pub(crate) mod keys;
#[cfg_attr(not(test), expect(dead_code, reason = "repositories are not sealed yet"))]
pub(crate) mod padding;
#[cfg_attr(not(test), expect(dead_code, reason = "repositories are not sealed yet"))]
pub(crate) mod record_cipher;
pub(crate) mod secret;
pub(crate) mod span;
pub(crate) mod zero;
