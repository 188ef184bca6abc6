//! `icecore serve` and `icecore token`: the server as a process. What it answers is tested with the
//! crate.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use rustix::process::Pid;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::Fixture;
use crate::volumes::tools;

/// A server that runs, as a process.
struct Serving {
    child: Child,
    said: Value,
}

impl Serving {
    fn start(fixture: &Fixture, arguments: &[&str]) -> Self {
        Self::start_program(&mut fixture.program(), arguments)
    }

    fn start_program(program: &mut Command, arguments: &[&str]) -> Self {
        program.args(["-o", "json", "serve", "--listen", "0"]).args(arguments);
        let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { child, said: serde_json::from_str::<Value>(&line).unwrap()["result"].take() }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.said["address"].as_str().unwrap()).unwrap()
    }

    /// Asks, and returns all of the answer.
    fn get(&self, path: &str, token: &str) -> String {
        let mut stream = self.connect();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    fn ends_with(mut self, code: i32) {
        assert_eq!(self.child.wait().unwrap().code(), Some(code));
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // One that has ended is not there any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_newcomer_needs_two_commands() {
    let fixture = Fixture::with_snapshot();
    let token = fixture.run(&["token", "create", "first"]).exits(0);
    assert!(token.err.contains("shown only once"), "{token:?}");
    let token = token.out.trim();
    let serving = Serving::start(&fixture, &[]);
    let answer = serving.get("/v2/snapshots", token);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"name\":\"base\""), "{answer}");
    let tokens = fixture.result(&["token", "list"]);
    assert!(tokens["tokens"][0]["last_used"].is_string(), "{tokens}");
    assert!(!tokens.to_string().contains(token));
    // A token that is revoked while the server runs is useless from then on.
    fixture.run(&["token", "revoke", "1"]).exits(0);
    assert!(serving.get("/v2/snapshots", token).starts_with("HTTP/1.1 401"));
    fixture.run(&["token", "revoke", "1"]).exits(3);
    serving.signal(Signal::TERM);
    serving.ends_with(0);
}

