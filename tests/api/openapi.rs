//! The OpenAPI document: what is in docs/ is what the server has.

use serde_json::Value;

use crate::support::Server;

#[test]
fn the_document_is_what_the_server_shows() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let document = icecore_api::openapi_document().unwrap() + "\n";
    if std::env::var_os("ICECORE_BLESS").is_some() {
        std::fs::write(file, &document).unwrap();
    }
    let there = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        there == document,
        "docs/openapi.json is not what the handlers say: ICECORE_BLESS=1 writes it anew"
    );
    let server = Server::start();
    let shown = server.send("GET", "/openapi.json", None, None).expect(200);
    assert_eq!(shown, serde_json::from_str::<Value>(&document).unwrap());
}

#[test]
fn a_slash_at_the_end_of_a_path_is_of_no_account() {
    let server = Server::start();
    assert_eq!(
        server.get("/v2/regions/?per_page=1").expect(200),
        server.get("/v2/regions?per_page=1").expect(200)
    );
}
