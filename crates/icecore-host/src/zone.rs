//! Time zones, by their names.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use jiff::tz::TimeZone;

/// Returns the time zone of this name, as the system knows it.
///
/// # Errors
/// `InvalidInput` if there is none of this name.
pub fn time_zone(name: &str) -> Result<TimeZone> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, format!("there is no time zone {name:?} here: {error}"))
            .with_hint("UTC is always known; others, like Europe/Berlin, are in the system's package tzdata")
    })
}
