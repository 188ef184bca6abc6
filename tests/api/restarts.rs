//! The server ends in the middle of everything, and the next one goes on: by what stands in the
//! database, in order, and by SIGKILL.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;

use icecore::snapshot::RenameOptions;
use icecore_api::Controls;
use icecore_host::clock::SystemClock;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::contract::repository;
use crate::droplets::droplet;
use crate::droplets::image;
use crate::droplets::image_file;
use crate::support::IMPORT;
use crate::support::Server;
use crate::support::USUAL;
use crate::support::config_in;
use crate::tools;

const MIB: usize = 1 << 20;
/// Names the directory of the server that this program is to be, where it is one.
const BE_A_SERVER: &str = "ICECORE_TEST_SERVER";

fn again(mut server: Server) -> Server {
    server.stop();
    let dir = Arc::clone(&server.dir);
    drop(server);
    Server::start_in(dir, &format!("{USUAL}{IMPORT}"))
}

/// Actions that a server has begun and not ended, written into its database.
struct Forge(rusqlite::Connection);

impl Forge {
    fn action(&self, kind: &str, of: (&str, Uuid), region: &str, job: Option<&Value>) -> i64 {
        let sql = "INSERT INTO action (account, status, type, started_ms, resource_type, resource, resource_id, region, job)
                   VALUES ('ann', 'in-progress', ?, 1764000000000, ?, ?, 1, ?, ?) RETURNING id";
        let job = job.map(Value::to_string);
        let values = rusqlite::params![kind, of.0, of.1.as_bytes(), region, job];
        self.0.query_row(sql, values, |row| row.get(0)).unwrap()
    }
}

/// The ids in the engine of all snapshots and disks in a region, by their names.
fn ids(server: &Server, region: &str) -> BTreeMap<String, Uuid> {
    let repo = repository(server, region);
    let volumes =
        icecore::volume::list_volumes(&repo).unwrap().volumes.into_iter().map(|it| (it.name, it.id.0));
    let snapshots = icecore::snapshot::list(&repo).unwrap().into_iter().map(|it| (it.name, it.id.0));
    volumes.chain(snapshots).collect()
}

/// Makes Droplets and snapshots of some, and returns the numbers of the Droplets by their names.
fn seven_droplets() -> (Server, BTreeMap<String, Value>) {
    let server = Server::with_import();
    let base = image(&server, "base", 1);
    for name in ["restored", "resized", "renamed", "destroyed", "taken", "not-taken", "unknown"] {
        droplet(&server, name, base, &json!({}));
    }
    let droplets = server.get("/v2/droplets?per_page=100").expect(200)["droplets"].take();
    let number: BTreeMap<String, Value> = droplets
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].as_str().unwrap().to_owned(), it["id"].clone()))
        .collect();
    for (of, name) in [("restored", "before"), ("taken", "there"), ("destroyed", "a-backup")] {
        let path = format!("/v2/droplets/{}/actions", number[of]);
        server.act(&path, &json!({"type": "snapshot", "name": name}));
    }
    (server, number)
}

