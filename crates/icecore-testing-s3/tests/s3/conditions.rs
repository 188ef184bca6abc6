//! Creating is atomic, by all three ways to it.

use crate::support::client;
use crate::support::create;
use crate::support::get;
use crate::support::keys;
use crate::support::start;
use futures_util::future::join_all;
use icecore_testing_s3::Options;
use object_store::Error;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::PutMode;
use object_store::PutOptions;
use object_store::UpdateVersion;
use object_store::path::Path;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_create_at_once_one_wins() {
    let server = start(Options::default());
    let clients: Vec<_> = (0..8).map(|_| client(&server, "test")).collect();
    for turn in 0..20 {
        let key = format!("race/{turn}");
        let tries = (0_u8..).zip(&clients).map(|(who, client)| create(client, &key, vec![who; 1000]));
        let outcomes = join_all(tries).await;
        let winners: Vec<_> = (0_u8..).zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        let lost = |outcome: &&object_store::Result<()>| matches!(outcome, Err(Error::AlreadyExists { .. }));
        assert_eq!(outcomes.iter().filter(lost).count(), 7, "{outcomes:?}");
        assert_eq!(get(&clients[0], &key).await.unwrap(), vec![winners[0].0; 1000]);
    }
}

#[tokio::test]
async fn updates_and_copies_have_conditions_too() {
    let server = start(Options::default());
    let client = client(&server, "test");
    let (a, b) = (Path::from("a"), Path::from("b"));
    let first = client.put(&a, "1".into()).await.unwrap();
    let update = |version| PutOptions { mode: PutMode::Update(version), ..PutOptions::default() };
    let version = UpdateVersion { e_tag: first.e_tag, version: None };
    client.put_opts(&a, "2".into(), update(version.clone())).await.unwrap();
    let again = client.put_opts(&a, "3".into(), update(version)).await;
    assert!(matches!(again, Err(Error::Precondition { .. })), "{again:?}");

    client.copy_if_not_exists(&a, &b).await.unwrap();
    let again = client.copy_if_not_exists(&a, &b).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    assert_eq!(get(&client, "b").await.unwrap(), "2");
}

#[tokio::test]
async fn a_store_that_ignores_conditions_overwrites() {
    let server = start(Options { ignore_conditions: true, ..Options::default() });
    let client = client(&server, "test");
    create(&client, "a", "1").await.unwrap();
    create(&client, "a", "2").await.unwrap();
    assert_eq!(get(&client, "a").await.unwrap(), "2");
    assert_eq!(keys(&server), ["a"]);
}
