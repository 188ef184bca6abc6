//! Droplets that are destroyed with what belongs to them, and the backup plans of those that stay.

use serde_json::Value;
use serde_json::json;

use crate::contract::holds;
use crate::contract::id;
use crate::contract::snapshot;
use crate::contract::volume;
use crate::droplets::droplet;
use crate::droplets::image;
use crate::support::IMPORT;
use crate::support::Server;
use crate::support::USUAL;

const GONE: &str = "The resource you were accessing could not be found.";

/// A Droplet with a snapshot, two volumes and a snapshot of each.
struct Fixture {
    server: Server,
    droplet: Value,
    path: String,
    taken: String,
    volumes: [Value; 2],
    snapshots: [Value; 2],
}

impl Fixture {
    fn new() -> Self {
        let server = Server::with_import();
        let image = image(&server, "base", 1);
        let volumes = ["data", "logs"].map(|name| volume(&server, name, &json!({})));
        let ids = [&volumes[0]["id"], &volumes[1]["id"]];
        let made = droplet(&server, "web", image, &json!({"volumes": ids}));
        let path = format!("/v2/droplets/{}", made["id"]);
        server.act(&format!("{path}/actions"), &json!({"type": "snapshot", "name": "before"}));
        let shown = server.get(&path).expect(200)["droplet"].take();
        let taken = shown["snapshot_ids"][0].to_string();
        let snapshots = [0, 1].map(|n| snapshot(&server, &volumes[n], &format!("s{n}")));
        // What does not belong to it stays whatever happens.
        let other = volume(&server, "other", &json!({}));
        snapshot(&server, &other, "of-other");
        Self { server, droplet: shown, path, taken, volumes, snapshots }
    }

    fn with_associated(&self, rest: &str) -> String {
        format!("{}/destroy_with_associated_resources{rest}", self.path)
    }

    fn status(&self) -> Value {
        self.server.get(&self.with_associated("/status")).expect(200)
    }

    /// Returns whether the Droplet, its snapshot, its volumes and their snapshots are there.
    fn there(&self) -> [bool; 6] {
        let is = |path: &str| match self.server.get(path).status {
            200 => true,
            404 => false,
            other => panic!("{path}: {other}"),
        };
        [
            is(&self.path),
            is(&format!("/v2/snapshots/{}", self.taken)),
            is(&format!("/v2/volumes/{}", id(&self.volumes[0]))),
            is(&format!("/v2/volumes/{}", id(&self.volumes[1]))),
            is(&format!("/v2/snapshots/{}", id(&self.snapshots[0]))),
            is(&format!("/v2/snapshots/{}", id(&self.snapshots[1]))),
        ]
    }
}

#[test]
fn what_belongs_to_a_droplet_is_listed() {
    let one = Fixture::new();
    let listed = one.server.get(&one.with_associated("")).expect(200);
    let named = |list: &str| -> Vec<(String, String)> {
        let all = listed[list].as_array().unwrap().iter();
        all.map(|item| (item["id"].as_str().unwrap().to_owned(), item["name"].as_str().unwrap().to_owned()))
            .collect()
    };
    assert_eq!(named("snapshots"), [(one.taken.clone(), "before".to_owned())]);
    assert_eq!(
        named("volumes"),
        [(id(&one.volumes[0]), "data".to_owned()), (id(&one.volumes[1]), "logs".to_owned())]
    );
    assert_eq!(
        named("volume_snapshots"),
        [(id(&one.snapshots[0]), "s0".to_owned()), (id(&one.snapshots[1]), "s1".to_owned())]
    );
    assert_eq!((&listed["reserved_ips"], &listed["floating_ips"]), (&json!([]), &json!([])));
    assert_eq!(listed["volumes"][0]["cost"], "0.10");
}

