//! The properties of a request's connection.

use std::net::SocketAddr;

/// A mark that a request came over TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encrypted;

/// The address that a request comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);
