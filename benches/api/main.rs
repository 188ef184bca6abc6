//! How long requests to the server take with few and with many snapshots.
//!
//! `cargo bench -p icecore-api --bench api -- DIR NUMBER...` makes a state directory `DIR/NUMBER`
//! with each NUMBER of snapshots, unless it is there from an earlier run, and serves it from a
//! process of its own. One client asks for one thing after another over one connection. It prints
//! the median of each call in milliseconds, calls a second, the ratio of the medians to those of
//! the first NUMBER, and the most memory that the server had.

#![expect(clippy::print_stdout, reason = "a program that measures")]

mod fill;

use std::error::Error;
use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use icecore_api::Controls;
use icecore_host::clock::SystemClock;
use icecore_host::config;
use icecore_host::config::Usual;
use serde_json::Value;
use serde_json::json;

/// How often each call is made for its median.
const CALLS: usize = 60;
const CONFIG: &str = "server.toml";

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// A server in a process of its own, and a client of it.
struct Server {
    child: Child,
    agent: ureq::Agent,
    address: String,
    token: String,
}

impl Server {
    fn start(dir: &Path) -> Outcome<Self> {
        let config = config::load(&dir.join(CONFIG), &Usual::default())?;
        let token = icecore_api::open_database(&config)?.new_token("ann", "bench", 0)?.1;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .arg(dir.join(CONFIG))
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        let out = child.stdout.take().ok_or("a server without an output")?;
        BufReader::new(out).read_line(&mut address)?;
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Ok(Self { child, agent, address: address.trim().to_owned(), token })
    }

