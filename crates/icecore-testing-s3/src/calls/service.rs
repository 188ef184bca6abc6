//! The operations, as the crate `s3s` wants them.

use crate::auth::Credentials;
use crate::bucket::Bucket;
use crate::calls::listing;
use crate::calls::parts;
use crate::calls::reading;
use crate::calls::values::timestamp;
use crate::calls::writing;
use crate::store::Store;
use s3s::S3;
use s3s::S3Request;
use s3s::S3Response;
use s3s::S3Result;
use s3s::dto;
use s3s::s3_error;
use std::sync::Arc;

/// The operations on a store.
#[derive(Debug, Clone)]
pub(crate) struct Operations {
    pub(crate) store: Arc<Store>,
    pub(crate) credentials: Credentials,
}

#[async_trait::async_trait]
impl S3 for Operations {
    async fn get_object(
        &self,
        r: S3Request<dto::GetObjectInput>,
    ) -> S3Result<S3Response<dto::GetObjectOutput>> {
        reading::get(&self.store, &self.credentials, r)
    }

    async fn head_object(
        &self,
        r: S3Request<dto::HeadObjectInput>,
    ) -> S3Result<S3Response<dto::HeadObjectOutput>> {
        reading::head(&self.store, &self.credentials, r)
    }

    async fn put_object(
        &self,
        r: S3Request<dto::PutObjectInput>,
    ) -> S3Result<S3Response<dto::PutObjectOutput>> {
        writing::put(&self.store, r).await
    }

    async fn copy_object(
        &self,
        r: S3Request<dto::CopyObjectInput>,
    ) -> S3Result<S3Response<dto::CopyObjectOutput>> {
        writing::copy(&self.store, r)
    }

    async fn delete_object(
        &self,
        r: S3Request<dto::DeleteObjectInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        writing::delete(&self.store, r)
    }

    async fn delete_objects(
        &self,
        r: S3Request<dto::DeleteObjectsInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectsOutput>> {
        writing::delete_many(&self.store, &self.credentials, r)
    }

    async fn list_objects_v2(
        &self,
        r: S3Request<dto::ListObjectsV2Input>,
    ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        listing::list(&self.store, r)
    }

    async fn create_multipart_upload(
        &self,
        r: S3Request<dto::CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
        parts::create(&self.store, r)
    }

    async fn upload_part(
        &self,
        r: S3Request<dto::UploadPartInput>,
    ) -> S3Result<S3Response<dto::UploadPartOutput>> {
        parts::part(&self.store, r).await
    }

    async fn upload_part_copy(
        &self,
        r: S3Request<dto::UploadPartCopyInput>,
    ) -> S3Result<S3Response<dto::UploadPartCopyOutput>> {
        parts::part_copy(&self.store, r)
    }

    async fn complete_multipart_upload(
        &self,
        r: S3Request<dto::CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
        parts::complete(&self.store, r)
    }

    async fn abort_multipart_upload(
        &self,
        r: S3Request<dto::AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::AbortMultipartUploadOutput>> {
        parts::abort(&self.store, r)
    }

    async fn create_bucket(
        &self,
        r: S3Request<dto::CreateBucketInput>,
    ) -> S3Result<S3Response<dto::CreateBucketOutput>> {
        if !self.store.make_bucket(&r.input.bucket) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        let location = Some(format!("/{}", r.input.bucket));
        Ok(S3Response::new(dto::CreateBucketOutput { location }))
    }

    async fn head_bucket(
        &self,
        r: S3Request<dto::HeadBucketInput>,
    ) -> S3Result<S3Response<dto::HeadBucketOutput>> {
        self.store.with(&r.input.bucket, |_| Ok(S3Response::new(dto::HeadBucketOutput::default())))
    }

    async fn get_bucket_location(
        &self,
        r: S3Request<dto::GetBucketLocationInput>,
    ) -> S3Result<S3Response<dto::GetBucketLocationOutput>> {
        self.store.with(&r.input.bucket, |_| Ok(S3Response::new(dto::GetBucketLocationOutput::default())))
    }

    async fn list_buckets(
        &self,
        _: S3Request<dto::ListBucketsInput>,
    ) -> S3Result<S3Response<dto::ListBucketsOutput>> {
        let buckets = self.store.with_buckets(|buckets| {
            let bucket = |(name, bucket): (&String, &Bucket)| dto::Bucket {
                name: Some(name.clone()),
                creation_date: Some(timestamp(bucket.made_ms)),
                ..dto::Bucket::default()
            };
            buckets.iter().map(bucket).collect()
        });
        Ok(S3Response::new(dto::ListBucketsOutput {
            buckets: Some(buckets),
            ..dto::ListBucketsOutput::default()
        }))
    }
}