#[test]
fn a_sealed_region_is_opened_by_a_credential_of_systemd_and_no_core_is_dumped() {
    let mut fixture = Fixture::sealed();
    fixture.image("disk.raw", 1);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(0);
    let token = fixture.run(&["token", "create", "first"]).exits(0);
    fixture.unset("ICECORE_PASSWORD_FILE");
    fixture.set("CREDENTIALS_DIRECTORY", fixture.path("credentials"));
    fixture.run(&["serve", "--listen", "0"]).exits(10).says(&[
        "region local",
        "password_file",
        "icecore-password",
    ]);
    std::fs::create_dir(fixture.path("credentials")).unwrap();
    for name in ["icecore-password", "icecore-password-local"] {
        // The credential of the region goes before that of all.
        let credential = |name: &str| fixture.path("credentials").join(name);
        std::fs::write(credential("icecore-password"), "of others").unwrap();
        std::fs::copy(fixture.path("password"), credential(name)).unwrap();
        let serving = Serving::start(&fixture, &[]);
        assert!(serving.get("/v2/snapshots", token.out.trim()).contains("\"name\":\"base\""));
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", serving.child.id())).unwrap();
        let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(cores.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
        serving.signal(Signal::TERM);
        serving.ends_with(0);
    }
}

#[test]
fn what_the_server_may_not_read_is_an_error_and_no_empty_list() {
    const USER: &str = "63120";
    if !rustix::process::getuid().is_root() {
        return;
    }
    for dir in ["journal", "index", "local/volumes/web"] {
        let fixture = Fixture::with_snapshot();
        fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
        let token = fixture.run(&["token", "create", "first"]).exits(0);
        fixture.give_to(USER);
        let serving = Serving::start_program(&mut fixture.program_as(USER, &[]), &[]);
        let get = |path: &str| serving.get(path, token.out.trim());
        assert!(get("/healthz").starts_with("HTTP/1.1 200"));
        assert!(get("/v2/snapshots").contains("\"name\":\"base\""));
        let owner = Command::new("chown").args(["-R", "0:0"]).arg(fixture.path("repo").join(dir)).status();
        assert!(owner.unwrap().success());
        let health = get("/healthz");
        assert!(health.starts_with("HTTP/1.1 503") && health.contains("region local"), "{dir}: {health}");
        for path in ["/v2/snapshots", "/v2/volumes"] {
            let answer = get(path);
            let is_told = answer.starts_with("HTTP/1.1 403") && answer.contains("Permission denied");
            assert!(is_told || answer.contains("\"name\":\""), "{dir} {path}: {answer}");
        }
    }
}

#[test]
fn a_volume_that_the_server_has_open_is_snapshotted_by_the_command_line() {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    let serving = Serving::start(&fixture, &[]);
    let served = || fixture.result(&["volume", "get", "web"])["volumes"][0]["served"].clone();
    let id = fixture.result(&["volume", "get", "web"])["volumes"][0]["id"].as_str().unwrap().to_owned();
    let uri = format!("nbd+unix:///{id}?socket={}", serving.said["nbd_socket"].as_str().unwrap());
    assert_eq!(served(), false, "nobody uses it yet");
    // What was written is in it though it was not flushed, and what is written later is not.
    let text = format!(
        "import subprocess\n\
         take = lambda name: subprocess.run([{:?}, 'volume', 'snapshot', 'web', '--name', name], env={{'ICECORE_REPO': {:?}}})\n\
         h.pwrite(b'one.' * 5000, 12345)\n\
         assert take('first').returncode == 0\n\
         h.pwrite(b'two.' * 5000, 700000)\n\
         assert take('first').returncode == 4\n\
         assert take('second').returncode == 0\n",
        env!("CARGO_BIN_EXE_icecore"),
        fixture.path("repo"),
    );
    tools::script(&uri, &text);
    let mut disk = std::fs::read(fixture.path("disk.raw")).unwrap();
    for (name, word, at) in [("first", "one.", 12345), ("second", "two.", 700_000)] {
        disk[at..at + 20_000].copy_from_slice(word.repeat(5000).as_bytes());
        fixture.run(&["restore", name, "out.raw", "--force"]).exits(0);
        assert!(std::fs::read(fixture.path("out.raw")).unwrap() == disk, "{name}");
    }
    serving.signal(Signal::TERM);
    serving.ends_with(0);
    assert_eq!(served(), false);
    fixture.run(&["volume", "delete", "web", "--force"]).exits(0);
}

#[test]
fn what_cannot_be_served_is_told() {
    let fixture = Fixture::new();
    let serving = Serving::start(&fixture, &[]);
    fixture.run(&["serve", "--listen", "0"]).exits(5).says(&["another server", "state_dir"]);
    serving.signal(Signal::INT);
    serving.ends_with(0);
    fixture.run(&["serve", "--listen", "0.0.0.0:0"]).exits(2).says(&["TLS"]);
    fixture.run(&["serve", "--config", "nowhere.toml"]).exits(3).says(&["nowhere.toml"]);
    fixture.run(&["token", "create", "x", "--account", "nobody"]).exits(3).says(&["nobody", "local"]);
    fixture.run(&["token", "create", " "]).exits(2);
}

#[test]
fn the_configuration_is_found_and_says_what_is_served() {
    let fixture = Fixture::new();
    let dir = fixture.path("home/.config/icecore");
    std::fs::create_dir_all(&dir).unwrap();
    let text =
        "[regions.nyc1]\nrepository = \"one\"\n[[account]]\nname = \"ann\"\nemail = \"ann@example.com\"\n";
    std::fs::write(dir.join("server.toml"), text).unwrap();
    let token = fixture.result(&["token", "create", "x"]);
    assert_eq!(token["account"], "ann");
    let serving = Serving::start(&fixture, &[]);
    assert_eq!(serving.said["regions"], serde_json::json!(["nyc1"]));
    assert!(
        dir.join("one/config").exists() && fixture.path("home/.local/state/icecore/icecore.sqlite").exists()
    );
    let answer = serving.get("/v2/account", token["token"].as_str().unwrap());
    assert!(answer.contains("ann@example.com"), "{answer}");
}

/// Yesterday's token is good after the first configuration was written, and after it was deleted.
#[test]
fn a_configuration_does_not_move_the_state() {
    let fixture = Fixture::new();
    let token = fixture.run(&["token", "create", "x"]).exits(0).out;
    let dir = fixture.path("home/.config/icecore");
    std::fs::create_dir_all(&dir).unwrap();
    let accepts = |arguments: &[&str]| {
        let serving = Serving::start(&fixture, arguments);
        let answer = serving.get("/v2/account", token.trim());
        assert!(answer.starts_with("HTTP/1.1 200"), "{arguments:?}: {answer}");
        assert_eq!(serving.said["regions"], serde_json::json!(["local"]));
        serving.signal(Signal::TERM);
        serving.ends_with(0);
    };
    accepts(&[]);
    std::fs::write(dir.join("server.toml"), "[import]\nfolders = [\"import\"]\n").unwrap();
    accepts(&[]);
    std::fs::write(fixture.path("other.toml"), "[regions.local]\nrepository = \"other\"\n").unwrap();
    accepts(&["--config", "other.toml"]);
    std::fs::remove_file(dir.join("server.toml")).unwrap();
    accepts(&[]);
}

/// Servers before had it there.
#[test]
fn a_state_beside_the_configuration_stays_in_use() {
    let fixture = Fixture::new();
    let path = fixture.path("server.toml");
    let config = ["--config", "server.toml"];
    std::fs::write(&path, "[server]\nstate_dir = \"state\"\n").unwrap();
    let token = fixture.run(&[&["token", "create", "x"], &config[..]].concat()).exits(0).out;
    std::fs::write(&path, "").unwrap();
    // Somebody also tried it without a configuration.
    fixture.run(&["token", "create", "other"]).exits(0);
    let serving = Serving::start(&fixture, &config);
    let answer = serving.get("/v2/account", token.trim());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn each_request_is_a_line_of_the_log_without_its_secrets() {
    let fixture = Fixture::new();
    let text = "[regions.local]\nrepository = \"repo\"\n[log]\nformat = \"json\"\n";
    std::fs::write(fixture.path("server.toml"), text).unwrap();
    let config = ["--config", "server.toml"];
    let token = fixture.run(&[&["token", "create", "x"], &config[..]].concat()).exits(0).out;
    let mut serving = Serving::start(&fixture, &config);
    let answer = serving.get("/v2/volumes?name=hidden", token.trim());
    serving.get("/v2/volumes", "a-wrong-token");
    serving.signal(Signal::TERM);
    let mut log = String::new();
    serving.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    serving.ends_with(0);
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let requests: Vec<&Value> = lines.iter().filter(|line| line["message"] == "request").collect();
    let told = |name: &str| requests.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(told("path"), ["/v2/volumes", "/v2/volumes"]);
    assert_eq!(told("status"), [200, 401]);
    assert_eq!(told("account"), [Value::from("local"), Value::Null]);
    let id = requests[0]["id"].as_str().unwrap();
    assert!(answer.contains(&format!("x-request-id: {id}\r\n")), "{answer}");
    for secret in [token.trim(), "a-wrong-token", "hidden"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn systemd_is_told_when_it_serves_and_when_it_stops() {
    let fixture = Fixture::new();
    let path = fixture.path("notify");
    let heard = UnixDatagram::bind(&path).unwrap();
    let mut program = fixture.program();
    program.args(["serve", "--listen", "0"]).env("NOTIFY_SOCKET", &path);
    let child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let serving = Serving { child, said: Value::Null };
    let hear = || {
        let mut bytes = [0; 64];
        let count = heard.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    assert_eq!(hear(), "READY=1");
    serving.signal(Signal::HUP);
    serving.signal(Signal::TERM);
    assert_eq!(hear(), "STOPPING=1");
    serving.ends_with(0);
}
