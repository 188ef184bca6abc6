//! The command line of icecore.

fn main() {}
