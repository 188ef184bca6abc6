//! The HTTP server as its clients see it: over real sockets.

// `cfg(test)` tells clippy that `unwrap` is fine in there.
#[cfg(test)]
mod basics;
mod contract;
mod crowd;
mod data;
mod droplets;
mod images;
mod layers;
mod life;
mod panel;
mod restarts;
mod snapshots;
mod support;
mod tags;
mod tools;
mod volumes;
