//! What holds for every request: tokens, errors, pages.

use serde_json::json;

use crate::support::Server;

#[test]
fn a_request_without_a_token_is_turned_away() {
    let server = Server::start();
    for token in [None, Some("wrong"), Some("")] {
        let answer = server.send("GET", "/v2/account", token, None);
        let body = answer.expect(401);
        assert_eq!(body["id"], "unauthorized");
        assert_eq!(body["message"], "Unable to authenticate you.");
        assert_eq!(body["request_id"], answer.header("x-request-id").unwrap());
    }
    assert_eq!(server.get("/v2/account").expect(200)["account"]["email"], "ann@example.com");
}

#[test]
fn nobody_sees_what_another_account_has() {
    let server = Server::start();
    let made = server.post("/v2/volumes", &json!({"name": "mine", "region": "here", "size_gigabytes": 1}));
    let id = made.expect(201)["volume"]["id"].as_str().unwrap().to_owned();
    let bob = server.token_of("bob");
    let of_bob = |method: &str, path: &str| server.send(method, path, Some(&bob), None);
    assert_eq!(of_bob("GET", "/v2/volumes").expect(200)["meta"]["total"], 0);
    for method in ["GET", "DELETE"] {
        assert_eq!(of_bob(method, &format!("/v2/volumes/{id}")).status, 404);
    }
    // The name is another one's in the engine, and free for bob.
    let body = json!({"name": "mine", "region": "here", "size_gigabytes": 2}).to_string();
    let made = server.send("POST", "/v2/volumes", Some(&bob), Some(&body)).expect(201);
    assert_eq!(made["volume"]["name"], "mine");
    assert_eq!(server.get("/v2/volumes").expect(200)["meta"]["total"], 1);
}

#[test]
fn what_is_not_there_is_told_in_json() {
    let server = Server::start();
    for (method, path, status) in
        [("GET", "/v2/nothing", 404), ("GET", "/v2/volumes/abc", 404), ("PATCH", "/v2/volumes", 405)]
    {
        let answer = server.ask(method, path, None);
        assert!(answer.expect(status)["message"].is_string());
        assert_eq!(answer.header("content-type").unwrap(), "application/json; charset=utf-8");
    }
    assert_eq!(
        server.send("POST", "/v2/volumes", Some(&server.token), Some("{")).expect(400)["id"],
        "bad_request"
    );
}
