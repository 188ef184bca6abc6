//! The server as clients see it: raw bytes over a pair of sockets.