    /// Asks for something, and returns the body of the answer.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Outcome<Value> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Content-Type", "application/json");
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = self.agent.configure_request(request.body(body)?);
        let mut answer = self.agent.run(request.allow_non_standard_methods(true).build())?;
        let text = answer.body_mut().read_to_string()?;
        if answer.status().as_u16() >= 300 {
            return Err(format!("{method} {path}: {} {text}", answer.status()).into());
        }
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    /// Returns the most memory that the server had, in MB.
    fn peak_mb(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1000)
    }

    fn stop(mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

/// The times of one kind of call.
struct Line {
    name: &'static str,
    median_ms: f64,
    each_second: f64,
}

/// Makes a call again and again; `call` gets its number.
fn measure(
    name: &'static str,
    lines: &mut Vec<Line>,
    mut call: impl FnMut(usize) -> Outcome<()>,
) -> Outcome<()> {
    let mut times = Vec::with_capacity(CALLS);
    for number in 0..CALLS {
        let begun = Instant::now();
        call(number)?;
        times.push(begun.elapsed());
    }
    let sum: Duration = times.iter().sum();
    times.sort();
    let median_ms = times[CALLS / 2].as_secs_f64() * 1000.0;
    lines.push(Line { name, median_ms, each_second: CALLS as f64 / sum.as_secs_f64() });
    Ok(())
}

fn id_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns the ids in the first page of a list.
fn ids(server: &Server, path: &str, list: &str) -> Outcome<Vec<String>> {
    let shown = server.ask("GET", path, None)?;
    Ok(shown[list].as_array().into_iter().flatten().map(|item| id_of(&item["id"])).collect())
}

fn measure_all(server: &Server) -> Outcome<Vec<Line>> {
    let snapshots = ids(server, "/v2/snapshots?resource_type=volume", "snapshots")?;
    let images = ids(server, "/v2/snapshots?resource_type=droplet", "snapshots")?;
    let volumes = ids(server, "/v2/volumes", "volumes")?;
    let droplets = ids(server, "/v2/droplets", "droplets")?;
    let (snapshot, image) = (&snapshots[0], &images[0]);
    let (volume, droplet) = (&volumes[0], &droplets[0]);
    let mut lines = Vec::new();
    let run = run_stamp();
    for (name, path) in [
        ("get snapshot", format!("/v2/snapshots/{snapshot}")),
        ("get Droplet's snapshot", format!("/v2/snapshots/{image}")),
        ("get image", format!("/v2/images/{image}")),
        ("get volume", format!("/v2/volumes/{volume}")),
        ("get Droplet", format!("/v2/droplets/{droplet}")),
        ("list snapshots", "/v2/snapshots?per_page=5".to_owned()),
        ("list snapshots of volumes", "/v2/snapshots?resource_type=volume&per_page=5".to_owned()),
        ("list images of a tag", "/v2/images?tag_name=tag-2&per_page=1".to_owned()),
        ("list images", "/v2/images?private=true&per_page=1".to_owned()),
        ("list a volume's snapshots", format!("/v2/volumes/{volume}/snapshots?per_page=5")),
        ("list volumes", "/v2/volumes?per_page=1".to_owned()),
        ("list Droplets", "/v2/droplets?per_page=1".to_owned()),
        ("list tags", "/v2/tags".to_owned()),
    ] {
        measure(name, &mut lines, |_| server.ask("GET", &path, None).map(drop))?;
    }
    let mut made = Vec::new();
    measure("create volume of a snapshot", &mut lines, |number| {
        let body =
            json!({"name": format!("new-{run}-{number}"), "snapshot_id": snapshot, "size_gigabytes": 1});
        made.push(id_of(&server.ask("POST", "/v2/volumes", Some(&body))?["volume"]["id"]));
        Ok(())
    })?;
    measure("delete volume", &mut lines, |number| {
        server.ask("DELETE", &format!("/v2/volumes/{}", made[number]), None).map(drop)
    })?;
    server.ask("POST", "/v2/tags", Some(&json!({"name": "measured"})))?;
    let resources = json!({"resources": [{"resource_id": snapshot, "resource_type": "volume_snapshot"}]});
    measure("tag and untag snapshot", &mut lines, |number| {
        let method = if number % 2 == 0 { "POST" } else { "DELETE" };
        server.ask(method, "/v2/tags/measured/resources", Some(&resources)).map(drop)
    })?;
    let resources = json!({"resources": [{"resource_id": volume, "resource_type": "volume"}]});
    measure("tag and untag volume", &mut lines, |number| {
        let method = if number % 2 == 0 { "POST" } else { "DELETE" };
        server.ask(method, "/v2/tags/measured/resources", Some(&resources)).map(drop)
    })?;
    let mut taken = Vec::new();
    measure("volume snapshot", &mut lines, |number| {
        let path = format!("/v2/volumes/{volume}/snapshots");
        let body = json!({"name": format!("new-{run}-{number}"), "tags": ["t"]});
        taken.push(id_of(&server.ask("POST", &path, Some(&body))?["snapshot"]["id"]));
        Ok(())
    })?;
    measure("delete snapshot", &mut lines, |number| {
        server.ask("DELETE", &format!("/v2/snapshots/{}", taken[number]), None).map(drop)
    })?;
    Ok(lines)
}

/// Returns a number for the names of this run.
fn run_stamp() -> i64 {
    icecore_host::clock::system_unix_ms()
}

fn run(dir: &Path, numbers: &[usize]) -> Outcome<()> {
    let mut first: Option<Vec<Line>> = None;
    for number in numbers {
        let state = fill::state_dir(&dir.join(number.to_string()), *number)?;
        let begun = Instant::now();
        let server = Server::start(&state)?;
        let started = begun.elapsed();
        server.ask("GET", "/v2/snapshots", None)?;
        let warm = begun.elapsed();
        let lines = measure_all(&server)?;
        println!("\n{number} snapshots, {0} volumes, {0} Droplets:\n", fill::disks_for(*number));
        println!("| call | median, ms | a second | ratio |\n|---|---|---|---|");
        for (at, line) in lines.iter().enumerate() {
            let few = first.as_ref().map_or(line.median_ms, |first| first[at].median_ms);
            println!(
                "| {} | {:.2} | {:.0} | {:.2} |",
                line.name,
                line.median_ms,
                line.each_second,
                line.median_ms / few
            );
        }
        println!(
            "\nstarted in {:.0} ms, first list after {:.0} ms, at most {} MB of memory",
            started.as_secs_f64() * 1000.0,
            warm.as_secs_f64() * 1000.0,
            server.peak_mb()?
        );
        server.stop()?;
        first.get_or_insert(lines);
    }
    Ok(())
}

fn serve(config: &Path) -> Outcome<()> {
    icecore::guard_mappings()?;
    icecore::start_workers(std::thread::available_parallelism()?.get())?;
    let ready = |running: &icecore_api::Running| println!("{}", running.address);
    Ok(icecore_api::serve(
        config::load(config, &Usual::default())?,
        Arc::new(SystemClock),
        ready,
        &Controls::default(),
    )?)
}

fn main() -> Outcome<()> {
    let arguments: Vec<PathBuf> =
        std::env::args_os().skip(1).filter(|word| word != "--bench").map(PathBuf::from).collect();
    match arguments.as_slice() {
        [option, config] if option.as_os_str() == "--serve" => serve(config),
        [dir, numbers @ ..] if !numbers.is_empty() => {
            let numbers = numbers.iter().map(|number| number.to_string_lossy().parse());
            run(dir, &numbers.collect::<Result<Vec<usize>, _>>()?)
        }
        _ => {
            println!("not run: name a directory and how many snapshots");
            Ok(())
        }
    }
}
