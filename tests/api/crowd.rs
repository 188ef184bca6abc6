//! Many clients at once.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::Value;
use serde_json::json;

use crate::contract::id;
use crate::support::Answer;
use crate::support::Server;

const CLIENTS: usize = 64;

/// Statuses and what errors say, and how often each was answered.
type Statuses = Mutex<BTreeMap<(&'static str, u16, String), usize>>;

fn count(statuses: &Statuses, what: &'static str, answer: Answer) -> Answer {
    let says = answer.json()["message"].as_str().unwrap_or_default().to_owned();
    *statuses.lock().unwrap().entry((what, answer.status, says)).or_default() += 1;
    answer
}

/// What one client does: it makes what others make too, and what is its own.
fn client(server: &Server, number: usize, shared: &str, statuses: &Statuses) {
    let new = |name: &str| json!({"name": name, "region": "here", "size_gigabytes": 1, "tags": ["crowd"]});
    count(statuses, "same volume", server.post("/v2/volumes", &new("everybody")));
    count(statuses, "same snapshot", server.post(&format!("{shared}/snapshots"), &json!({"name": "one"})));
    let mine = count(statuses, "own volume", server.post("/v2/volumes", &new(&format!("v{number}"))));
    let path = format!("/v2/volumes/{}", id(&mine.expect(201)["volume"]));
    let taken =
        server.post(&format!("{path}/snapshots"), &json!({"name": "s", "tags": [format!("t{number}")]}));
    let taken = count(statuses, "own snapshot", taken);
    count(
        statuses,
        "shared snapshot",
        server.post(&format!("{shared}/snapshots"), &json!({"name": format!("s{number}")})),
    );
    for list in ["/v2/volumes?per_page=200", "/v2/snapshots?per_page=200", "/v2/actions", "/v2/tags"] {
        count(statuses, "list", server.get(list));
    }
    let resize = json!({"type": "resize", "size_gigabytes": 2});
    count(statuses, "resize", server.post(&format!("{path}/actions"), &resize));
    if number % 2 == 1 {
        count(statuses, "delete volume", server.delete(&path));
        let of_it = format!("/v2/snapshots/{}", id(&taken.expect(201)["snapshot"]));
        count(statuses, "delete snapshot", server.delete(&of_it));
    }
}

fn names(server: &Server, path: &str, list: &str) -> Vec<String> {
    let body = server.get(path).expect(200);
    let mut names: Vec<_> =
        body[list].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(body["meta"]["total"], names.len());
    names.sort();
    names
}

#[test]
fn of_sixty_four_clients_at_once_none_loses_anything() {
    let server = Server::start();
    let shared =
        server.post("/v2/volumes", &json!({"name": "shared", "region": "here", "size_gigabytes": 1}));
    let shared: Value = shared.expect(201)["volume"].take();
    let shared = format!("/v2/volumes/{}", id(&shared));
    let statuses = Statuses::default();
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (server, shared, statuses) = (&server, &shared, &statuses);
            scope.spawn(move || client(server, number, shared, statuses));
        }
    });
    let expected = [
        (("delete snapshot", 204), CLIENTS / 2),
        (("delete volume", 204), CLIENTS / 2),
        (("list", 200), CLIENTS * 4),
        (("own snapshot", 201), CLIENTS),
        (("own volume", 201), CLIENTS),
        (("resize", 202), CLIENTS),
        (("same snapshot", 201), 1),
        (("same snapshot", 409), CLIENTS - 1),
        (("same volume", 201), 1),
        (("same volume", 409), CLIENTS - 1),
        (("shared snapshot", 201), CLIENTS),
    ];
    let statuses = statuses.into_inner().unwrap();
    let mut seen = BTreeMap::new();
    for ((what, status, _), count) in &statuses {
        *seen.entry((*what, *status)).or_default() += count;
    }
    assert_eq!(seen, BTreeMap::from(expected), "{statuses:#?}");
    let even = (0..CLIENTS).step_by(2);
    let mut volumes: Vec<_> = even.clone().map(|number| format!("v{number}")).collect();
    volumes.extend(["everybody".to_owned(), "shared".to_owned()]);
    volumes.sort();
    assert_eq!(names(&server, "/v2/volumes?per_page=200", "volumes"), volumes);
    let mut of_shared: Vec<_> = (0..CLIENTS).map(|number| format!("s{number}")).collect();
    of_shared.push("one".to_owned());
    of_shared.sort();
    assert_eq!(names(&server, &format!("{shared}/snapshots?per_page=200"), "snapshots"), of_shared);
    assert_eq!(server.get("/v2/snapshots").expect(200)["meta"]["total"], of_shared.len() + even.count());
    // One for each, and that of all.
    assert_eq!(server.get("/v2/tags").expect(200)["meta"]["total"], CLIENTS + 1);
    assert_eq!(server.get("/v2/tags/crowd").expect(200)["tag"]["resources"]["count"], CLIENTS / 2 + 1);
    assert_eq!(server.get("/v2/actions").expect(200)["meta"]["total"], CLIENTS);
}
