//! What the operations share: values of S3 made of the store's, and the other way round.

use crate::clock::millis;
use crate::intake::Expected;
use s3s::S3Request;
use s3s::S3Result;
use s3s::dto::CopySource;
use s3s::dto::ETag;
use s3s::dto::ETagCondition;
use s3s::dto::Timestamp;
use s3s::dto::TimestampFormat;
use s3s::s3_error;
use std::time::Duration;
use std::time::UNIX_EPOCH;

/// Returns an ETag of a body's digest. It has the form of one of an upload in parts, so that no
/// client takes it for an MD5.
pub(super) fn etag_of(digest: &blake3::Hash, parts: usize) -> String {
    format!("{}-{parts}", &digest.to_hex()[..32])
}

pub(super) fn etag(text: &str) -> Option<ETag> {
    Some(ETag::Strong(text.to_owned()))
}

pub(super) fn timestamp(unix_ms: u64) -> Timestamp {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms)).unwrap_or(UNIX_EPOCH);
    Timestamp::from(time)
}

/// Returns a time in milliseconds since 1970.
pub(super) fn unix_ms(time: Timestamp) -> S3Result<u64> {
    let mut text = Vec::new();
    time.format(TimestampFormat::EpochSeconds, &mut text)
        .map_err(|error| s3_error!(error, InvalidArgument))?;
    let seconds = String::from_utf8_lossy(&text).parse::<f64>();
    let since = seconds.ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    since.map(millis).ok_or_else(|| s3_error!(InvalidArgument))
}

pub(super) fn size(bytes: u64) -> Option<i64> {
    i64::try_from(bytes).ok()
}

/// Returns the condition in a header that the operation has no field for.
pub(super) fn condition<T>(request: &S3Request<T>, header: &str) -> S3Result<Option<ETagCondition>> {
    let value = request.headers.get(header).map(|value| ETagCondition::parse_http_header(value.as_bytes()));
    value.transpose().map_err(|error| s3_error!(error, InvalidArgument))
}

/// Returns what is known of a body's checksums before it was read, but those of its own headers.
pub(super) fn trailers<T>(request: &mut S3Request<T>) -> Expected {
    let announced = request.headers.get("x-amz-trailer").and_then(|value| value.to_str().ok());
    Expected {
        announced: announced.unwrap_or_default().to_ascii_lowercase(),
        trailers: request.trailing_headers.take(),
        ..Expected::default()
    }
}

/// Returns bucket and key of the source of a copy.
pub(super) fn source(source: &CopySource) -> S3Result<(&str, &str)> {
    match source {
        CopySource::Bucket { bucket, key, version_id: None } => Ok((bucket, key)),
        _ => Err(s3_error!(NotImplemented, "sources other than BUCKET/KEY")),
    }
}
