//! The HTTP server as its clients see it: over real sockets.

mod basics;
mod layers;
mod support;
