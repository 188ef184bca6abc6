//! Faults, as a client meets them.

use crate::support::client;
use crate::support::client_with;
use crate::support::create;
use crate::support::get;
use crate::support::keys;
use crate::support::put;
use crate::support::start;
use icecore_testing_s3::Fault;
use icecore_testing_s3::Faults;
use icecore_testing_s3::Options;
use icecore_testing_s3::Rule;
use object_store::Error;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use std::time::Duration;

/// Waits for an event that only the server's state tells.
async fn until(happened: impl Fn() -> bool) {
    while !happened() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_fails_before_the_write_leaves_nothing_and_what_fails_after_it_leaves_all() {
    for fault in [
        Fault::internal_error(),
        Fault::slow_down(),
        Fault::conflict(),
        Fault::Reset { after: false },
        Fault::Hang { after: false },
    ] {
        for after in [false, true] {
            let server = start(Options::default());
            let fault = if after { fault.clone().after() } else { fault.clone() };
            server.set_faults(Faults::script(vec![Rule::new(fault.clone()).on("PutObject")]));
            let client = client(&server, "test");
            let create = create(&client, "a", vec![7; 200_000]);
            if let Fault::Hang { .. } = fault {
                // The client gives up when the server has come so far, however long that takes.
                let hangs = || {
                    server.log().iter().any(|call| call.fault.is_some())
                        && keys(&server).len() == usize::from(after)
                };
                tokio::select! {
                    outcome = create => panic!("{outcome:?}"),
                    () = until(hangs) => {}
                }
            } else {
                assert!(create.await.is_err(), "{fault:?}");
            }
            assert_eq!(keys(&server).len(), usize::from(after), "{fault:?}");
            let log = server.log();
            assert_eq!(log.len(), 1, "{log:?}");
            assert!(log[0].fault.is_some(), "{log:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_tries_again_gets_over_faults_that_end() {
    let server = start(Options::default());
    let rule = |fault| Rule::new(fault).times(1);
    server.set_faults(Faults::script(vec![rule(Fault::slow_down()), rule(Fault::internal_error())]));
    let client = client_with(&server, "test", 5, Duration::from_secs(60));
    create(&client, "a", "1").await.unwrap();
    let statuses: Vec<_> = server.log().iter().map(|call| call.status).collect();
    assert_eq!(statuses, [Some(503), Some(500), Some(200)]);
}

#[tokio::test]
async fn bodies_are_cut_and_lengths_lie() {
    let server = start(Options::default());
    let client = client(&server, "test");
    let whole = vec![7; 300_000];
    put(&client, "a", whole.clone()).await.unwrap();
    let set = |fault| server.set_faults(Faults::script(vec![Rule::new(fault)]));
    set(Fault::Truncate { bytes: 1000 });
    assert!(get(&client, "a").await.is_err());
    set(Fault::Length { add: 5 });
    assert!(get(&client, "a").await.is_err());
    set(Fault::Length { add: -5 });
    assert_eq!(get(&client, "a").await.unwrap(), whole[5..]);
    assert_eq!(client.head(&Path::from("a")).await.unwrap().size, 300_000 - 5);
    set(Fault::error("NoSuchKey", 404));
    assert!(matches!(get(&client, "a").await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_seed_decides_about_each_request_the_same_way_again() {
    let server = start(Options::default());
    let client = client(&server, "test");
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        server.set_faults(Faults::seeded(11, vec![Rule::new(Fault::internal_error()).rate(0.5)]));
        let mut failed = Vec::new();
        for number in 0..40 {
            failed.push(put(&client, &format!("k/{number}"), "1").await.is_err());
        }
        outcomes.push(failed);
    }
    assert_eq!(outcomes[0], outcomes[1]);
    assert!(outcomes[0].contains(&true) && outcomes[0].contains(&false));
}
