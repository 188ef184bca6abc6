//! Uploads in parts.

use crate::bucket::Bucket;
use crate::bucket::Conditions;
use crate::bucket::Object;
use crate::bucket::Upload;
use crate::bucket::check_read;
use crate::calls::values::etag;
use crate::calls::values::etag_of;
use crate::calls::values::source;
use crate::calls::values::timestamp;
use crate::calls::values::trailers;
use crate::calls::values::unix_ms;
use crate::content::Content;
use crate::intake::Expected;
use crate::intake::take;
use crate::store::Store;
use s3s::S3Request;
use s3s::S3Response;
use s3s::S3Result;
use s3s::dto::AbortMultipartUploadInput;
use s3s::dto::AbortMultipartUploadOutput;
use s3s::dto::CompleteMultipartUploadInput;
use s3s::dto::CompleteMultipartUploadOutput;
use s3s::dto::CopyPartResult;
use s3s::dto::CreateMultipartUploadInput;
use s3s::dto::CreateMultipartUploadOutput;
use s3s::dto::ETag;
use s3s::dto::Range;
use s3s::dto::UploadPartCopyInput;
use s3s::dto::UploadPartCopyOutput;
use s3s::dto::UploadPartInput;
use s3s::dto::UploadPartOutput;
use s3s::s3_error;

/// The least size of a part that is not the last.
const PART_MIN: u64 = 5 << 20;

fn upload<'a>(bucket: &'a mut Bucket, id: &str, key: &str) -> S3Result<&'a mut Upload> {
    bucket.uploads.get_mut(id).filter(|upload| upload.key == key).ok_or_else(|| s3_error!(NoSuchUpload))
}

pub(super) fn create(
    store: &Store,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let input = request.input;
    let id = store.unique_name();
    let upload = Upload {
        key: input.key.clone(),
        parts: Default::default(),
        retain_until_ms: input.object_lock_retain_until_date.map(unix_ms).transpose()?,
        metadata: input.metadata,
        content_type: input.content_type,
    };
    store.with(&input.bucket, |bucket| {
        bucket.uploads.insert(id.clone(), upload);
        Ok(())
    })?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        ..CreateMultipartUploadOutput::default()
    }))
}

fn add(
    store: &Store,
    place: (&str, &str),
    id: &str,
    number: i32,
    etag: &str,
    content: Content,
) -> S3Result<()> {
    if !(1..=10_000).contains(&number) {
        return Err(s3_error!(
            InvalidArgument,
            "Part number must be an integer between 1 and 10000, inclusive"
        ));
    }
    store.with(place.0, |bucket| {
        upload(bucket, id, place.1)?.parts.insert(number, (etag.to_owned(), content));
        Ok(())
    })
}

pub(super) async fn part(
    store: &Store,
    mut request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let announced = trailers(&mut request);
    let input = request.input;
    let expected = Expected {
        md5: input.content_md5,
        crc32: input.checksum_crc32,
        crc32c: input.checksum_crc32c,
        crc64nvme: input.checksum_crc64nvme,
        sha1: input.checksum_sha1,
        sha256: input.checksum_sha256,
        ..announced
    };
    let taken = take(input.body, input.content_length, expected, store.dir()).await?;
    let name = etag_of(&taken.digest, 1);
    add(store, (&input.bucket, &input.key), &input.upload_id, input.part_number, &name, taken.content)?;
    Ok(S3Response::new(UploadPartOutput { e_tag: etag(&name), ..UploadPartOutput::default() }))
}

pub(super) fn part_copy(
    store: &Store,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let input = request.input;
    let (from_bucket, from_key) = source(&input.copy_source)?;
    let from = store.object(from_bucket, from_key)?;
    check_read(&from, input.copy_source_if_match.as_ref(), input.copy_source_if_none_match.as_ref())?;
    let (content, name) = match &input.copy_source_range {
        None => (from.content.clone(), from.etag.clone()),
        Some(text) => {
            let range = Range::parse(text).map_err(|error| s3_error!(error, InvalidArgument))?;
            let range = range.check(from.content.len()).map_err(|_| s3_error!(InvalidRange))?;
            let name = etag_of(&blake3::hash(format!("{} {range:?}", from.etag).as_bytes()), 1);
            (Content::Part(Box::new(from.content.clone()), range), name)
        }
    };
    add(store, (&input.bucket, &input.key), &input.upload_id, input.part_number, &name, content)?;
    let result = CopyPartResult {
        e_tag: etag(&name),
        last_modified: Some(timestamp(store.clock.now_ms())),
        ..CopyPartResult::default()
    };
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        ..UploadPartCopyOutput::default()
    }))
}

/// Joins the parts that a request names, in its order.
fn join(upload: &Upload, named: &[(i32, Option<ETag>)]) -> S3Result<Object> {
    let Some((last, _)) = named.last() else { return Err(s3_error!(MalformedXML)) };
    if !named.is_sorted_by(|(one, _), (next, _)| one < next) {
        return Err(s3_error!(InvalidPartOrder));
    }
    let mut digest = blake3::Hasher::new();
    let mut contents = Vec::new();
    for (number, etag) in named {
        let (name, content) = upload.parts.get(number).ok_or_else(|| s3_error!(InvalidPart))?;
        if etag.as_ref().is_some_and(|etag| etag.value() != name) {
            return Err(s3_error!(InvalidPart));
        }
        if number != last && content.len() < PART_MIN {
            return Err(s3_error!(EntityTooSmall));
        }
        digest.update(name.as_bytes());
        contents.push(content.clone());
    }
    Ok(Object {
        etag: etag_of(&digest.finalize(), named.len()),
        content: Content::Joined(contents),
        modified_ms: 0,
        retain_until_ms: upload.retain_until_ms,
        metadata: upload.metadata.clone(),
        content_type: upload.content_type.clone(),
    })
}

pub(super) fn complete(
    store: &Store,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let input = request.input;
    let conditions = Conditions { if_match: input.if_match, if_none_match: input.if_none_match };
    let conditions = if store.ignore_conditions { Conditions::default() } else { conditions };
    let parts = input.multipart_upload.and_then(|named| named.parts).unwrap_or_default();
    let named: Vec<_> =
        parts.into_iter().map(|part| (part.part_number.unwrap_or_default(), part.e_tag)).collect();
    let name = store.with(&input.bucket, |bucket| {
        let object = join(upload(bucket, &input.upload_id, &input.key)?, &named)?;
        let object = store.dated(bucket, object);
        let name = object.etag.clone();
        bucket.put(&input.key, object, &conditions, store.clock.now_ms())?;
        bucket.uploads.remove(&input.upload_id);
        Ok(name)
    })?;
    Ok(S3Response::new(CompleteMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: etag(&name),
        ..CompleteMultipartUploadOutput::default()
    }))
}

pub(super) fn abort(
    store: &Store,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = request.input;
    store.with(&input.bucket, |bucket| {
        upload(bucket, &input.upload_id, &input.key)?;
        bucket.uploads.remove(&input.upload_id);
        Ok(())
    })?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}
