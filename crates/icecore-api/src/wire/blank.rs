//! Clients send every field, empty where it is not set: `""`, `null` and a missing one are the
//! same.

use serde::Deserialize;
use serde::Deserializer;

/// Reads a text; none where it is blank.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.filter(|text| !text.is_empty()))
}

/// Reads a list; an empty one where it is null.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(from)?.unwrap_or_default())
}

/// Reads an id, which some clients write as a number and some as text.
pub(crate) fn id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match serde_json::Value::deserialize(from)? {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) if number.is_u64() => Ok(number.to_string()),
        _ => Err(serde::de::Error::custom("expected an id: a string or an integer")),
    }
}
