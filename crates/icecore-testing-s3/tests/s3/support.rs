//! A server with a bucket, and clients for it.
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its work ends the test")]

use bytes::Bytes;
use icecore_testing_s3::Options;
use icecore_testing_s3::Server;
use object_store::BackoffConfig;
use object_store::ClientOptions;
use object_store::Error;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::PutMode;
use object_store::PutOptions;
use object_store::Result;
use object_store::RetryConfig;
use object_store::aws::AmazonS3;
use object_store::aws::AmazonS3Builder;
use object_store::aws::Checksum;
use object_store::aws::S3CopyIfNotExists;
use object_store::path::Path;
use std::sync::Once;
use std::time::Duration;

/// The bucket of the tests.
pub(crate) const BUCKET: &str = "lab";

/// Starts a server with the bucket.
pub(crate) fn start(options: Options) -> Server {
    Server::start(&Options { buckets: vec![BUCKET.to_owned()], ..options }).unwrap()
}

/// Returns a client that tries everything once.
pub(crate) fn client(server: &Server, access: &str) -> AmazonS3 {
    client_with(server, access, 0, Duration::from_secs(60))
}

/// Returns a client that tries everything once, and sends a checksum with each body.
pub(crate) fn client_with_checksums(server: &Server, access: &str) -> AmazonS3 {
    builder(server, access, 0, Duration::from_secs(60))
        .with_checksum_algorithm(Checksum::SHA256)
        .build()
        .unwrap()
}

/// Returns a client that tries again so often, and waits so long for an answer.
pub(crate) fn client_with(server: &Server, access: &str, retries: usize, timeout: Duration) -> AmazonS3 {
    builder(server, access, retries, timeout).build().unwrap()
}

fn builder(server: &Server, access: &str, retries: usize, timeout: Duration) -> AmazonS3Builder {
    // The client is built with TLS, and wants to know whose, although it speaks none here.
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
    AmazonS3Builder::new()
        .with_endpoint(server.endpoint())
        .with_bucket_name(BUCKET)
        .with_region("us-east-1")
        .with_access_key_id(access)
        .with_secret_access_key("secret")
        .with_copy_if_not_exists(S3CopyIfNotExists::Header("if-none-match".to_owned(), "*".to_owned()))
        .with_client_options(ClientOptions::new().with_allow_http(true).with_timeout(timeout))
        .with_retry(RetryConfig {
            max_retries: retries,
            backoff: BackoffConfig { init_backoff: Duration::from_millis(1), ..BackoffConfig::default() },
            ..RetryConfig::default()
        })
}

/// Puts an object that must not be there.
pub(crate) async fn create(client: &AmazonS3, key: &str, bytes: impl Into<Bytes>) -> Result<()> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    client.put_opts(&Path::from(key), bytes.into().into(), options).await.map(drop)
}

/// Puts an object.
pub(crate) async fn put(client: &AmazonS3, key: &str, bytes: impl Into<Bytes>) -> Result<()> {
    client.put(&Path::from(key), bytes.into().into()).await.map(drop)
}

/// Gets an object.
pub(crate) async fn get(client: &AmazonS3, key: &str) -> Result<Bytes> {
    client.get(&Path::from(key)).await?.bytes().await
}

/// Returns the keys that the server has.
pub(crate) fn keys(server: &Server) -> Vec<String> {
    server.objects(BUCKET).into_iter().map(|(key, _)| key).collect()
}

/// Returns whether a request was denied.
pub(crate) fn is_denied<T>(outcome: Result<T>) -> bool {
    matches!(outcome, Err(Error::PermissionDenied { .. }))
}
