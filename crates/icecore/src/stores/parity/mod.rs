//! Parity groups: written over packs, kept complete, and read where a pack is lost.

pub(crate) mod cover;
pub(crate) mod group;
pub(crate) mod writer;
