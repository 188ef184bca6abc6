//! The link below a whole server. How long it takes is tested beside it, by a clock that stands still.

use crate::support::client;
use crate::support::get;
use crate::support::put;
use crate::support::start;
use icecore_testing_s3::Link;
use icecore_testing_s3::Options;
use std::time::Duration;

#[tokio::test]
async fn requests_of_one_client_share_a_connection_over_the_link() {
    let link = Link { latency: Duration::from_millis(1), bits_per_second: None };
    let server = start(Options { link, ..Options::default() });
    let client = client(&server, "test");
    put(&client, "a", "1").await.unwrap();
    assert_eq!(get(&client, "a").await.unwrap(), "1");
    let sums = server.counters();
    assert_eq!((sums.requests, sums.connections), (2, 1));
}

#[tokio::test]
async fn bytes_of_all_connections_are_counted() {
    let link = Link { latency: Duration::ZERO, bits_per_second: Some(4_000_000_000) };
    let server = start(Options { link, ..Options::default() });
    let (one, two) = (client(&server, "test"), client(&server, "test"));
    let body = vec![7; 500_000];
    let (first, second) = tokio::join!(put(&one, "a", body.clone()), put(&two, "b", body.clone()));
    first.and(second).unwrap();
    let (first, second) = tokio::join!(get(&one, "a"), get(&two, "b"));
    assert_eq!((first.unwrap(), second.unwrap()), (body.clone().into(), body.into()));
    let sums = server.counters();
    assert_eq!((sums.bytes_up, sums.bytes_down), (1_000_000, 1_000_000));
    assert!(sums.wire_up > 1_000_000 && sums.wire_down > 1_000_000, "{sums:?}");
}
