//! Pure functions over bytes: hashing, the zero check, compression, Reed-Solomon.

pub(crate) mod compress;
pub(crate) mod erasure;
pub(crate) mod hash;
pub(crate) mod hash_many;
pub(crate) mod span;
pub(crate) mod zero;
