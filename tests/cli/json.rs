//! `-o json` is a contract: one envelope, exact numbers, and every field is described in
//! `docs/json.md`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::Fixture;
use crate::support::IMAGE_BYTES;
use crate::volumes::server::Server;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/json.md");

/// Runs a command and checks the envelope.
#[track_caller]
fn answer(fixture: &Fixture, arguments: &[&str], code: i32, command: &str) -> Value {
    let done = fixture.run(&[arguments, &["-o", "json"]].concat()).exits(code);
    let json = done.json();
    assert_eq!(json["icecore"], 1, "{json}");
    assert_eq!(json["command"], command, "{json}");
    assert_eq!(json.get("error").is_some(), code > 1 && command != "snapshot prune", "{json}");
    json
}

fn fields(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| {
            into.insert(name.clone());
            fields(value, into);
        }),
        Value::Array(array) => array.iter().for_each(|value| fields(value, into)),
        _ => {}
    }
}

/// Makes, lists and revokes a token, and then looks at repositories.
fn tokens(run: &mut impl FnMut(&[&str], i32, &'static str) -> Value) {
    run(&["token", "create", "doctl"], 0, "token create");
    let tokens = run(&["token", "list"], 0, "token list");
    assert_eq!(tokens["result"]["tokens"][0]["account"], "local");
    run(&["token", "revoke", "1"], 0, "token revoke");
    repositories(run);
}

/// Gives a repository a name, and checks it.
fn repositories(run: &mut impl FnMut(&[&str], i32, &'static str) -> Value) {
    run(&["repo", "add", "lab", "repo"], 0, "repo add");
    run(&["repo", "list"], 0, "repo list");
    run(&["repo", "check"], 0, "repo check");
}

/// Adds, changes and removes keys of a sealed repository.
fn keys(into: &mut BTreeSet<String>) {
    let mut fixture = Fixture::sealed();
    fixture.set("ICECORE_NEW_PASSWORD", "another");
    let mut run = |arguments: &[&str], command| {
        let json = answer(&fixture, arguments, 0, command);
        fields(&json, into);
        json["result"].clone()
    };
    assert_eq!(run(&["--repo", "other", "init"], "init")["sealed"], true);
    let changed = run(&["key", "change-password"], "key change-password");
    assert_ne!(changed["added"], changed["removed"]);
    fixture.set("ICECORE_PASSWORD_FILE", "");
    fixture.set("ICECORE_PASSWORD", "another");
    let mut run = |arguments: &[&str], command| {
        let json = answer(&fixture, arguments, 0, command);
        fields(&json, into);
        json["result"].clone()
    };
    let added = run(&["key", "add"], "key add")["added"][0].clone();
    assert_eq!(run(&["key", "rotate"], "key rotate")["epoch"], 1);
    let list = run(&["key", "list"], "key list");
    assert_eq!((&list["keys"][1]["id"], &list["epoch"]), (&added, &1.into()));
    let removed = run(&["key", "remove", "--force", added.as_str().unwrap()], "key remove");
    assert_eq!(removed["removed"][0], added);
    let log = run(&["log"], "log");
    assert!(log["entries"].as_array().unwrap().iter().any(|entry| entry["events"][0]["kind"] == "keys"));
}

/// Deletes a snapshot, restores it, and looks at the log.
fn deletions(run: &mut impl FnMut(&[&str], i32, &'static str) -> Value) {
    run(&["snapshot", "delete", "-f", "first"], 0, "snapshot delete");
    let deleted = run(&["snapshot", "list", "--deleted"], 0, "snapshot list");
    assert!(deleted["result"]["snapshots"][0]["deleted"].is_string(), "{deleted}");
    run(&["snapshot", "undelete", "first"], 0, "snapshot undelete");
    run(&["snapshot", "delete", "-f", "first"], 0, "snapshot delete");
    run(&["gc", "--max-unused", "0%"], 0, "gc");
    run(&["parity", "3+1"], 0, "parity");
    let log = run(&["log"], 0, "log");
    let events = log["result"]["entries"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|entry| entry["events"].as_array().unwrap());
    let kinds: BTreeSet<&str> = events.map(|event| event["kind"].as_str().unwrap()).collect();
    let all = ["changed", "collected", "deleted", "made", "parity", "restored", "volume"];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn every_command_answers_in_the_envelope_and_every_field_is_described() {
    let fixture = Fixture::bare();
    fixture.image("disk.raw", 1);
    let mut seen = BTreeSet::new();
    let mut run = |arguments: &[&str], code, command| {
        let json = answer(&fixture, arguments, code, command);
        fields(&json, &mut seen);
        json
    };
    run(&["init"], 0, "init");
    let made = run(&["snapshot", "create", "disk.raw", "--name", "base", "--tag", "t"], 0, "snapshot create");
    assert_eq!(made["result"]["snapshot"]["size_bytes"], IMAGE_BYTES);
    assert_eq!(made["result"]["snapshot"]["type"], "volume");
    fixture.scribble("disk.raw", 8192, 4096);
    run(&["snapshot", "create", "disk.raw", "--name", "next"], 0, "snapshot create");
    let list = run(&["snapshot", "ls"], 0, "snapshot list");
    assert_eq!(list["result"]["snapshots"][1]["name"], "next");
    run(&["snapshot", "get", "base"], 0, "snapshot get");
    run(&["snapshot", "rename", "base", "first"], 0, "snapshot rename");
    run(&["snapshot", "protect", "first"], 0, "snapshot protect");
    run(&["snapshot", "unprotect", "first"], 0, "snapshot unprotect");
    let diff = run(&["snapshot", "diff", "first", "next"], 0, "snapshot diff");
    assert_eq!(
        diff["result"]["ranges"],
        serde_json::json!([{"offset": 8192, "bytes": 4096, "change": "data"}])
    );
    assert_eq!(diff["result"]["totals"]["data_bytes"], 4096);
    run(&["volume", "create", "clone", "--snapshot", "first"], 0, "volume create");
    let pruned = run(&["snapshot", "prune", "--keep-last", "1", "--force"], 5, "snapshot prune");
    assert_eq!(pruned["result"]["in_use"][0]["snapshot"]["name"], "first");
    run(&["volume", "delete", "-f", "clone"], 0, "volume delete");
    let map = run(&["snapshot", "map", "next", "--against", "first", "--width", "1"], 0, "snapshot map");
    assert_eq!(map["result"]["cells"][0]["changed_bytes"], 4096);
    fixture.run(&["--repo", "other", "init"]).exits(0);
    run(&["snapshot", "copy", "next", "--to", "other"], 0, "snapshot copy");
    run(&["restore", "next", "new.raw"], 0, "restore");
    run(&["verify"], 0, "verify");
    run(&["gc", "--dry-run"], 0, "gc");
    run(&["repair", "index"], 0, "repair index");
    run(&["repair", "snapshots"], 0, "repair snapshots");
    run(&["stats"], 0, "stats");
    run(&["bench", "disk.raw"], 0, "bench");
    run(&["volume", "create", "web", "--snapshot", "next"], 0, "volume create");
    run(&["volume", "list"], 0, "volume list");
    run(&["volume", "get", "web"], 0, "volume get");
    run(&["volume", "resize", "web", "5M"], 0, "volume resize");
    run(&["volume", "snapshot", "web"], 0, "volume snapshot");
    run(&["volume", "reset", "-f", "web"], 0, "volume reset");
    run(&["volume", "restore", "-f", "web", "first"], 0, "volume restore");
    run(&["volume", "export", "web", "web.raw"], 0, "volume export");
    let server = Server::start(&fixture, &["web"]);
    fields(&server.said, &mut seen);
    server.stop();
    let mut run = |arguments: &[&str], code, command| {
        let json = answer(&fixture, arguments, code, command);
        fields(&json, &mut seen);
        json
    };
    run(&["volume", "delete", "-f", "web"], 0, "volume delete");
    deletions(&mut run);
    tokens(&mut run);
    run(&["completions", "bash"], 0, "completions");
    run(&["man", "man"], 0, "man");
    std::fs::write(fixture.path("repo/journal/0000000000000002"), b"rubbish").unwrap();
    run(&["verify"], 1, "verify");
    run(&["repair", "catalog"], 1, "repair catalog");
    run(&["snapshot", "get", "nope"], 3, "snapshot get");
    keys(&mut seen);
    let page = std::fs::read_to_string(PAGE).unwrap();
    let missing: Vec<_> = seen.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in docs/json.md: {missing:?}");
}

#[test]
fn options_stand_before_what_a_tag_could_be() {
    let fixture = Fixture::with_snapshot();
    let json = fixture.result(&["snapshot", "tag", "base", "+x"]);
    assert_eq!(json["snapshot"]["tags"], serde_json::json!(["x"]));
}

#[test]
fn errors_are_answers_too() {
    let fixture = Fixture::with_snapshot();
    let json = answer(&fixture, &["restore", "base", "disk.raw"], 4, "restore");
    assert_eq!(json["error"]["kind"], "already_exists");
    assert_eq!(json["error"]["exit_code"], 4);
    assert!(json["error"]["message"].as_str().unwrap().contains("disk.raw"), "{json}");
    assert!(json["error"]["hint"].as_str().unwrap().contains("--in-place"), "{json}");
}

#[test]
fn wrong_arguments_are_answers_too() {
    let fixture = Fixture::bare();
    for arguments in [&["-o", "json", "nonsense"][..], &["--output=json"], &["snapshot", "-o", "json"]] {
        let done = fixture.run(arguments).exits(2);
        assert_eq!(done.err, "", "{arguments:?}");
        let json = done.json();
        assert_eq!(json["command"], Value::Null);
        assert_eq!(json["error"]["kind"], "invalid_input", "{json}");
        assert!(!json["error"]["message"].as_str().unwrap().contains("Usage"), "{json}");
    }
}
