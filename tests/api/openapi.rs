//! The OpenAPI document: what is in docs/ is what the server has.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

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
fn every_list_says_that_it_has_pages() {
    let document: Value = serde_json::from_str(&icecore_api::openapi_document().unwrap()).unwrap();
    let mut lists = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let get = &operations["get"];
        let schema = &get["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
        let Some(schema) = schema.as_str().and_then(|schema| document.pointer(&schema[1..])) else {
            continue;
        };
        if schema["properties"]["links"].is_null() || schema["properties"]["meta"].is_null() {
            continue;
        }
        lists += 1;
        let parameters = get["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        for name in ["page", "per_page"] {
            assert!(
                parameters.iter().any(|one| one["name"] == name && one["in"] == "query"),
                "{path}: {name}"
            );
        }
    }
    assert_eq!(lists, 20);
}

#[test]
fn the_table_of_paths_is_what_is_answered() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md"));
    let mut told = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("| `/v2/")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let methods: BTreeSet<String> = cells[2].split(", ").map(str::to_lowercase).collect();
        for path in cells[1].split(", ") {
            told.insert(path.trim_matches('`').to_owned(), methods.clone());
        }
    }
    let document: Value = serde_json::from_str(&icecore_api::openapi_document().unwrap()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let answered: BTreeMap<String, BTreeSet<String>> = paths
        .map(|(path, operations)| (path.clone(), operations.as_object().unwrap().keys().cloned().collect()))
        .collect();
    assert_eq!(told, answered);
}

#[test]
fn a_slash_at_the_end_of_a_path_is_of_no_account() {
    let server = Server::start();
    assert_eq!(
        server.get("/v2/regions/?per_page=1").expect(200),
        server.get("/v2/regions?per_page=1").expect(200)
    );
}