#[test]
fn each_kind_of_action_is_ended_by_the_next_server() {
    let (server, number) = seven_droplets();
    let url = image_file(&server, "late.raw", 9);
    let mut server = server;
    server.stop();
    let known = ids(&server, "here");
    let backup = BTreeMap::from([("type".to_owned(), "backup".to_owned())]);
    let repo = repository(&server, "here");
    icecore::snapshot::relabel(&repo, icecore::snapshot::SnapshotId(known["a-backup"]), &backup, &[])
        .unwrap();
    let forge = Forge(rusqlite::Connection::open(server.path("state/icecore.sqlite")).unwrap());
    let of = |name: &str| ("droplet", known[name]);
    let [new, late, gone, lost] = [1, 2, 3, 4].map(|_| Uuid::now_v7());
    let import = "INSERT INTO import VALUES (?, 'ann', 'here', ?, 'late', ?, '', '', '', NULL)";
    // The last two have no action: one that did not begin, and one that has ended.
    for (id, time) in [(late, 1_764_000_000_000_i64), (lost, 1), (known["base"], 2)] {
        forge.0.execute(import, rusqlite::params![id.as_bytes(), time, url]).unwrap();
    }
    let snapshot =
        |id: Uuid| json!({"job": "snapshot-droplet", "id": id, "name": "x", "tags": [], "labels": {}});
    let create = json!({"job": "create-droplet", "name": "new", "size_bytes": 1_u64 << 30, "snapshot": known["base"],
        "labels": {"account": "ann", "name": "new"}, "volumes": []});
    let restore = json!({"job": "restore-droplet", "snapshot": known["before"]});
    let resize = json!({"job": "resize-droplet", "size": "large", "size_bytes": 3_u64 << 30});
    let label = json!({"job": "label-droplet", "labels": {"name": "another"}});
    let plain = |job: &str| json!({"job": job});
    let transfer = json!({"job": "transfer-image", "from": "here"});
    let expected: Vec<(i64, &str)> = vec![
        (forge.action("restore", of("restored"), "here", Some(&restore)), "completed"),
        (forge.action("resize", of("resized"), "here", Some(&resize)), "completed"),
        (forge.action("rename", of("renamed"), "here", Some(&label)), "completed"),
        (forge.action("destroy", of("destroyed"), "here", Some(&plain("destroy-droplet"))), "completed"),
        (forge.action("snapshot", of("taken"), "here", Some(&snapshot(known["there"]))), "completed"),
        (forge.action("snapshot", of("not-taken"), "here", Some(&snapshot(gone))), "errored"),
        (forge.action("power_on", of("unknown"), "here", Some(&plain("of-the-future"))), "errored"),
        (forge.action("create", ("droplet", new), "here", Some(&create)), "completed"),
        (forge.action("transfer", ("image", known["base"]), "there", Some(&transfer)), "completed"),
        (forge.action("create", ("image", late), "here", Some(&plain("import-image"))), "completed"),
        (forge.action("create", ("image", gone), "here", Some(&plain("import-image"))), "errored"),
        (forge.action("attach_volume", ("volume", Uuid::now_v7()), "here", None), "errored"),
        (forge.action("transfer", ("image", Uuid::now_v7()), "there", Some(&transfer)), "errored"),
    ];
    drop(forge);
    let server = Server::start_in(Arc::clone(&server.dir), &format!("{USUAL}{IMPORT}"));
    for (id, status) in expected {
        let done = server.until_done(&json!({"id": id}));
        assert_eq!(done["status"], status, "{done}");
        assert_eq!(done["message"].as_str().unwrap().is_empty(), status == "completed", "{done}");
    }
    let shown = |of: &str| server.get(&format!("/v2/droplets/{}", number[of]));
    assert_eq!(shown("resized").expect(200)["droplet"]["disk"], 3);
    assert_eq!(shown("renamed").expect(200)["droplet"]["name"], "another");
    shown("destroyed").expect(404);
    assert_eq!(server.get("/v2/droplets?name=new").expect(200)["meta"]["total"], 1);
    assert!(ids(&server, "there").contains_key("base"));
    let here = ids(&server, "here");
    assert!(here.contains_key("late") && !here.contains_key("a-backup") && !here.contains_key("x"));
    let images = server.get("/v2/images").expect(200)["images"].take();
    assert_eq!(images.as_array().unwrap().len(), 5, "{images}");
    let (first, status) = (&images[0], &images[0]["status"]);
    assert!(status == "deleted" && first["error_message"].as_str().unwrap().contains("stopped"), "{first}");
    let left: i64 = rusqlite::Connection::open(server.path("state/icecore.sqlite"))
        .unwrap()
        .query_row("SELECT count(*) FROM import", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 1);
}

#[test]
fn a_lost_database_gives_nobody_another_number() {
    let server = Server::with_import();
    let base = image(&server, "base", 1);
    let [kept, dead] = ["kept", "dead"].map(|name| droplet(&server, name, base, &json!({}))["id"].clone());
    for id in [&kept, &dead] {
        server.act(&format!("/v2/droplets/{id}/actions"), &json!({"type": "snapshot", "name": "s"}));
    }
    server.delete(&format!("/v2/droplets/{dead}")).expect(204);
    let shown = |server: &Server| {
        ["/v2/droplets", "/v2/images", "/v2/snapshots"].map(|path| {
            let mut all = server.get(path).expect(200);
            // The socket has the directory of the server in its name, and that stays.
            all["meta"].take();
            all
        })
    };
    let before = shown(&server);
    let mut server = server;
    server.stop();
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(server.path(&format!("state/icecore.sqlite{end}")));
    }
    let server = again(server);
    assert_eq!(shown(&server), before);
    let new = droplet(&server, "new", base, &json!({}))["id"].clone();
    assert!(new != kept && new != dead, "nobody gets the number of another one");
}