#[test]
fn all_that_belongs_to_a_droplet_goes_with_it() {
    let mut one = Fixture::new();
    let path = one.with_associated("/dangerous");
    holds(&one.server, &[("DELETE", &path, Value::Null, 422, "X-Dangerous")]);
    assert_eq!(one.there(), [true; 6]);
    let answer = one.server.send_with("DELETE", &path, &[("X-Dangerous", "true")]);
    assert_eq!((answer.status, answer.text.as_str()), (202, ""));
    assert_eq!(one.there(), [false; 6]);
    let names = |path: &str, list: &str| -> Vec<Value> {
        one.server.get(path).expect(200)[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].clone())
            .collect()
    };
    assert_eq!(names("/v2/volumes", "volumes"), [json!("other")]);
    assert_eq!(names("/v2/snapshots", "snapshots"), [json!("of-other")]);
    let status = one.status();
    assert_eq!((&status["failures"], &status["droplet"]["name"]), (&json!(0), &json!("web")), "{status}");
    assert_eq!(status["droplet"]["id"], one.droplet["id"].to_string());
    assert!(status["completed_at"].is_string() && status["droplet"]["destroyed_at"].is_string(), "{status}");
    for (list, count) in
        [("snapshots", 1), ("volumes", 2), ("volume_snapshots", 2), ("reserved_ips", 0), ("floating_ips", 0)]
    {
        let all = status["resources"][list].as_array().unwrap();
        assert_eq!(all.len(), count, "{list}");
        assert!(all.iter().all(|item| item["destroyed_at"].is_string() && item["error_message"].is_null()));
    }
    // The next server knows it too; other accounts do not. A retry finds nothing to do.
    let bob = one.server.token_of("bob");
    let status_path = one.with_associated("/status");
    let strange = one.server.send("GET", &status_path, Some(&bob), None);
    assert_eq!((strange.status, &strange.json()["message"]), (404, &json!(GONE)));
    one.server.stop();
    one.server = Server::start_in(one.server.dir.clone(), &format!("{USUAL}{IMPORT}"));
    assert_eq!(one.status(), status);
    assert_eq!(one.server.ask("POST", &one.with_associated("/retry"), None).status, 202);
    assert_eq!(one.status()["resources"], status["resources"]);
    holds(&one.server, &[("GET", &one.with_associated(""), Value::Null, 404, GONE)]);
}

#[test]
fn a_selection_goes_and_the_rest_stays() {
    let one = Fixture::new();
    let path = one.with_associated("/selective");
    holds(
        &one.server,
        &[
            ("DELETE", &path, json!({"volumes": ["nothing"]}), 422, "volumes: nothing"),
            ("DELETE", &path, json!({"snapshots": [id(&one.snapshots[0])]}), 422, "snapshots: "),
            ("DELETE", &path, json!({"reserved_ips": ["198.18.0.2"]}), 422, "reserved_ips"),
            ("DELETE", &path, json!({"floating_ips": ["198.18.0.2"]}), 422, "floating_ips"),
            ("GET", &one.with_associated("/status"), Value::Null, 404, GONE),
            ("POST", &one.with_associated("/retry"), Value::Null, 404, GONE),
        ],
    );
    assert_eq!(one.there(), [true; 6]);
    let body = json!({"volumes": [one.volumes[1]["id"]], "volume_snapshots": [one.snapshots[0]["id"]], "snapshots": null});
    let answer = one.server.ask("DELETE", &path, Some(&body));
    assert_eq!((answer.status, answer.text.as_str()), (202, ""));
    assert_eq!(one.there(), [false, true, true, false, false, true]);
    let volume = one.server.get(&format!("/v2/volumes/{}", id(&one.volumes[0]))).expect(200);
    assert_eq!(volume["volume"]["droplet_ids"], json!([]));
    let status = one.status();
    assert_eq!(status["resources"]["volumes"][0]["name"], "logs", "{status}");
    assert_eq!(status["resources"]["snapshots"], json!([]), "{status}");
}

#[test]
fn a_busy_droplet_stays_with_all_it_has() {
    let one = Fixture::new();
    let database = rusqlite::Connection::open(one.server.path("state/icecore.sqlite")).unwrap();
    database.execute("UPDATE action SET status = 'in-progress' WHERE type = 'create'", []).unwrap();
    let path = one.with_associated("/selective");
    holds(
        &one.server,
        &[
            ("DELETE", &path, json!({"volumes": [one.volumes[1]["id"]]}), 422, "pending event"),
            ("GET", &one.with_associated("/status"), Value::Null, 404, GONE),
        ],
    );
    assert_eq!(one.there(), [true; 6]);
}

