//! Buckets over HTTP.

// `cfg(test)` tells clippy that `unwrap` is fine in there.
#[cfg(test)]
mod answers;
