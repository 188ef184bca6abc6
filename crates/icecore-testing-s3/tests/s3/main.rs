//! The server, seen by the client that the program has too: `object_store`.

mod conditions;
mod faults;
mod layers;
mod link;
mod rights;
mod support;
