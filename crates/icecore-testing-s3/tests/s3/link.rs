//! The link: nothing is faster than it can be. That it is not slower is for the benches to see.

use crate::support::client;
use crate::support::get;
use crate::support::put;
use crate::support::start;
use icecore_testing_s3::Link;
use icecore_testing_s3::Options;
use std::time::Duration;
use std::time::Instant;

#[tokio::test]
async fn a_request_costs_a_round_trip_and_a_new_connection_another() {
    let latency = Duration::from_millis(300);
    let server = start(Options { link: Link { latency, bits_per_second: None }, ..Options::default() });
    let client = client(&server, "test");
    let begun = Instant::now();
    put(&client, "a", "1").await.unwrap();
    assert!(begun.elapsed() >= 2 * latency, "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(get(&client, "a").await.unwrap(), "1");
    assert!(begun.elapsed() >= latency, "{:?}", begun.elapsed());
    let sums = server.counters();
    assert_eq!((sums.requests, sums.connections), (2, 1));
}

#[tokio::test]
async fn all_connections_share_the_rate_of_each_direction() {
    let link = Link { latency: Duration::ZERO, bits_per_second: Some(40_000_000) };
    let server = start(Options { link, ..Options::default() });
    let (one, two) = (client(&server, "test"), client(&server, "test"));
    // Two bodies of 0.5 MB take 0.2 s at 5 MB/s, but for what the link may make up for: 5 ms, and the
    // last piece, which is let through before its time.
    let least = Duration::from_millis(180);
    let body = vec![7; 500_000];
    let begun = Instant::now();
    let (first, second) = tokio::join!(put(&one, "a", body.clone()), put(&two, "b", body.clone()));
    assert!(first.and(second).is_ok() && begun.elapsed() >= least, "{:?}", begun.elapsed());
    let begun = Instant::now();
    let (first, second) = tokio::join!(get(&one, "a"), get(&two, "b"));
    assert_eq!((first.unwrap(), second.unwrap()), (body.clone().into(), body.into()));
    assert!(begun.elapsed() >= least - Duration::from_millis(30), "{:?}", begun.elapsed());
    let sums = server.counters();
    assert_eq!((sums.bytes_up, sums.bytes_down), (1_000_000, 1_000_000));
    assert!(sums.wire_up > 1_000_000 && sums.wire_down > 1_000_000, "{sums:?}");
}
