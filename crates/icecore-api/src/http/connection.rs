//! The properties of a request's connection.

use std::net::SocketAddr;

/// Says that a request came over TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encrypted;

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);
