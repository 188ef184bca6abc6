//! Bodies of requests: JSON, whatever their content type says.

use axum::body::Bytes;
use axum::extract::FromRequest;
use axum::extract::Request;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The body of a request, read.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|_| ApiError::bad_request("error parsing request body"))?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|_| ApiError::bad_request("error parsing request body"))?;
        if !value.is_object() {
            return Err(ApiError::bad_request("error parsing request body"));
        }
        read(value).map(Self)
    }
}

/// Reads an object of the API.
///
/// # Errors
/// 422 that names the field with another type.
fn read<T: DeserializeOwned>(value: Value) -> ApiResult<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let field = error.path().to_string();
        ApiError::unprocessable(problem(&field, &error.into_inner().to_string()))
    })
}

/// Returns what is wrong with a field, in the words of the API.
fn problem(field: &str, error: &str) -> String {
    if let Some(missing) = error.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        let inside = if field == "." { String::new() } else { format!("{field}.") };
        return format!("{inside}{missing} is required");
    }
    let Some((_, expected)) = error.rsplit_once("expected ") else { return format!("{field} {error}") };
    let expected = match expected {
        "i64" | "u64" | "i32" | "u32" | "u16" | "u8" | "usize" => "an integer",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        other if other.starts_with("struct ") || other == "a map" => "an object",
        other => other,
    };
    format!("{field} must be {expected}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::image::AccountTransfer;
    use crate::wire::new_droplet::NewDroplet;
    use crate::wire::new_droplet::NewDropletAction;
    use crate::wire::tag::TagResources;
    use crate::wire::volume::NewVolume;
    use crate::wire::volume_action::NewVolumeAction;

    fn told<T: DeserializeOwned>(value: Value) -> String {
        read::<T>(value).map(drop).unwrap_err().message
    }

    #[test]
    fn a_wrong_type_names_the_field_and_the_type_that_the_api_has() {
        for (message, expected) in [
            (told::<NewVolume>(json!({"size_gigabytes": "10"})), "size_gigabytes must be an integer"),
            (told::<NewVolume>(json!({"size_gigabytes": 1.5})), "size_gigabytes must be an integer"),
            (told::<NewVolume>(json!({"size_gigabytes": 1e30})), "size_gigabytes must be an integer"),
            (told::<NewVolume>(json!({"size_gigabytes": u64::MAX})), "size_gigabytes must be an integer"),
            (told::<NewVolume>(json!({"name": 1})), "name must be a string"),
            (told::<NewVolume>(json!({"tags": "a"})), "tags must be an array"),
            (told::<NewVolume>(json!({"tags": ["a", 1]})), "tags[1] must be a string"),
            (told::<NewDroplet>(json!({"backups": "yes"})), "backups must be true or false"),
            (told::<NewDroplet>(json!({"image": {}})), "image must be an integer id or a slug"),
            (
                told::<NewDroplet>(json!({"volumes": [1]})),
                "volumes[0] must be the id of a volume, or an object with it",
            ),
            (
                told::<NewDroplet>(json!({"ssh_keys": [1.5]})),
                "ssh_keys[0] must be the id or the fingerprint of an SSH key",
            ),
            (told::<NewDroplet>(json!({"backup_policy": 1})), "backup_policy must be an object"),
            (
                told::<NewDropletAction>(json!({"backup_policy": {"hour": "x"}})),
                "backup_policy.hour must be an integer",
            ),
            (told::<AccountTransfer>(json!({"transfer_id": "x"})), "transfer_id must be an integer"),
            (told::<NewVolumeAction>(json!({"droplet_id": "x"})), "droplet_id must be an integer"),
            (
                told::<TagResources>(json!({"resources": [{"resource_id": "1"}]})),
                "resources[0].resource_type is required",
            ),
            (told::<TagResources>(json!({"resources": [1]})), "resources[0] must be an object"),
        ] {
            assert_eq!(message, expected);
        }
    }
}
