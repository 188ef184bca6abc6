//! The log of a repository: it names the account that asked the server for something.

use icecore::maintenance::Event;
use serde_json::Value;
use serde_json::json;

use crate::contract::id;
use crate::contract::repository;
use crate::contract::snapshot;
use crate::contract::volume;
use crate::droplets::droplet;
use crate::droplets::image;
use crate::support::Server;

fn word(event: &Event) -> String {
    match event {
        Event::Made(snapshot) => format!("made {}", snapshot.name),
        Event::Changed { after, .. } => format!("changed {}", after.name),
        Event::Deleted(all) => {
            let mut names: Vec<&str> = all.iter().map(|snapshot| snapshot.name.as_str()).collect();
            names.sort_unstable();
            format!("deleted {}", names.join(" "))
        }
        Event::VolumeStandsOn { name, .. } => format!("volume {name}"),
        Event::VolumeGone { name, .. } => format!("gone {name}"),
        other => format!("{other:?}"),
    }
}

/// Returns what is in the log of the region `here`, and the accounts that asked for it.
fn log(server: &Server) -> Vec<(String, String)> {
    let mut told = Vec::new();
    for entry in icecore::maintenance::log(&repository(server, "here")).unwrap() {
        let account = entry.author.account.unwrap_or_default();
        let program =
            if entry.author.program.starts_with("icecore serve ") { "" } else { " not by the server" };
        told.extend(entry.events.iter().map(|event| (word(event), format!("{account}{program}"))));
    }
    told
}

#[test]
fn the_log_names_the_account_that_asked_for_a_change() {
    let server = Server::start();
    let data = volume(&server, "data", &json!({}));
    let taken = snapshot(&server, &data, "first");
    let body = json!({"name": "clone", "snapshot_id": id(&taken), "size_gigabytes": 1, "region": "here"});
    let clone = server.post("/v2/volumes", &body).expect(201)["volume"].take();
    server.delete(&format!("/v2/volumes/{}", id(&clone))).expect(204);
    server.delete(&format!("/v2/snapshots/{}", id(&taken))).expect(204);
    let bob = server.token_of("bob");
    let of_bob =
        |path: &str, body: &Value| server.send("POST", path, Some(&bob), Some(&body.to_string())).expect(201);
    let shop = of_bob("/v2/volumes", &json!({"name": "shop", "region": "here", "size_gigabytes": 1}));
    of_bob(&format!("/v2/volumes/{}/snapshots", id(&shop["volume"])), &json!({"name": "of bob"}));
    let told = log(&server);
    for (what, who) in [
        ("made first", "ann"),
        ("volume clone", "ann"),
        ("gone clone", "ann"),
        ("deleted first", "ann"),
        ("made of bob", "bob"),
    ] {
        assert!(told.contains(&(what.to_owned(), who.to_owned())), "{what} {who}: {told:#?}");
    }
    assert!(told.iter().all(|(_, who)| who == "ann" || who == "bob"), "{told:#?}");
}

#[test]
fn what_an_action_does_is_of_its_account_and_the_backups_of_a_droplet_go_together() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let web = droplet(&server, "web", image, &json!({}));
    let path = format!("/v2/droplets/{}", web["id"]);
    for name in ["one", "two"] {
        server.act(&format!("{path}/actions"), &json!({"type": "snapshot", "name": name}));
    }
    crate::droplets::make_backups(&server, &["one", "two"]);
    server.delete(&path).expect(204);
    let told = log(&server);
    for what in ["made base", "volume web", "made one", "deleted one two", "gone web"] {
        assert!(told.contains(&(what.to_owned(), "ann".to_owned())), "{what}: {told:#?}");
    }
}