#[test]
fn a_server_that_stops_in_order_goes_on_with_imports_and_copies() {
    if !tools::have(&["qemu-img"]) {
        return;
    }
    let server = Server::with_import();
    let file = server.path("import/large.raw");
    tools::noise(&file, 96 * MIB);
    let url = format!("file://{}", file.display());
    let body = json!({"name": "large", "url": url, "region": "here"});
    let id = server.post("/v2/images", &body).expect(202)["image"]["id"].as_i64().unwrap();
    let server = again(server);
    server.until_image(id, "available");
    let path = format!("/v2/images/{id}/actions");
    let begun =
        server.post(&path, &json!({"type": "transfer", "region": "there"})).expect(201)["action"].take();
    let server = again(server);
    assert_eq!(server.until_done(&begun)["status"], "completed");
    let body = json!({"name": "copy", "region": "there", "size": "small", "image": id});
    let made = server.post("/v2/droplets", &body).expect(202)["droplet"].take();
    tools::same(&file, &tools::uri(&made));
}

/// Is a server of another test, where that has started this program to be one.
#[test]
fn a_process_that_is_a_server() {
    let Some(dir) = std::env::var_os(BE_A_SERVER) else { return };
    let dir = std::path::PathBuf::from(dir);
    let config = config_in(&dir, &format!("{USUAL}{IMPORT}"));
    let ready = |running: &icecore_api::Running| {
        std::fs::write(dir.join("address.new"), running.address.to_string()).unwrap();
        std::fs::rename(dir.join("address.new"), dir.join("address")).unwrap();
    };
    icecore_api::serve(config, Arc::new(SystemClock), ready, &Controls::default()).unwrap();
}

/// A server in a process of its own, which can be killed.
struct Process {
    child: Child,
    server: Server,
}