/// A record from before a volume could be deleted, or from a server that stopped in between.
#[test]
fn what_failed_is_told_and_tried_again() {
    let mut one = Fixture::new();
    let attached = json!({"type": "attach", "droplet_id": one.droplet["id"]});
    let records = |server: &Server, completed: Value| {
        let database = rusqlite::Connection::open(server.path("state/icecore.sqlite")).unwrap();
        let of = |thing: &Value| json!({"id": id(thing), "name": thing["name"], "destroyed_unix_ms": null, "problem": null});
        let gone = json!({"id": "999", "name": "gone", "destroyed_unix_ms": 1, "problem": null});
        let record = json!({"droplet": gone, "snapshots": [], "volumes": [of(&one.volumes[0]), of(&one.volumes[1])],
            "volume_snapshots": [of(&one.snapshots[0])], "completed_unix_ms": completed});
        let sql = "INSERT OR REPLACE INTO destruction (droplet, account, report) VALUES (999, 'ann', ?)";
        database.execute(sql, [record.to_string()]).unwrap();
    };
    assert_eq!(attached["type"], "attach");
    records(&one.server, json!(1));
    let path = "/v2/droplets/999/destroy_with_associated_resources";
    assert_eq!(one.server.ask("POST", &format!("{path}/retry"), None).status, 202);
    // Both volumes are attached to a Droplet that is there.
    let status = one.server.get(&format!("{path}/status")).expect(200);
    assert_eq!(status["failures"], 2, "{status}");
    for volume in status["resources"]["volumes"].as_array().unwrap() {
        assert!(volume["error_message"].as_str().unwrap().contains("attached"), "{status}");
        assert!(volume["destroyed_at"].is_null(), "{status}");
    }
    assert_eq!(one.there(), [true, true, true, true, false, true]);
    // They no longer are: the next server goes on by itself with what was not completed.
    one.server.delete(&one.path).expect(204);
    records(&one.server, Value::Null);
    one.server.stop();
    one.server = Server::start_in(one.server.dir.clone(), &format!("{USUAL}{IMPORT}"));
    let status = one.server.get(&format!("{path}/status")).expect(200);
    assert_eq!(status["failures"], 0, "{status}");
    assert_eq!(one.there(), [false, true, false, false, false, true]);
}

