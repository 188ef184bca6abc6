//! PutObject, CopyObject, DeleteObject and DeleteObjects.

use crate::auth::Credentials;
use crate::bucket::Conditions;
use crate::bucket::Object;
use crate::bucket::check_read;
use crate::calls::values::condition;
use crate::calls::values::etag;
use crate::calls::values::etag_of;
use crate::calls::values::source;
use crate::calls::values::timestamp;
use crate::calls::values::trailers;
use crate::calls::values::unix_ms;
use crate::intake::Expected;
use crate::intake::take;
use crate::store::Store;
use s3s::S3Request;
use s3s::S3Response;
use s3s::S3Result;
use s3s::dto::CopyObjectInput;
use s3s::dto::CopyObjectOutput;
use s3s::dto::CopyObjectResult;
use s3s::dto::DeleteObjectInput;
use s3s::dto::DeleteObjectOutput;
use s3s::dto::DeleteObjectsInput;
use s3s::dto::DeleteObjectsOutput;
use s3s::dto::DeletedObject;
use s3s::dto::ETagCondition;
use s3s::dto::Error;
use s3s::dto::MetadataDirective;
use s3s::dto::ObjectIdentifier;
use s3s::dto::PutObjectInput;
use s3s::dto::PutObjectOutput;
use s3s::s3_error;

pub(super) async fn put(
    store: &Store,
    mut request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
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
    let locked = store.with(&input.bucket, |bucket| Ok(bucket.retain.is_some()))?;
    // As on AWS, which does not lock what may have been damaged on its way.
    if (locked || input.object_lock_retain_until_date.is_some()) && !expected.any() {
        return Err(s3_error!(
            InvalidRequest,
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
        ));
    }
    let taken = take(input.body, input.content_length, expected, store.dir()).await?;
    let object = Object {
        etag: etag_of(&taken.digest, 1),
        content: taken.content,
        modified_ms: 0,
        retain_until_ms: input.object_lock_retain_until_date.map(unix_ms).transpose()?,
        metadata: input.metadata,
        content_type: input.content_type,
    };
    let e_tag = etag(&object.etag);
    let conditions = Conditions { if_match: input.if_match, if_none_match: input.if_none_match };
    store.put(&input.bucket, &input.key, object, &conditions)?;
    Ok(S3Response::new(PutObjectOutput { e_tag, ..PutObjectOutput::default() }))
}

pub(super) fn copy(
    store: &Store,
    request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let conditions = Conditions {
        if_match: condition(&request, "if-match")?,
        if_none_match: condition(&request, "if-none-match")?,
    };
    let input = request.input;
    let (from_bucket, from_key) = source(&input.copy_source)?;
    let from = store.object(from_bucket, from_key)?;
    check_read(&from, input.copy_source_if_match.as_ref(), input.copy_source_if_none_match.as_ref())?;
    let mut object = Object {
        retain_until_ms: input.object_lock_retain_until_date.map(unix_ms).transpose()?,
        ..Object::clone(&from)
    };
    if input.metadata_directive.is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE) {
        (object.metadata, object.content_type) = (input.metadata, input.content_type);
    }
    let result = CopyObjectResult {
        e_tag: etag(&object.etag),
        last_modified: Some(timestamp(store.clock.now_ms())),
        ..CopyObjectResult::default()
    };
    store.put(&input.bucket, &input.key, object, &conditions)?;
    Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() }))
}

pub(super) fn delete(
    store: &Store,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = request.input;
    remove(store, &input.bucket, &input.key, input.if_match)?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}

fn remove(store: &Store, bucket: &str, key: &str, if_match: Option<ETagCondition>) -> S3Result<()> {
    let conditions = Conditions { if_match, if_none_match: None };
    store.with(bucket, |bucket| bucket.delete(key, &conditions, store.clock.now_ms()))
}

pub(super) fn delete_many(
    store: &Store,
    credentials: &Credentials,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let may_delete = credentials.rights(request.credentials.as_ref()).delete;
    let input = request.input;
    store.with(&input.bucket, |_| Ok(()))?;
    if input.delete.objects.len() > 1000 {
        return Err(s3_error!(MalformedXML));
    }
    let one = |object: &ObjectIdentifier| {
        if !may_delete {
            return Err(s3_error!(AccessDenied));
        }
        remove(store, &input.bucket, &object.key, object.e_tag.clone().map(ETagCondition::ETag))
    };
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for object in &input.delete.objects {
        let key = Some(object.key.clone());
        match one(object) {
            Ok(()) => deleted.push(DeletedObject { key, ..DeletedObject::default() }),
            Err(error) => errors.push(Error {
                key,
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                version_id: None,
            }),
        }
    }
    let deleted = if input.delete.quiet == Some(true) { Vec::new() } else { deleted };
    let output = DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        ..DeleteObjectsOutput::default()
    };
    Ok(S3Response::new(output))
}
