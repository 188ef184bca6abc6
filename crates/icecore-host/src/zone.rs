//! Time zones by name.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use jiff::tz::TimeZone;

/// Returns the time zone with this name from the system's database.
///
/// # Errors
/// `InvalidInput` if there is none.
pub fn time_zone(name: &str) -> Result<TimeZone> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, format!("there is no time zone {name:?} on this system: {error}"))
            .with_hint("UTC always works; others, such as Europe/Berlin, need the system's package tzdata")
    })
}
