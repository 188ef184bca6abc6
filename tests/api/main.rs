//! The HTTP server as its clients see it: over real sockets.

mod basics;
mod contract;
mod crowd;
mod data;
mod layers;
mod life;
mod panel;
mod snapshots;
mod support;
mod tags;
mod tools;
mod volumes;
