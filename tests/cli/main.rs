//! The program as its users meet it: every test runs the binary.

mod errors;
mod generated;
mod json;
mod restore;
mod snapshots;
mod support;
mod terminal;
mod upkeep;