impl Process {
    fn start(dir: &Arc<TempDir>) -> Self {
        let _ = std::fs::remove_file(dir.path().join("address"));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "restarts::a_process_that_is_a_server", "--nocapture"]);
        command.env(BE_A_SERVER, dir.path()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let address = loop {
            if let Ok(address) = std::fs::read_to_string(dir.path().join("address")) {
                break address.parse().unwrap();
            }
            assert!(child.try_wait().unwrap().is_none(), "the server has ended");
            std::thread::yield_now();
        };
        Self { child, server: Server::at(Arc::clone(dir), address) }
    }

    /// Sends a request without waiting for the answer, and kills the server as soon as it has noted
    /// the action.
    fn kill_in(mut self, path: &str, body: &Value) -> i64 {
        let last = |server: &Server| {
            let all = server.get("/v2/actions?per_page=1").expect(200)["actions"].take();
            all[0]["id"].as_i64().unwrap_or(0)
        };
        let before = last(&self.server);
        let mut stream = TcpStream::connect(self.server.address).unwrap();
        let (body, token) = (body.to_string(), &self.server.token);
        write!(stream, "POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let id = loop {
            let id = last(&self.server);
            if id != before {
                break id;
            }
            std::thread::yield_now();
        };
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        id
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_killed_server_leaves_nothing_half_done() {
    if !tools::have(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = Arc::new(TempDir::new().unwrap());
    std::fs::create_dir(dir.path().join("import")).unwrap();
    let file = dir.path().join("import/large.raw");
    tools::noise(&file, 64 * MIB);
    let body = json!({"name": "large", "url": format!("file://{}", file.display()), "region": "here"});
    Process::start(&dir).kill_in("/v2/images", &body);
    // The import goes on.
    let running = Process::start(&dir);
    let server = &running.server;
    let image = server.get("/v2/images").expect(200)["images"][0]["id"].as_i64().unwrap();
    server.until_image(image, "available");
    let made = droplet(server, "web", image, &json!({}));
    let uri = tools::uri(&made);
    tools::same(&file, &uri);
    let model = dir.path().join("model.raw");
    std::fs::copy(&file, &model).unwrap();
    std::fs::File::options().write(true).open(&model).unwrap().set_len(1 << 30).unwrap();
    // A snapshot of much that was written: whole, or not at all, and the disk is as it was.
    tools::write(&[&uri, model.to_str().unwrap()], 0x77, 100 << 20, 200 << 20);
    let actions = format!("/v2/droplets/{}/actions", made["id"]);
    let id = running.kill_in(&actions, &json!({"type": "snapshot", "name": "s"}));
    let running = Process::start(&dir);
    let server = &running.server;
    let done = server.until_done(&json!({"id": id}));
    let taken = server.get(&format!("/v2/droplets/{}/snapshots", made["id"])).expect(200)["snapshots"].take();
    let whole = done["status"] == "completed";
    assert_eq!(taken.as_array().unwrap().len(), usize::from(whole), "{done}");
    tools::same(&model, &uri);
    if whole {
        server.act(&actions, &json!({"type": "restore", "image": taken[0]["id"]}));
        tools::same(&model, &uri);
    }
    // Rebuilt.
    let id = running.kill_in(&actions, &json!({"type": "rebuild", "image": image}));
    let running = Process::start(&dir);
    let server = &running.server;
    assert_eq!(server.until_done(&json!({"id": id}))["status"], "completed");
    tools::same(&file, &uri);
    // Copied.
    let body = json!({"type": "transfer", "region": "there"});
    let id = running.kill_in(&format!("/v2/images/{image}/actions"), &body);
    let running = Process::start(&dir);
    let server = &running.server;
    assert_eq!(server.until_done(&json!({"id": id}))["status"], "completed");
    let there = droplet(server, "copy", image, &json!({"region": "there"}));
    tools::same(&file, &tools::uri(&there));
    // Made: there, or not begun.
    let body = json!({"name": "last", "size": "small", "image": image, "region": "here"});
    let id = running.kill_in("/v2/droplets", &body);
    let running = Process::start(&dir);
    let server = &running.server;
    assert_eq!(server.until_done(&json!({"id": id}))["status"], "completed");
    let last = server.get("/v2/droplets?name=last").expect(200)["droplets"][0].take();
    tools::same(&file, &tools::uri(&last));
    for (region, snapshots) in [("here", 1 + usize::from(whole)), ("there", 1)] {
        let repo = repository(server, region);
        assert_eq!(icecore::snapshot::list(&repo).unwrap().len(), snapshots, "{region}");
    }
}

#[test]
fn what_was_changed_while_it_was_copied_is_changed_in_the_copy() {
    let server = Server::with_import();
    image(&server, "base", 1);
    let mut server = server;
    server.stop();
    let id = icecore::snapshot::SnapshotId(ids(&server, "here")["base"]);
    let [here, there] = ["here", "there"].map(|region| Arc::new(repository(&server, region)));
    let label = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    icecore::snapshot::relabel(&here, id, &label(&[("description", "old")]), &[]).unwrap();
    icecore::snapshot::retag(&here, id, &["old".to_owned(), "kept".to_owned()], &[]).unwrap();
    let options =
        icecore::snapshot::CopyOptions { name_may_repeat: true, ..icecore::snapshot::CopyOptions::default() };
    icecore::snapshot::copy(&here, id, &there, &options, &icecore::NoProgress).unwrap();
    icecore::snapshot::rename(&here, id, "renamed", RenameOptions::default()).unwrap();
    icecore::snapshot::relabel(&here, id, &label(&[("account", "bob")]), &["description".to_owned()])
        .unwrap();
    icecore::snapshot::retag(&here, id, &["new".to_owned()], &["old".to_owned()]).unwrap();
    let forge = Forge(rusqlite::Connection::open(server.path("state/icecore.sqlite")).unwrap());
    let transfer = json!({"job": "transfer-image", "from": "here"});
    let action = forge.action("transfer", ("image", id.0), "there", Some(&transfer));
    let server = again(server);
    assert_eq!(server.until_done(&json!({"id": action}))["status"], "completed");
    let [source, copy] = [&here, &there].map(|repo| icecore::snapshot::find(repo, &id.to_string()).unwrap());
    assert_eq!((&copy.name, &copy.tags), (&source.name, &source.tags));
    assert_eq!(copy.labels, source.labels);
    assert_eq!((copy.name.as_str(), copy.labels["account"].as_str()), ("renamed", "bob"));
    assert!(!copy.labels.contains_key("description"));
}

#[test]
fn what_was_begun_in_a_region_that_is_gone_is_ended() {
    let mut server = Server::with_import();
    server.stop();
    let forge = Forge(rusqlite::Connection::open(server.path("state/icecore.sqlite")).unwrap());
    let [snapshot, of, lost] = [1, 2, 3].map(|_| Uuid::now_v7());
    let job = json!({"job": "snapshot-droplet", "id": snapshot, "name": "x", "tags": [], "labels": {}});
    let action = forge.action("snapshot", ("droplet", of), "mars", Some(&job));
    let import = "INSERT INTO import VALUES (?, 'ann', 'mars', 1, 'lost', 'file:///x', '', '', '', NULL)";
    forge.0.execute(import, [lost.as_bytes()]).unwrap();
    let server = again(server);
    let done = server.until_done(&json!({"id": action}));
    assert!(done["status"] == "errored" && done["message"].as_str().unwrap().contains("stopped"), "{done}");
    let shown = server.get("/v2/images").expect(200)["images"][0].take();
    assert!(shown["status"] == "deleted" && shown["error_message"].as_str().unwrap().contains("stopped"));
}

#[test]
fn a_droplet_whose_volume_is_attached_elsewhere_is_not_made() {
    let server = Server::with_import();
    let base = image(&server, "base", 1);
    let [free, taken] = ["free", "taken"].map(|name| crate::contract::volume(&server, name, &json!({})));
    droplet(&server, "other", base, &json!({"volumes": [taken["id"]]}));
    let mut server = server;
    server.stop();
    let known = ids(&server, "here");
    let forge = Forge(rusqlite::Connection::open(server.path("state/icecore.sqlite")).unwrap());
    let create = json!({"job": "create-droplet", "name": "new", "size_bytes": 1_u64 << 30, "snapshot": known["base"],
        "labels": {"account": "ann", "name": "new"}, "volumes": [known["free"], known["taken"]]});
    let action = forge.action("create", ("droplet", Uuid::now_v7()), "here", Some(&create));
    let server = again(server);
    let done = server.until_done(&json!({"id": action}));
    assert!(done["status"] == "errored" && done["message"].as_str().unwrap().contains("attached"), "{done}");
    assert_eq!(server.get("/v2/droplets").expect(200)["meta"]["total"], 1);
    let path = format!("/v2/volumes/{}", free["id"].as_str().unwrap());
    assert_eq!(server.get(&path).expect(200)["volume"]["droplet_ids"], json!([]));
}

#[test]
fn what_was_said_of_an_image_while_it_was_imported_holds() {
    let server = Server::with_import();
    image(&server, "base", 1);
    let mut server = server;
    server.stop();
    let id = ids(&server, "here")["base"];
    let forge = Forge(rusqlite::Connection::open(server.path("state/icecore.sqlite")).unwrap());
    // It is a snapshot, with the distribution that it began with, and the server ended before it
    // noted that.
    let import =
        "INSERT INTO import VALUES (?, 'ann', 'here', 1, 'renamed', 'file:///x', '', 'Text', '', NULL)";
    forge.0.execute(import, [id.as_bytes()]).unwrap();
    let action = forge.action("create", ("image", id), "here", Some(&json!({"job": "import-image"})));
    let server = again(server);
    assert_eq!(server.until_done(&json!({"id": action}))["status"], "completed");
    let shown = server.get("/v2/images").expect(200)["images"][0].take();
    let said = ["name", "distribution", "description"].map(|key| shown[key].as_str().unwrap());
    assert_eq!(said, ["renamed", "", "Text"], "{shown}");
}
