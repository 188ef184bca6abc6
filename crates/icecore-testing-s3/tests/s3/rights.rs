//! Who may do what, and what is locked.

use crate::support::BUCKET;
use crate::support::client;
use crate::support::client_with_checksums;
use crate::support::create;
use crate::support::get;
use crate::support::is_denied;
use crate::support::keys;
use crate::support::put;
use crate::support::start;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use icecore_testing_s3::Credential;
use icecore_testing_s3::Options;
use icecore_testing_s3::Rights;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use std::time::Duration;

async fn delete_many(client: &AmazonS3, keys: &[&str]) -> object_store::Result<Vec<Path>> {
    let keys: Vec<_> = keys.iter().map(|key| Ok(Path::from(*key))).collect();
    client.delete_stream(futures_util::stream::iter(keys).boxed()).try_collect().await
}

#[tokio::test]
async fn who_may_only_create_neither_overwrites_nor_deletes() {
    let credentials = vec![
        Credential::new("all", "secret", Rights::ALL),
        Credential::new("capture", "secret", Rights::CAPTURE),
        Credential::new("wrong", "another secret", Rights::ALL),
    ];
    let server = start(Options { credentials, ..Options::default() });
    let capture = client(&server, "capture");
    create(&capture, "a", "1").await.unwrap();
    assert!(is_denied(put(&capture, "a", "2").await));
    assert!(is_denied(put(&capture, "b", "2").await));
    assert!(delete_many(&capture, &["a"]).await.is_err());
    assert_eq!(get(&capture, "a").await.unwrap(), "1");
    for stranger in ["wrong", "nobody"] {
        assert!(is_denied(get(&client(&server, stranger), "a").await), "{stranger}");
    }
    delete_many(&client(&server, "all"), &["a"]).await.unwrap();
    assert!(keys(&server).is_empty());
}

#[tokio::test]
async fn a_locked_object_stays_until_its_time_has_come() {
    let server = start(Options::default());
    server.stop_clock_at(1_800_000_000_000);
    server.set_retention(BUCKET, Some(Duration::from_secs(60))).unwrap();
    // As on AWS, which does not lock a body that came without a checksum.
    assert!(put(&client(&server, "test"), "a", "1").await.is_err());
    let client = client_with_checksums(&server, "test");
    put(&client, "a", "1").await.unwrap();
    assert_eq!(client.head(&Path::from("a")).await.unwrap().last_modified.timestamp(), 1_800_000_000);
    server.advance_clock(Duration::from_millis(59_999));
    assert!(is_denied(put(&client, "a", "2").await));
    assert!(delete_many(&client, &["a"]).await.is_err());
    assert_eq!(get(&client, "a").await.unwrap(), "1");
    server.advance_clock(Duration::from_millis(1));
    put(&client, "a", "2").await.unwrap();
    assert_eq!(client.head(&Path::from("a")).await.unwrap().last_modified.timestamp(), 1_800_000_060);
}
