//! A server of a test, and a client of it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use icecore_api::Controls;
use icecore_host::clock::SystemClock;
use icecore_host::config;
use icecore_host::config::Config;
use serde_json::Value;
use tempfile::TempDir;

/// Two regions, two accounts, and what else a test adds.
pub(crate) const USUAL: &str = r#"
[server]
listen = "127.0.0.1:0"

[regions.here]
repository = "here"

[regions.there]
name = "Over there"
repository = "there"

[[account]]
name = "ann"
email = "ann@example.com"

[[account]]
name = "bob"
email = "bob@example.com"
"#;

/// A folder to import from, and small sizes of Droplets.
pub(crate) const IMPORT: &str = r#"
[import]
folders = ["import"]

[[size]]
slug = "small"
disk = 1
memory = 512
vcpus = 1

[[size]]
slug = "large"
disk = 3
memory = 1024
vcpus = 2
"#;

/// A server that runs in a directory of its own, until it is dropped.
pub(crate) struct Server {
    pub(crate) dir: Arc<TempDir>,
    pub(crate) address: SocketAddr,
    /// Of the account ann.
    pub(crate) token: String,
    pub(crate) controls: Controls,
    thread: Option<JoinHandle<icecore::Result<()>>>,
}

/// An answer: status, headers, body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    /// Returns the body as JSON; null where it is empty.
    pub(crate) fn json(&self) -> Value {
        if self.text.is_empty() { Value::Null } else { serde_json::from_str(&self.text).unwrap() }
    }

    /// Returns the body, of an answer that must have this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) fn config_in(dir: &Path, text: &str) -> Config {
    config::parse(text, dir).unwrap()
}

impl Server {
    /// Starts a server with the usual configuration in a new directory.
    pub(crate) fn start() -> Self {
        Self::start_in(Arc::new(TempDir::new().unwrap()), USUAL)
    }

    /// Starts a server in a new directory, with more than the usual configuration.
    pub(crate) fn start_with(more: &str) -> Self {
        Self::start_in(Arc::new(TempDir::new().unwrap()), &format!("{USUAL}{more}"))
    }

    /// Starts a server in a directory that may have been one of a server before.
    pub(crate) fn start_in(dir: Arc<TempDir>, text: &str) -> Self {
        let config = config_in(dir.path(), text);
        let token = icecore_api::open_database(&config).unwrap().new_token("ann", "test", 0).unwrap().1;
        let controls = Controls::default();
        let of_server = controls.clone();
        let (ready, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let ready = |running: &icecore_api::Running| ready.send(running.address).unwrap();
            icecore_api::serve(config, Arc::new(SystemClock), ready, &of_server)
        });
        let Ok(address) = address.recv() else { panic!("{:?}", thread.join().unwrap()) };
        Self { dir, address, token, controls, thread: Some(thread) }
    }

    /// Returns the client of a server that runs elsewhere, in this directory.
    pub(crate) fn at(dir: Arc<TempDir>, address: SocketAddr) -> Self {
        let config = config_in(dir.path(), USUAL);
        let token = icecore_api::open_database(&config).unwrap().new_token("ann", "test", 0).unwrap().1;
        Self { dir, address, token, controls: Controls::default(), thread: None }
    }

    /// Starts a server with a folder to import from, and small sizes of Droplets.
    pub(crate) fn with_import() -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        std::fs::create_dir(dir.path().join("import")).unwrap();
        Self::start_in(dir, &format!("{USUAL}{IMPORT}"))
    }

    /// Returns a path in the directory of the server.
    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Asks until something is as it is to be.
    #[track_caller]
    pub(crate) fn until(&self, path: &str, what: impl Fn(&Value) -> bool) -> Value {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(120);
        loop {
            let shown = self.get(path).expect(200);
            if what(&shown) {
                return shown;
            }
            assert!(std::time::Instant::now() < end, "it took too long: {shown}");
            std::thread::yield_now();
        }
    }

    /// Waits until an image has a status.
    #[track_caller]
    pub(crate) fn until_image(&self, id: i64, status: &str) -> Value {
        let ended = |shown: &Value| shown["image"]["status"] != "NEW";
        let shown = self.until(&format!("/v2/images/{id}"), ended);
        assert_eq!(shown["image"]["status"], status, "{shown}");
        shown
    }

    /// Waits until an action is done, and returns it.
    #[track_caller]
    pub(crate) fn until_done(&self, action: &Value) -> Value {
        let path = format!("/v2/actions/{}", action["id"]);
        self.until(&path, |shown| shown["action"]["status"] != "in-progress")["action"].clone()
    }

    /// Begins an action, and waits until it is completed.
    #[track_caller]
    pub(crate) fn act(&self, path: &str, body: &Value) -> Value {
        let begun = self.post(path, body).expect(201);
        let done = self.until_done(&begun["action"]);
        assert_eq!(done["status"], "completed", "{done}");
        done
    }

    /// Makes a token of another account.
    pub(crate) fn token_of(&self, account: &str) -> String {
        let config = config_in(self.dir.path(), USUAL);
        icecore_api::open_database(&config).unwrap().new_token(account, "test", 0).unwrap().1
    }

    /// Stops, and waits for the end.
    pub(crate) fn stop(&mut self) {
        self.controls.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }

    /// Asks with the token of ann.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let text = body.map(Value::to_string);
        self.send(method, path, Some(&self.token), text.as_deref())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, Some(body))
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, None)
    }

    /// Asks with the token of ann and more headers.
    pub(crate) fn send_with(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send_all(method, path, Some(&self.token), None, headers)
    }

    /// Asks with any token, or none.
    pub(crate) fn send(&self, method: &str, path: &str, token: Option<&str>, body: Option<&str>) -> Answer {
        self.send_all(method, path, token, body, &[])
    }

    fn send_all(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = match body {
            Some(body) => {
                let request =
                    request.header("Content-Type", "application/json").body(body.to_owned()).unwrap();
                agent.run(agent.configure_request(request).allow_non_standard_methods(true).build())
            }
            None => agent.run(request.body(()).unwrap()),
        }
        .unwrap();
        let headers = answer.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        Answer {
            status: answer.status().as_u16(),
            headers,
            text: answer.body_mut().read_to_string().unwrap(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}
