//! Droplets: copy-on-write volumes of the engine with a size and an image.

pub(crate) mod backups;
pub(crate) mod catalog;
pub(crate) mod commands;
pub(crate) mod create;
pub(crate) mod destructions;
pub(crate) mod features;
pub(crate) mod first_boot;
pub(crate) mod item;
pub(crate) mod jobs;
