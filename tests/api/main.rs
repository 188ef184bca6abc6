//! The HTTP server as its clients see it: over real sockets.

// `cfg(test)` tells clippy that `unwrap` is fine in there.
#[cfg(test)]
mod basics;
#[cfg(test)]
mod beside;
#[cfg(test)]
mod buckets;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod data;
#[cfg(test)]
mod destructions;
#[cfg(test)]
mod downloads;
#[cfg(test)]
mod droplets;
#[cfg(test)]
mod echo;
#[cfg(test)]
mod front;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod images;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod life;
#[cfg(test)]
mod log;
#[cfg(test)]
mod many;
mod openapi;
#[cfg(test)]
mod operation;
#[cfg(test)]
mod panel;
#[cfg(test)]
mod projects;
#[cfg(test)]
mod repeated;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod sealed;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod ssh_keys;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tags;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod volumes;
#[cfg(test)]
mod vpcs;
