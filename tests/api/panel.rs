//! The control panel, as a browser gets it, and as one gets it who is no browser.

use serde_json::json;

use crate::droplets::droplet;
use crate::droplets::image;
use crate::support::Answer;
use crate::support::Server;

/// A browser as far as the panel needs one: cookies, and what it says of where a form comes from.
pub(crate) struct Browser<'a> {
    server: &'a Server,
    cookie: String,
    csrf: String,
}

fn send(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    let uri = format!("http://{}{path}", server.address);
    let mut request = ureq::http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = if method == "POST" {
        let form = "application/x-www-form-urlencoded";
        agent.run(request.header("Content-Type", form).body(body.to_owned()).unwrap()).unwrap()
    } else {
        agent.run(request.body(()).unwrap()).unwrap()
    };
    let pair = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let headers = answer.headers().iter().map(pair).collect();
    let text = answer.body_mut().read_to_string().unwrap();
    Answer { status: answer.status().as_u16(), headers, text }
}

impl<'a> Browser<'a> {
    pub(crate) fn sign_in(server: &'a Server, token: &str) -> Self {
        let answer = send(server, "POST", "/sign-in", &[], &format!("token={token}&next=/volumes"));
        assert_eq!((answer.status, answer.header("location")), (303, Some("/volumes")), "{}", answer.text);
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.contains("; HttpOnly; SameSite=Strict; Max-Age=43200"), "{cookie}");
        let mut browser =
            Self { server, cookie: cookie.split(';').next().unwrap().to_owned(), csrf: String::new() };
        let page = browser.get("/volumes");
        let (_, rest) = page.text.split_once("name=\"csrf\" value=\"").unwrap();
        browser.csrf = rest.split('"').next().unwrap().to_owned();
        browser
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        send(self.server, "GET", path, &[("Cookie", &self.cookie)], "")
    }

    fn post(&self, path: &str, fields: &str) -> Answer {
        self.post_from(path, fields, &[])
    }

    fn post_from(&self, path: &str, fields: &str, headers: &[(&str, &str)]) -> Answer {
        let mut all = vec![("Cookie", self.cookie.as_str())];
        all.extend(headers);
        send(self.server, "POST", path, &all, &format!("csrf={}&{fields}", self.csrf))
    }
}

#[test]
fn who_has_not_signed_in_sees_no_page() {
    let server = Server::start();
    for path in ["/", "/volumes", "/volumes/new", "/volumes?sort=name"] {
        let answer = send(&server, "GET", path, &[("Cookie", "icecore=wrong")], "");
        assert_eq!(answer.status, 303, "{path}");
        let to = answer.header("location").unwrap();
        assert!(to == "/droplets" || to.starts_with("/sign-in?next=%2F"), "{path}: {to}");
    }
    let answer = send(&server, "POST", "/sign-in", &[], "token=wrong");
    assert_eq!(answer.status, 401);
    assert!(answer.header("set-cookie").is_none() && answer.text.contains("icecore token list"));
    assert_eq!(send(&server, "POST", "/volumes", &[], "name=a").status, 303);
}

#[test]
fn a_session_ends_when_one_signs_out_and_when_its_token_is_revoked() {
    let server = Server::start();
    let browser = Browser::sign_in(&server, &server.token);
    let answer = browser.post("/sign-out", "");
    assert_eq!((answer.status, answer.header("location")), (303, Some("/sign-in")));
    assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(browser.get("/volumes").status, 303);

    let browser = Browser::sign_in(&server, &server.token);
    assert_eq!(browser.get("/volumes").status, 200);
    let config = crate::support::config_in(server.dir.path(), crate::support::USUAL);
    let database = icecore_api::open_database(&config).unwrap();
    for token in database.tokens().unwrap() {
        database.revoke_token(token.id).unwrap();
    }
    assert_eq!(browser.get("/volumes").status, 303);
}

