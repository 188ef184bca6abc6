//! GetObject and HeadObject.

use crate::auth::Credentials;
use crate::bucket::Object;
use crate::bucket::check_read;
use crate::calls::values::etag;
use crate::calls::values::size;
use crate::calls::values::timestamp;
use crate::store::Store;
use s3s::S3Request;
use s3s::S3Response;
use s3s::S3Result;
use s3s::dto::GetObjectInput;
use s3s::dto::GetObjectOutput;
use s3s::dto::HeadObjectInput;
use s3s::dto::HeadObjectOutput;
use s3s::dto::ObjectLockMode;
use s3s::dto::Range;
use s3s::dto::StreamingBlob;
use s3s::s3_error;
use std::sync::Arc;

/// Finds an object. Who may not list is not told that it is missing.
fn find(store: &Store, bucket: &str, key: &str, may_list: bool) -> S3Result<Arc<Object>> {
    store.object(bucket, key).map_err(|error| match error.code() {
        s3s::S3ErrorCode::NoSuchKey if !may_list => s3_error!(AccessDenied),
        _ => error,
    })
}

/// Returns the bytes that a request wants, and the header that says which those are.
fn wanted(object: &Object, range: Option<Range>) -> S3Result<(std::ops::Range<u64>, Option<String>)> {
    let all = object.content.len();
    let Some(range) = range else { return Ok((0..all, None)) };
    let range = range.check(all).map_err(|_| s3_error!(InvalidRange))?;
    let header = format!("bytes {}-{}/{all}", range.start, range.end.saturating_sub(1));
    Ok((range, Some(header)))
}

pub(super) fn get(
    store: &Store,
    credentials: &Credentials,
    request: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let may_list = credentials.rights(request.credentials.as_ref()).list;
    let input = request.input;
    let object = find(store, &input.bucket, &input.key, may_list)?;
    check_read(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let (range, content_range) = wanted(&object, input.range)?;
    let slices = object.content.slice(range).map_err(s3s::S3Error::internal_error)?;
    Ok(S3Response::new(GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: size(slices.len()),
        body: Some(StreamingBlob::wrap(slices)),
        content_range,
        content_type: object.content_type.clone(),
        e_tag: etag(&object.etag),
        last_modified: Some(timestamp(object.modified_ms)),
        metadata: object.metadata.clone(),
        object_lock_mode: object
            .retain_until_ms
            .map(|_| ObjectLockMode::from_static(ObjectLockMode::COMPLIANCE)),
        object_lock_retain_until_date: object.retain_until_ms.map(timestamp),
        ..GetObjectOutput::default()
    }))
}

pub(super) fn head(
    store: &Store,
    credentials: &Credentials,
    request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let may_list = credentials.rights(request.credentials.as_ref()).list;
    let input = request.input;
    let object = find(store, &input.bucket, &input.key, may_list)?;
    check_read(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let (range, content_range) = wanted(&object, input.range)?;
    Ok(S3Response::new(HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: size(range.end - range.start),
        content_range,
        content_type: object.content_type.clone(),
        e_tag: etag(&object.etag),
        last_modified: Some(timestamp(object.modified_ms)),
        metadata: object.metadata.clone(),
        object_lock_mode: object
            .retain_until_ms
            .map(|_| ObjectLockMode::from_static(ObjectLockMode::COMPLIANCE)),
        object_lock_retain_until_date: object.retain_until_ms.map(timestamp),
        ..HeadObjectOutput::default()
    }))
}
