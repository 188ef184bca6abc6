//! The server as clients see it: raw bytes over a pair of sockets.

// `cfg(test)` tells clippy that `unwrap` is fine in there.
#[cfg(test)]
mod client;
#[cfg(test)]
mod disks;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod handshake;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod model;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod server;