#[test]
fn only_forms_of_the_session_are_taken() {
    let server = Server::start();
    let browser = Browser::sign_in(&server, &server.token);
    let other = Browser::sign_in(&server, &server.token);
    let volume = "name=a&size=1&region=here";
    let forged = Browser { server: &server, cookie: browser.cookie.clone(), csrf: other.csrf.clone() };
    assert_eq!(forged.post("/volumes", volume).status, 403);
    let without = Browser { csrf: String::new(), ..forged };
    assert_eq!(without.post("/volumes", volume).status, 403);
    let own = format!("http://{}", server.address);
    for headers in [
        [("Origin", "http://evil.example"), ("Sec-Fetch-Site", "same-origin")],
        [("Origin", "null"), ("Sec-Fetch-Site", "same-origin")],
        [("Origin", own.as_str()), ("Sec-Fetch-Site", "cross-site")],
        [("Origin", own.as_str()), ("Sec-Fetch-Site", "same-site")],
    ] {
        assert_eq!(browser.post_from("/volumes", volume, &headers).status, 403, "{headers:?}");
        let answer = send(&server, "POST", "/sign-in", &headers, &format!("token={}", server.token));
        assert_eq!(answer.status, 403, "{headers:?}");
    }
    assert_eq!(server.get("/v2/volumes").expect(200)["meta"]["total"], 0);
    let headers = [("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(browser.post_from("/volumes", volume, &headers).status, 303);
    assert_eq!(server.get("/v2/volumes").expect(200)["meta"]["total"], 1);
    // The browser speaks TLS with a proxy.
    let over_tls = format!("https://{}", server.address);
    let headers = [("Origin", over_tls.as_str()), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(browser.post_from("/volumes", "name=b&size=1&region=here", &headers).status, 303);
}

#[test]
fn every_page_has_a_strict_policy_and_nothing_inline() {
    let server = Server::start();
    let browser = Browser::sign_in(&server, &server.token);
    server.post("/v2/volumes", &json!({"name": "one", "region": "here", "size_gigabytes": 1})).expect(201);
    let paths =
        ["/sign-in", "/volumes", "/volumes/new", "/volumes/none", "/droplets", "/droplets/new", "/snapshots"];
    let more =
        ["/snapshots/volumes", "/backups", "/images", "/images/new", "/activity", "/usage", "/account"];
    for path in paths.into_iter().chain(more) {
        let answer = if path == "/sign-in" { send(&server, "GET", path, &[], "") } else { browser.get(path) };
        if answer.status == 200 {
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
            let policy = answer.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
        }
        for inline in ["<style", " style=", " onclick=", " onload=", "javascript:", "http://", "https://"] {
            let found = answer.text.find(inline).map(|at| &answer.text[at..(at + 60).min(answer.text.len())]);
            assert_eq!(found, None, "{path}");
        }
        let scripts: Vec<_> =
            answer.text.match_indices("<script").map(|(at, _)| &answer.text[at..]).collect();
        assert!(scripts.iter().all(|script| script.starts_with("<script src=\"/assets/panel-")), "{path}");
    }
}

#[test]
fn files_are_kept_by_the_browser_until_they_change() {
    let server = Server::start();
    let page = send(&server, "GET", "/sign-in", &[], "").text;
    for kind in [".css\"", ".js\"", ".svg\""] {
        let end = page.find(kind).unwrap() + kind.len() - 1;
        let path = &page[page[..end].rfind('"').unwrap() + 1..end];
        let answer = send(&server, "GET", path, &[], "");
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"));
        let etag = answer.header("etag").unwrap();
        let again = send(&server, "GET", path, &[("If-None-Match", etag)], "");
        assert_eq!((again.status, again.text.as_str()), (304, ""));
    }
    assert_eq!(send(&server, "GET", "/assets/panel.css", &[], "").status, 404);
    assert_eq!(send(&server, "GET", "/assets/..%2Fmod.rs", &[], "").status, 404);
}

#[test]
fn lists_are_filtered_and_sorted_by_their_address() {
    let server = Server::start();
    let browser = Browser::sign_in(&server, &server.token);
    assert!(browser.get("/volumes").text.contains("No volumes yet"));
    for (name, size) in [("alpha", 3), ("beta", 1), ("gamma", 2)] {
        let body =
            json!({"name": name, "region": "here", "size_gigabytes": size, "tags": [format!("t-{name}")]});
        server.post("/v2/volumes", &body).expect(201);
    }
    let order = |path: &str| {
        let text = browser.get(path).text;
        let mut found: Vec<_> = ["alpha", "beta", "gamma"]
            .iter()
            .filter_map(|name| Some((text.find(&format!("{name}</a>"))?, *name)))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    assert_eq!(order("/volumes?sort=size"), ["beta", "gamma", "alpha"]);
    assert_eq!(order("/volumes?sort=name&order=desc"), ["gamma", "beta", "alpha"]);
    assert_eq!(order("/volumes?filter=MM"), ["gamma"]);
    assert_eq!(order("/volumes?filter=here+bet"), ["beta"]);
    assert_eq!(order("/volumes?filter=%3Cscript%3E"), Vec::<&str>::new());
    assert!(browser.get("/volumes?filter=%3Cscript%3E").text.contains("&lt;script&gt;"));
}

#[test]
fn what_cannot_be_made_is_told_on_the_form_with_what_was_filled_in() {
    let server = Server::start();
    let browser = Browser::sign_in(&server, &server.token);
    let answer = browser.post("/volumes", "name=Bad+%22Name%3Cb%3E&size=7&region=here");
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("invalid volume name"));
    assert!(answer.text.contains("value=\"Bad &quot;Name&lt;b&gt;\"") && answer.text.contains("value=\"7\""));
}

/// Makes a volume and a snapshot of it, and returns their ids.
fn volume_and_snapshot(server: &Server, snapshot: &str) -> (String, String) {
    let made = server.post("/v2/volumes", &json!({"name": "data", "region": "here", "size_gigabytes": 1}));
    let volume = made.expect(201)["volume"]["id"].as_str().unwrap().to_owned();
    let taken = server.post(&format!("/v2/volumes/{volume}/snapshots"), &json!({"name": snapshot}));
    let snapshot = taken.expect(201)["snapshot"]["id"].as_str().unwrap().to_owned();
    (volume, snapshot)
}

#[test]
fn names_are_text_whatever_is_in_them() {
    let server = Server::start();
    let name = "<script>alert(1)</script>\"'&";
    let (volume, snapshot) = volume_and_snapshot(&server, name);
    let browser = Browser::sign_in(&server, &server.token);
    for path in [
        "/snapshots/volumes".to_owned(),
        format!("/snapshots/{snapshot}"),
        format!("/snapshots/{snapshot}/delete"),
        format!("/volumes/{volume}"),
        format!("/volumes/new?snapshot={snapshot}"),
    ] {
        let page = browser.get(&path);
        assert_eq!(page.status, 200, "{path}");
        assert!(page.text.contains("&lt;script&gt;alert(1)"), "{path}");
        assert!(!page.text.contains("<script>") && !page.text.contains("\"'&\""), "{path}");
    }
}

#[test]
fn pages_of_another_account_are_not_there() {
    let server = Server::start();
    let (volume, snapshot) = volume_and_snapshot(&server, "mine");
    let bob = Browser::sign_in(&server, &server.token_of("bob"));
    for path in [format!("/volumes/{volume}"), format!("/snapshots/{snapshot}")] {
        assert_eq!(bob.get(&path).status, 404, "{path}");
        for verb in ["delete", "snapshot", "resize", "attach", "detach", "rename", "region", "restore"] {
            assert_eq!(bob.get(&format!("{path}/{verb}")).status, 404, "{path}/{verb}");
            assert_eq!(bob.post(&format!("{path}/{verb}"), "name=a&size=9").status, 404, "{path}/{verb}");
        }
    }
    assert_eq!(bob.get(&format!("/volumes/new?snapshot={snapshot}")).status, 404);
    let made = bob.post("/volumes", &format!("name=a&snapshot={snapshot}"));
    assert_eq!(made.status, 404);
    for path in
        ["/volumes", "/snapshots/volumes", "/snapshots", "/images", "/activity", "/account", "/droplets"]
    {
        let page = bob.get(path);
        assert!(page.status == 200 && !page.text.contains("mine") && !page.text.contains("data<"), "{path}");
    }
    assert_eq!(server.get("/v2/volumes").expect(200)["meta"]["total"], 1);
}

#[test]
fn what_is_shared_is_told_only_where_nobody_else_is() {
    let server = Server::start();
    let (_, snapshot) = volume_and_snapshot(&server, "one");
    let page = Browser::sign_in(&server, &server.token).get(&format!("/snapshots/{snapshot}"));
    assert!(page.text.contains("Map of the image") && !page.text.contains("Shared data"));
    let usage = Browser::sign_in(&server, &server.token).get("/usage");
    assert!(usage.text.contains("Data in them") && !usage.text.contains("Stored"));

    let alone = crate::support::USUAL.split("[[account]]").take(2).collect::<Vec<_>>().join("[[account]]");
    let server = Server::start_in(std::sync::Arc::new(tempfile::TempDir::new().unwrap()), &alone);
    let (_, snapshot) = volume_and_snapshot(&server, "one");
    let browser = Browser::sign_in(&server, &server.token);
    assert!(browser.get(&format!("/snapshots/{snapshot}")).text.contains("Shared data"));
    assert!(browser.get("/usage").text.contains("Stored"));
}

#[test]
fn volumes_are_worked_with_by_forms() {
    let server = Server::start();
    let browser = Browser::sign_in(&server, &server.token);
    let made = browser.post("/volumes", "name=data&size=1&region=here&tags=a%2C+b");
    let at = made.header("location").unwrap().to_owned();
    let volume = at.strip_suffix("?done=created").unwrap().to_owned();
    assert!(browser.get(&at).text.contains("Created."));
    assert!(!browser.get(&format!("{volume}?done=%3Cb%3E")).text.contains("class=\"message"));
    assert_eq!(browser.post(&format!("{volume}/snapshot"), "name=first&tags=a").status, 303);
    let again = browser.post(&format!("{volume}/snapshot"), "name=first");
    assert_eq!(again.status, 409);
    assert!(again.text.contains("role=\"alert\"") && again.text.contains("value=\"first\""));
    assert_eq!(browser.post(&format!("{volume}/resize"), "size=1").status, 422);
    assert_eq!(browser.post(&format!("{volume}/resize"), "size=2").status, 303);
    let snapshots = server.get("/v2/snapshots").expect(200);
    let id = snapshots["snapshots"][0]["id"].as_str().unwrap();
    assert_eq!(
        (&snapshots["snapshots"][0]["name"], &snapshots["meta"]["total"]),
        (&json!("first"), &json!(1))
    );
    let copy = browser.post("/volumes", &format!("name=copy&snapshot={id}&region=here"));
    assert_eq!(copy.status, 303, "{}", copy.text);
    let page = browser.get(&format!("/snapshots/{id}"));
    assert!(page.text.contains("Volume created from it") && page.text.contains(">copy<"));
    assert_eq!(browser.post(&format!("/snapshots/{id}/delete"), "").status, 303);
    assert_eq!(browser.post(&format!("/snapshots/{id}/delete"), "").status, 404);
    assert_eq!(browser.post(&format!("{volume}/delete"), "").status, 303);
    let left = server.get("/v2/volumes").expect(200);
    assert_eq!((&left["volumes"][0]["name"], &left["meta"]["total"]), (&json!("copy"), &json!(1)));
}

#[test]
fn snapshots_are_offered_and_accepted_by_forms() {
    let server = Server::with_import();
    let ann = Browser::sign_in(&server, &server.token);
    let bob = Browser::sign_in(&server, &server.token_of("bob"));
    let web = droplet(&server, "web", image(&server, "disk", 7), &json!({}));
    assert_eq!(ann.post(&format!("/droplets/{}/snapshot", web["id"]), "name=mine").status, 303);
    let list = format!("/v2/droplets/{}/snapshots", web["id"]);
    let taken = server.until(&list, |shown| shown["meta"]["total"] == 1)["snapshots"][0].clone();
    let path = format!("/snapshots/{}", taken["id"]);
    assert_eq!(ann.post(&format!("{path}/transfer"), "email=nobody%40example.com").status, 400);
    assert_eq!(bob.post(&format!("{path}/transfer"), "email=bob%40example.com").status, 404);
    for (verb, then) in [("decline", 200), ("accept", 404)] {
        assert_eq!(ann.post(&format!("{path}/transfer"), "email=bob%40example.com").status, 303);
        let list = bob.get("/snapshots");
        assert!(list.text.contains("offers the snapshot") && list.text.contains("mine"), "{}", list.text);
        assert!(!ann.get("/snapshots").text.contains("offers the snapshot"));
        assert_eq!(bob.post(&format!("/offers/{}/{verb}", taken["id"]), "").status, 303);
        assert!(!bob.get("/snapshots").text.contains("offers the snapshot"));
        assert_eq!(ann.get(&path).status, then, "after {verb}");
    }
    assert_eq!(bob.get(&path).status, 200);
}

#[test]
fn events_tell_what_is_going_on() {
    use std::io::BufRead;
    use std::io::Write;
    let server = Server::start();
    let browser = Browser::sign_in(&server, &server.token);
    let mut socket = std::net::TcpStream::connect(server.address).unwrap();
    let request = format!("GET /events HTTP/1.1\r\nHost: localhost\r\nCookie: {}\r\n\r\n", browser.cookie);
    socket.write_all(request.as_bytes()).unwrap();
    let lines = std::io::BufReader::new(socket).lines().map(Result::unwrap);
    let told: Vec<String> = lines.take_while(|line| line != "data: []").collect();
    assert!(told[0].ends_with("200 OK") && told.iter().any(|line| line == "event: actions"), "{told:?}");
    assert!(told.iter().any(|line| line.eq_ignore_ascii_case("content-type: text/event-stream")), "{told:?}");
}

#[test]
fn a_droplet_of_the_panel_has_what_its_form_says_as_one_of_the_api() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let ann = Browser::sign_in(&server, &server.token);
    let form = format!("name=web&image={image}&size=small&region=here&tags=&monitoring=on&ipv6=on");
    let made = ann.post("/droplets", &form);
    assert_eq!(made.status, 303, "{}", made.text);
    let droplets = server.get("/v2/droplets").expect(200)["droplets"].take();
    assert_eq!(droplets[0]["features"], json!(["monitoring", "ipv6"]));
    let page = ann.get(&format!("/droplets/{}", droplets[0]["id"]));
    for network in
        ["v4", "v6"].iter().flat_map(|version| droplets[0]["networks"][version].as_array().unwrap())
    {
        assert!(page.text.contains(network["ip_address"].as_str().unwrap()), "{network}");
    }
    for text in ["monitoring, IPv6", droplets[0]["vpc_uuid"].as_str().unwrap()] {
        assert!(page.text.contains(text), "{text}");
    }
}
