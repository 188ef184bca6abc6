//! Buckets of moto, whose endpoint is in `ICECORE_MOTO`. `tests/moto/run` starts it and these tests.

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use icecore::storage::MemoryStorage;
use icecore::storage::Objects;
use icecore::storage::Put;
use icecore_bucket::Address;
use icecore_bucket::Bucket;
use icecore_bucket::Options;
use icecore_bucket::Probe;
use icecore_bucket::Settings;
use icecore_testing::roles::assert_objects;

#[expect(clippy::disallowed_methods, reason = "a test, which is told where the server is")]
fn endpoint() -> String {
    std::env::var("ICECORE_MOTO").expect("ICECORE_MOTO is the endpoint of moto: run tests/moto/run")
}

/// Makes a bucket with a bare request: moto asks for no signature.
fn create(bucket: &str) {
    let endpoint = endpoint();
    let host = endpoint.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "PUT /{bucket} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Opens what is at an address, as one machine.
fn open(address: &str) -> Bucket {
    let keys = [("AWS_ACCESS_KEY_ID", "K"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let find = |name: &str| keys.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let options = Options { endpoint: Some(endpoint()), ..Options::default() };
    let address: Address = address.parse().unwrap();
    let settings = Settings::new(&find, None).with(options);
    Bucket::open(&address, &settings, Arc::new(MemoryStorage::new())).unwrap()
}

fn read(bucket: &Bucket, name: &str) -> io::Result<Vec<u8>> {
    let file = bucket.open(name)?;
    Ok(file.map(0..file.len())?.to_vec())
}

#[test]
fn a_bucket_is_such_as_the_engine_needs() {
    create("roles");
    assert_objects(&open("s3://roles/a"), "moto");
}

#[test]
fn objects_of_any_length_are_made_and_read() {
    create("lengths");
    let bucket = open("s3://lengths/a prefix/x=1");
    let long: Vec<u8> = (0..20 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
    for bytes in [0, 1, 1000, 64 << 10, (64 << 10) + 1, 9 << 20, 20 << 20] {
        for dir in ["packs", "journal"] {
            let name = format!("{dir}/{bytes}");
            for put in [Put::Made, Put::Exists] {
                let mut object = bucket.begin("local/tmp/1").unwrap();
                object.append(&long[..bytes]).unwrap();
                assert_eq!(object.publish(&name).unwrap(), put, "{name}");
            }
            assert!(read(&bucket, &name).unwrap() == long[..bytes], "{name}");
            let file = bucket.open(&name).unwrap();
            let middle = bytes as u64 / 2..bytes as u64;
            assert!(*file.map(middle).unwrap() == long[bytes / 2..bytes], "{name}");
        }
    }
    let mut listed = bucket.list_told("packs").unwrap();
    listed.sort_by_key(|object| object.bytes);
    assert_eq!(listed.iter().map(|object| object.bytes).max(), Some(20 << 20));
    assert!(
        listed.iter().all(|object| object.name == object.bytes.to_string() && object.made_unix_ms.is_some())
    );
}

#[test]
fn one_of_many_makes_an_object() {
    create("races");
    for race in 0..20 {
        let made: Vec<(u8, Put)> = thread::scope(|scope| {
            let racers = (0..8).map(|racer: u8| {
                scope.spawn(move || {
                    let bucket = open("s3://races/a");
                    (racer, bucket.put_new(&format!("journal/{race}"), &[racer; 1000], "").unwrap())
                })
            });
            let racers: Vec<_> = racers.collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let winners: Vec<u8> =
            made.iter().filter(|(_, put)| *put == Put::Made).map(|(racer, _)| *racer).collect();
        let [winner] = winners.as_slice() else { panic!("{made:?}") };
        assert_eq!(read(&open("s3://races/a"), &format!("journal/{race}")).unwrap(), [*winner; 1000]);
    }
}

#[test]
fn a_long_list_has_all_names_and_no_others() {
    create("lists");
    let bucket = open("s3://lists/a");
    // More than two pages.
    let names: Vec<String> = (0..2100).map(|number| format!("{number:04}")).collect();
    thread::scope(|scope| {
        for part in names.chunks(300) {
            let bucket = &bucket;
            scope.spawn(move || {
                for name in part {
                    bucket.put_new(&format!("packs/{name}"), b"x", "").unwrap();
                }
            });
        }
    });
    bucket.put_new("packs2/other", b"x", "").unwrap();
    bucket.put_new("config", b"x", "").unwrap();
    open("s3://lists").put_new("packs/outside", b"x", "").unwrap();
    let mut listed = bucket.list("packs").unwrap();
    listed.sort_unstable();
    assert_eq!(listed, names);
    assert_eq!(bucket.list("").unwrap(), ["config"]);
    assert_eq!(bucket.list("index").unwrap(), [""; 0]);
}

#[test]
fn objects_are_replaced_renamed_and_deleted() {
    create("changes");
    let bucket = open("s3://changes/a");
    bucket.put_hint("checkpoint/1", b"one").unwrap();
    bucket.put_hint("checkpoint/1", b"two").unwrap();
    assert_eq!(read(&bucket, "checkpoint/1").unwrap(), b"two");
    let mut object = bucket.begin("1").unwrap();
    object.append(b"three").unwrap();
    object.mend("checkpoint/1").unwrap();
    assert_eq!(read(&bucket, "checkpoint/1").unwrap(), b"three");
    bucket.rename("checkpoint/1", "damaged/1").unwrap();
    assert_eq!(read(&bucket, "checkpoint/1").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(read(&bucket, "damaged/1").unwrap(), b"three");
    bucket.delete("damaged/1").unwrap();
    bucket.delete("damaged/1").unwrap();
    assert_eq!(bucket.list("damaged").unwrap(), [""; 0]);
}

#[test]
fn moto_is_found_to_keep_its_promise() {
    create("probes");
    let good = Probe {
        refuses_second: true,
        one_wins: true,
        reads_back: true,
        lists: true,
        deletes: true,
        retains: false,
    };
    assert_eq!(open("s3://probes/a").probe("t").unwrap(), good);
}

#[test]
fn a_bucket_that_is_not_there_is_no_empty_one() {
    let bucket = open("s3://nowhere/a");
    for error in [
        bucket.list("packs").unwrap_err(),
        bucket.open("config").err().unwrap(),
        bucket.put_new("config", b"x", "").unwrap_err(),
        bucket.probe("t").unwrap_err(),
    ] {
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{error}");
        assert!(error.to_string().contains("there is no bucket s3://nowhere ("), "{error}");
    }
}
