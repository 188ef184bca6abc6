//! The control panel, as a browser gets it, and as one gets it who is no browser.

use serde_json::json;

use crate::support::Answer;
use crate::support::Server;

/// A browser as far as the panel needs one: cookies, and what it says of where a form comes from.
struct Browser<'a> {
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
    fn sign_in(server: &'a Server, token: &str) -> Self {
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

    fn get(&self, path: &str) -> Answer {
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
        assert!(to == "/volumes" || to.starts_with("/sign-in?next=%2F"), "{path}: {to}");
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
}

#[test]
fn every_page_has_a_strict_policy_and_nothing_inline() {
    let server = Server::start();
    let browser = Browser::sign_in(&server, &server.token);
    server.post("/v2/volumes", &json!({"name": "one", "region": "here", "size_gigabytes": 1})).expect(201);
    for path in ["/sign-in", "/volumes", "/volumes/new", "/volumes/none"] {
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
