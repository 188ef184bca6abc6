//! What clients read of a volume's snapshot is recorded, and fetched ahead of them on other machines.

use icecore_testing_s3::Options;
use icecore_testing_s3::Server as Store;

use crate::support::Fixture;
use crate::support::noise;
use crate::volumes::server::Server;
use crate::volumes::tools;

/// A machine that uses the repository `disks` in the bucket.
fn machine(store: &Store) -> Fixture {
    let mut fixture = Fixture::bare();
    fixture.set("AWS_ACCESS_KEY_ID", "test");
    fixture.set("AWS_SECRET_ACCESS_KEY", "secret");
    fixture.set("AWS_REGION", "us-east-1");
    fixture.set("AWS_EC2_METADATA_DISABLED", "true");
    fixture.set("AWS_ENDPOINT_URL", store.endpoint());
    fixture.set("ICECORE_REPO", "s3://lab/disks");
    fixture
}

/// Returns where the parts of packs begin that were asked for, in order, but for what comes when a
/// pack is opened.
fn parts_of_packs(store: &Store) -> Vec<u64> {
    let calls = store.log().into_iter().filter(|call| call.key.starts_with("disks/packs/"));
    let starts = calls.filter_map(|call| call.range.strip_prefix("bytes=")?.split_once('-')?.0.parse().ok());
    starts.filter(|start| *start > 0).collect()
}

#[test]
fn what_a_first_boot_reads_is_fetched_first_on_another_machine_and_then_serving_needs_no_request() {
    if !tools::have(&["qemu-io"]) {
        return;
    }
    let store = Store::start(&Options { buckets: vec!["lab".to_owned()], ..Options::default() }).unwrap();
    let [one, two, three] = [(); 3].map(|()| machine(&store));
    one.run(&["init"]).exits(0);
    std::fs::write(one.path("disk.raw"), noise(1, 12 << 20)).unwrap();
    one.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(0);
    let read = |server: &Server, name: &str, commands: &[&str]| {
        let uri = server.uri(name);
        let commands = commands.iter().flat_map(|command| ["-c", command]);
        let arguments: Vec<&str> = ["-r", "-f", "raw"].into_iter().chain(commands).chain([&*uri]).collect();
        let told = tools::works("qemu-io", &arguments);
        assert!(!told.contains("fail"), "{told}");
    };
    one.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    one.run(&["volume", "create", "empty", "--size", "1M"]).exits(0);
    one.run(&["volume", "serve", "empty", "--record"]).exits(2).says(&["nothing to record"]);
    let server = Server::start(&one, &["web", "--record"]);
    read(&server, "web", &["read 9M 4k", "read 5M 64k", "read 9M 64k"]);
    server.stop().says(&["recorded the first reads of web: 128.0 KiB in 2 parts"]);
    let records = || store.objects("lab").iter().filter(|(key, _)| key.contains("/reads/")).count();
    assert_eq!(records(), 1);
    let server = Server::start(&one, &["web", "--record"]);
    assert!(!server.stop().err.contains("recorded"), "nothing was read");
    assert_eq!(records(), 1);

    store.reset_log();
    two.run(&["volume", "create", "next", "--snapshot", "base", "--prefetch=recorded"])
        .exits(0)
        .says(&["prefetched", "that was recorded"]);
    // In the order of the pack: both come in the same moment.
    let mut first = parts_of_packs(&store);
    first.sort_unstable();
    assert_eq!(first, [5 << 20, 9 << 20]);
    let server = Server::start(&two, &["next", "--prefetch"]);
    while !server.has_said("prefetched") {
        std::thread::yield_now();
    }
    let then = parts_of_packs(&store);
    assert!(then.len() > 10 && then[2..].iter().all(|start| !first.contains(start)), "{then:?}");
    store.reset_log();
    read(&server, "next", &["read 0 12M", "read 9M 4k"]);
    assert_eq!(store.counters().requests, 0, "{:?}", store.log());
    server.stop();

    three.run(&["volume", "create", "all", "--snapshot", "base", "--prefetch"]).exits(0);
    store.reset_log();
    three.run(&["volume", "export", "all", "all.raw"]).exits(0);
    assert_eq!(parts_of_packs(&store), [0; 0]);
    assert!(std::fs::read(three.path("all.raw")).unwrap() == noise(1, 12 << 20));
    three.run(&["volume", "create", "x", "--size", "1M", "--prefetch"]).exits(2).says(&["--snapshot"]);
    three.run(&["verify"]).exits(0);
    one.run(&["stats"]).exits(0);
}

#[test]
fn in_a_directory_the_kernel_is_told() {
    let fixture = Fixture::with_snapshot();
    let create = ["volume", "create", "web", "--snapshot", "base", "--prefetch"];
    fixture.run(&create).exits(0).says(&["prefetched", "nothing was recorded"]);
    let server = Server::start(&fixture, &["web", "--prefetch=recorded", "--record", "--snapshot", "base"]);
    while !server.has_said("prefetched") {
        std::thread::yield_now();
    }
    server.stop();
    fixture.run(&["volume", "serve", "--prefetch=some"]).exits(2).says(&["recorded"]);
}
