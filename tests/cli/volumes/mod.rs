//! Volumes as their users meet them: the commands, the server with clients of others, file systems,
//! crashes.

mod clients;
mod commands;
mod crash;
mod file_systems;
mod full;
mod lost_index;
mod prefetch;
mod protocol;
pub(crate) mod server;
mod serving;
pub(crate) mod tools;

/// Returns how many rounds are done where the short form has so many.
fn rounds(short: u64) -> u64 {
    let times = std::env::var("ICECORE_VOLUME_ROUNDS").ok().and_then(|text| text.parse::<u64>().ok());
    short * times.unwrap_or(1)
}
