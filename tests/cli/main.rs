//! The program as its users meet it: every test runs the binary.

// `cfg(test)` tells clippy that `unwrap` is fine in there.
#[cfg(test)]
mod bench;
#[cfg(test)]
mod buckets;
#[cfg(test)]
mod catalog;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod copy;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod first;
#[cfg(test)]
mod forge;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod generated;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod http;
#[cfg(test)]
mod huge;
#[cfg(test)]
mod injected;
#[cfg(test)]
mod json;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod killing;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod local;
#[cfg(test)]
mod log;
#[cfg(test)]
mod names;
#[cfg(test)]
mod owner;
#[cfg(test)]
mod passwords;
#[cfg(test)]
mod prune;
#[cfg(test)]
mod read_only;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod sealed;
#[cfg(test)]
mod shortage;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod support;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod torn;
#[cfg(test)]
mod typed;
#[cfg(test)]
mod upkeep;
#[cfg(test)]
mod volumes;
