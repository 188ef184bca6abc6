//! Buckets of a server that others wrote.

// `cfg(test)` tells clippy that `unwrap` is fine in there.
#[cfg(test)]
mod buckets;
