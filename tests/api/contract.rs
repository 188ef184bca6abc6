//! What a request must be answered with, for tables of such.

use std::sync::Arc;

use icecore::ErrorKind;
use icecore::repository::Repository;
use icecore::snapshot::BlockCache;
use icecore::snapshot::ResourceKind;
use icecore::storage::FsStorage;
use icecore::volume::Volume;
use icecore::volume::VolumeId;
use icecore::volume::VolumeInfo;
use icecore::volume::VolumeOptions;
use serde_json::Value;
use serde_json::json;
use uuid::Uuid;

use crate::support::Server;

/// Method, path, body, status, and what the message must have in it.
pub(crate) type Case<'a> = (&'a str, &'a str, Value, u16, &'a str);

/// Fails the test if an answer is another; the word for programs must be that of the status.
#[track_caller]
pub(crate) fn holds(server: &Server, cases: &[Case<'_>]) {
    for (method, path, body, status, says) in cases {
        let answer = server.ask(method, path, (!body.is_null()).then_some(body));
        let case = format!("{method} {path} {body}: {}", answer.text);
        assert_eq!(answer.status, *status, "{case}");
        let word = match *status {
            400 => "bad_request",
            403 => "forbidden",
            404 => "not_found",
            409 => "conflict",
            422 => "unprocessable_entity",
            429 => "too_many_requests",
            _ => continue,
        };
        assert_eq!(answer.json()["id"], word, "{case}");
        assert!(answer.json()["message"].as_str().unwrap().contains(says), "{says:?}: {case}");
    }
}

/// Makes a volume of one GiB or as the body says, and returns it.
#[track_caller]
pub(crate) fn volume(server: &Server, name: &str, more: &Value) -> Value {
    let mut body = json!({"name": name, "region": "here", "size_gigabytes": 1});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.post("/v2/volumes", &body).expect(201)["volume"].take()
}

/// Takes a snapshot of a volume.
#[track_caller]
pub(crate) fn snapshot(server: &Server, volume: &Value, name: &str) -> Value {
    let path = format!("/v2/volumes/{}/snapshots", id(volume));
    server.post(&path, &json!({"name": name})).expect(201)["snapshot"].take()
}

/// Returns the id of something, as it stands in a path.
#[track_caller]
pub(crate) fn id(thing: &Value) -> String {
    match &thing["id"] {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => panic!("{thing} has no id"),
    }
}

/// Opens the repository of a region beside the server, as another program does.
pub(crate) fn repository(server: &Server, region: &str) -> Repository {
    let storage = Arc::new(FsStorage::new(server.dir.path().join(region)));
    Repository::open(storage, Uuid::now_v7()).unwrap()
}

/// How often something is tried that needs a disk for itself.
const TRIES: usize = 1_000_000;

/// Does something beside the server that needs a disk for itself. When another test starts a
/// program, the child holds the locks of this process until it begins, also those of disks that
/// were closed meanwhile: so it is tried again while the disk seems to be in use.
#[track_caller]
pub(crate) fn patiently<T>(what: impl Fn() -> icecore::Result<T>) -> T {
    let mut tries = 0..TRIES;
    loop {
        match what() {
            Err(error) if error.kind() == ErrorKind::InUse && tries.next().is_some() => {
                std::thread::yield_now();
            }
            done => return done.unwrap(),
        }
    }
}

/// Opens a disk beside the server, as another program does.
pub(crate) fn open(server: &Server, region: &str, name: &str) -> Volume {
    let repo = Arc::new(repository(server, region));
    patiently(|| Volume::open(Arc::clone(&repo), name, BlockCache::usual()))
}

/// Makes a disk without the server, of one GiB, with labels.
pub(crate) fn disk(repo: &Repository, name: &str, kind: ResourceKind, labels: &[(&str, &str)]) -> VolumeInfo {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let options = VolumeOptions {
        id: VolumeId(Uuid::now_v7()),
        name: name.to_owned(),
        created_unix_ms: 1_764_000_000_000,
        kind: Some(kind),
        snapshot: None,
        size_bytes: Some(1 << 30),
        labels,
    };
    icecore::volume::create_volume(repo, &options).unwrap()
}

/// Makes a Droplet without the server that has this number.
pub(crate) fn droplet(server: &Server, region: &str, number: i64) {
    let number = number.to_string();
    let labels = [("account", "ann"), ("number", number.as_str())];
    disk(&repository(server, region), &format!("droplet-{number}"), ResourceKind::Droplet, &labels);
}

/// Returns the names on all pages of a list, which are followed as clients do; each page must be
/// right about the others.
#[track_caller]
pub(crate) fn all_pages(
    server: &Server,
    path: &str,
    list: &str,
    total: usize,
    per_page: usize,
) -> Vec<String> {
    let last = total.div_ceil(per_page);
    let mut names = Vec::new();
    for page in 1..=last {
        let body = server.get(&format!("{path}?page={page}&per_page={per_page}")).expect(200);
        assert_eq!(body["meta"]["total"], total);
        let url = |at: usize| json!(format!("http://{}{path}?page={at}&per_page={per_page}", server.address));
        let pages = &body["links"]["pages"];
        for (key, there, at) in [
            ("first", page > 1, 1),
            ("prev", page > 1, page.saturating_sub(1)),
            ("next", page < last, page + 1),
            ("last", page < last, last),
        ] {
            let expected = if there { url(at) } else { Value::Null };
            assert_eq!(pages[key], expected, "{key} of page {page}");
        }
        let items = body[list].as_array().unwrap();
        assert_eq!(items.len(), per_page.min(total - (page - 1) * per_page));
        names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
    }
    assert_eq!(server.get(&format!("{path}?page={}", total + 1)).expect(200)[list], json!([]));
    names
}