#[test]
fn backup_plans_are_read_as_they_were_set() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let make = |name: &str, more: &Value| droplet(&server, name, image, more)["id"].clone();
    let none = make("none", &json!({}));
    let weekly = make("weekly", &json!({"backups": true}));
    let daily = make("daily", &json!({"backups": true, "backup_policy": {"plan": "daily", "hour": 20}}));
    let of =
        |id: &Value| server.get(&format!("/v2/droplets/{id}/backups/policy")).expect(200)["policy"].take();
    assert_eq!(of(&none), json!({"droplet_id": none, "backup_enabled": false}));
    for (id, policy, hour) in [
        (
            &weekly,
            json!({"plan": "weekly", "weekday": "SUN", "hour": 0, "window_length_hours": 4, "retention_period_days": 28}),
            "T00:00:00Z",
        ),
        (
            &daily,
            json!({"plan": "daily", "hour": 20, "window_length_hours": 4, "retention_period_days": 7}),
            "T20:00:00Z",
        ),
    ] {
        let shown = of(id);
        assert_eq!(shown["backup_policy"], policy);
        assert_eq!((&shown["droplet_id"], &shown["backup_enabled"]), (id, &json!(true)));
        let start = shown["next_backup_window"]["start"].as_str().unwrap();
        assert!(start.ends_with(hour), "{shown}");
        assert!(shown["next_backup_window"]["end"].as_str().unwrap() > start, "{shown}");
    }
    let all = server.get("/v2/droplets/backups/policies").expect(200);
    assert_eq!(all["meta"]["total"], 3);
    for id in [&none, &weekly, &daily] {
        let mut listed = all["policies"][id.to_string()].clone();
        let mut one = of(id);
        // A window may begin in between.
        let windows =
            [&mut listed, &mut one].map(|shown| shown.as_object_mut().unwrap().remove("next_backup_window"));
        assert_eq!(windows[0].is_some(), windows[1].is_some());
        assert_eq!(listed, one);
    }
    let page = server.get("/v2/droplets/backups/policies?page=2&per_page=2").expect(200);
    assert_eq!(page["policies"].as_object().unwrap().keys().collect::<Vec<_>>(), [&daily.to_string()]);
    let supported = server.get("/v2/droplets/backups/supported_policies").expect(200);
    let hours = json!([0, 4, 8, 12, 16, 20]);
    let days = json!(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]);
    assert_eq!(
        supported["supported_policies"],
        json!([
            {"name": "weekly", "possible_window_starts": hours, "window_length_hours": 4,
             "retention_period_days": 28, "possible_days": days},
            {"name": "daily", "possible_window_starts": hours, "window_length_hours": 4,
             "retention_period_days": 7, "possible_days": []},
        ])
    );
    // The Droplet tells the same.
    let shown = server.get(&format!("/v2/droplets/{daily}")).expect(200)["droplet"].take();
    assert!(shown["next_backup_window"]["start"].as_str().unwrap().ends_with("T20:00:00Z"), "{shown}");
    let shown = server.get(&format!("/v2/droplets/{none}")).expect(200)["droplet"].take();
    assert_eq!(shown["next_backup_window"], Value::Null);
}

#[test]
fn a_droplet_that_is_not_there_is_called_so_everywhere() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let here = droplet(&server, "web", image, &json!({}))["id"].to_string();
    let action =
        server.get(&format!("/v2/droplets/{here}/actions")).expect(200)["actions"][0]["id"].to_string();
    let none = Value::Null;
    for id in [
        "999999",
        "abc",
        "0",
        "-1",
        "9223372036854775808",
        &format!("0{here}"),
        &format!("+{here}"),
        &format!("{here}.0"),
    ] {
        let path = |rest: &str| format!("/v2/droplets/{id}{rest}");
        let destroy = path("/destroy_with_associated_resources");
        holds(
            &server,
            &[
                ("GET", &path(""), none.clone(), 404, GONE),
                ("DELETE", &path(""), none.clone(), 404, GONE),
                ("GET", &path("/snapshots"), none.clone(), 404, GONE),
                ("GET", &path("/backups"), none.clone(), 404, GONE),
                ("GET", &path("/backups/policy"), none.clone(), 404, GONE),
                ("GET", &path("/actions"), none.clone(), 404, GONE),
                ("GET", &path(&format!("/actions/{action}")), none.clone(), 404, GONE),
                ("POST", &path("/actions"), json!({"type": "power_on"}), 404, GONE),
                ("GET", &destroy, none.clone(), 404, GONE),
                ("DELETE", &format!("{destroy}/selective"), json!({}), 404, GONE),
                ("GET", &format!("{destroy}/status"), none.clone(), 404, GONE),
                ("POST", &format!("{destroy}/retry"), none.clone(), 404, GONE),
            ],
        );
    }
    // Other integer ids have one spelling as well.
    for path in [
        format!("/v2/actions/0{action}"),
        format!("/v2/actions/+{action}"),
        format!("/v2/droplets/{here}/actions/0{action}"),
        format!("/v2/images/0{image}"),
        format!("/v2/images/+{image}"),
        format!("/v2/snapshots/0{image}"),
    ] {
        holds(
            &server,
            &[("GET", &path, none.clone(), 404, "The resource you requested could not be found.")],
        );
    }
    let with_zero = json!({"name": "x", "region": "here", "size": "small", "image": format!("0{image}")});
    holds(&server, &[("POST", "/v2/droplets", with_zero, 422, "invalid image")]);
}
