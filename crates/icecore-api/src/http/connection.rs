//! The properties of a request's connection.

use std::net::SocketAddr;

/// A mark that a request came over TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encrypted;

/// The address that a request comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Returns whether a path is one of the API, where a token guards.
pub(crate) fn is_of_api(path: &str) -> bool {
    path.strip_prefix("/v2").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
