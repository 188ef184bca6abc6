//! The program with system calls that fail, or are interrupted by a signal: `strace` makes the n-th
//! one of a kind do so.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::OnceLock;

use icecore_testing::disk;

use crate::support::Done;
use crate::support::Fixture;
use crate::support::finish;
use crate::support::noise;

/// Tells whether the long form was asked for.
fn thorough() -> bool {
    std::env::var_os("ICECORE_FAULTS").is_some_and(|value| value == "1")
}

/// Tells whether system calls can be made to fail here, and says so if not.
#[expect(clippy::print_stderr, reason = "a test that was skipped must say so")]
fn can_inject() -> bool {
    let traced =
        Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=none", "true"]).output();
    let why = match traced {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    eprintln!("skipped: system calls cannot be made to fail here: strace: {why}");
    false
}

/// Kinds of system calls that are made to fail.
const CHANGES: &str = "pwrite64,write,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,ftruncate,\
                       fallocate,flock,fchmod,link,linkat";
const READS: &str = "openat,pread64,getdents64,statx,newfstatat,fstat,lseek,mmap";

/// What is done, and what for it was there before.
struct Verb {
    arguments: &'static [&'static str],
    /// Whether an error leaves everything as it was.
    changes: bool,
}

const fn reads(arguments: &'static [&'static str]) -> Verb {
    Verb { arguments, changes: false }
}

const fn changes(arguments: &'static [&'static str]) -> Verb {
    Verb { arguments, changes: true }
}

const VERBS: [Verb; 19] = [
    changes(&["snapshot", "create", "new.raw", "--name", "new"]),
    changes(&["gc", "--max-unused", "0%"]),
    changes(&["snapshot", "delete", "-f", "two"]),
    changes(&["snapshot", "rename", "two", "other"]),
    changes(&["snapshot", "tag", "two", "+tag"]),
    changes(&["snapshot", "protect", "two"]),
    changes(&["repair", "index"]),
    changes(&["repair", "catalog"]),
    reads(&["restore", "one", "out.raw"]),
    reads(&["restore", "one", "target.raw", "--in-fixture"]),
    reads(&["snapshot", "list"]),
    reads(&["snapshot", "list", "--deleted"]),
    reads(&["log"]),
    reads(&["snapshot", "get", "one"]),
    reads(&["snapshot", "diff", "one", "two"]),
    reads(&["verify", "--read-data"]),
    reads(&["stats"]),
    reads(&["repair", "snapshots"]),
    changes(&["--repo", "made", "init"]),
];

/// A call that a verb makes on the repository, images and targets: its kind, its number in its
/// thread, and an example.
type Call = (String, usize, String);

/// A repository with two snapshots and something to collect, and a copy of it to begin from again.
struct Start {
    fixture: Fixture,
    /// Which snapshot the next check restores.
    turn: Cell<usize>,
}

impl Start {
    fn new() -> Self {
        let fixture = Fixture::new();
        for (name, seed) in [("gone", 1), ("one", 2), ("two", 3)] {
            let image = format!("{name}.raw");
            std::fs::write(fixture.path(&image), noise(seed, 150_000)).unwrap();
            fixture.run(&["snapshot", "create", &image, "--name", name, "--volume", "disk"]).exits(0);
        }
        fixture.run(&["snapshot", "delete", "-f", "gone"]).exits(0);
        std::fs::write(fixture.path("new.raw"), noise(4, 150_000)).unwrap();
        std::fs::rename(fixture.path("repo"), fixture.path("start")).unwrap();
        let start = Self { fixture, turn: Cell::new(0) };
        start.again();
        start
    }

    fn again(&self) {
        for name in ["repo", "made", "out.raw", "target.raw"] {
            disk::remove(&self.fixture.path(name));
        }
        let [from, to] = ["start", "repo"].map(|name| self.fixture.path(name));
        Command::new("cp").arg("-r").args([from, to]).status().unwrap();
        std::fs::copy(self.fixture.path("two.raw"), self.fixture.path("target.raw")).unwrap();
    }

    /// Returns a command that runs the program under `strace`, which writes what it sees of `calls`
    /// to a file.
    fn traced(&self, arguments: &[&str], calls: &str, injection: Option<&str>) -> Command {
        let program = self.fixture.program();
        let mut command = Command::new("timeout");
        command
            .args(["-k", "1", "100", "strace", "-f", "-qq", "-y", "-o"])
            .arg(self.fixture.path("strace.log"));
        command.args(["-e", &format!("trace={calls}"), "-e", "signal=none"]);
        if let Some(injection) = injection {
            command.args(["-e", &format!("inject={calls}:{injection}")]);
        }
        command.arg(program.get_program()).args(arguments).env_clear().stdin(Stdio::null());
        program.get_envs().for_each(|(name, value)| {
            command.env(name, value.unwrap_or_default());
        });
        command.current_dir(self.fixture.path(""));
        command
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.fixture.path("strace.log")).unwrap_or_default()
    }

    /// Runs the program with the `n`-th call of a kind failing, or with a signal there. In each
    /// thread its calls are counted for themselves. Returns how it ended, and the calls that were
    /// interfered with.
    fn run(&self, arguments: &[&str], call: &str, injection: &str, n: usize) -> (Done, Vec<String>) {
        self.again();
        let done = finish(&mut self.traced(arguments, call, Some(&format!("{injection}:when={n}"))));
        let log = self.log();
        let hits = log.lines().filter(|line| line.contains("(INJECTED)"));
        (done, hits.map(str::to_owned).collect())
    }

    /// Returns which calls of these kinds a verb makes. Whichever test asks first runs all verbs
    /// for that, and begins from the start again.
    fn calls(&self, arguments: &[&str], calls: &str) -> Vec<Call> {
        static OF_VERBS: OnceLock<Vec<Vec<Call>>> = OnceLock::new();
        let of_verbs =
            OF_VERBS.get_or_init(|| VERBS.iter().map(|verb| self.all_calls(verb.arguments)).collect());
        self.again();
        let verb = VERBS.iter().position(|verb| verb.arguments == arguments).unwrap();
        let asked = |(call, _, _): &&Call| calls.split(',').any(|asked| asked == call);
        of_verbs[verb].iter().filter(asked).cloned().collect()
    }

    fn all_calls(&self, arguments: &[&str]) -> Vec<Call> {
        self.again();
        finish(&mut self.traced(arguments, &format!("{CHANGES},{READS}"), None));
        let (mut counts, mut found) = (BTreeMap::<(String, String), usize>::new(), BTreeMap::new());
        for line in self.log().lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
            let count = counts.entry((thread.to_owned(), call.to_owned())).or_default();
            *count += 1;
            if self.is_ours(line) {
                found.entry((call.to_owned(), *count)).or_insert_with(|| line.to_owned());
            }
        }
        found.into_iter().map(|((call, n), line)| (call, n, line)).collect()
    }

    /// Tells whether a call is about something that the program was asked to work on: not what it
    /// is loaded from, and not its terminal.
    fn is_ours(&self, line: &str) -> bool {
        let here = self.fixture.path("").display().to_string();
        let here = here.trim_end_matches('/');
        let line = line.replace(&format!("AT_FDCWD<{here}>"), "AT_FDCWD");
        line.contains(here) || ["\"repo", "\"made", ".raw\""].iter().any(|name| line.contains(name))
    }

    /// Fails unless the repository is in order, and can be used.
    fn check(&self, at: &str) {
        let run = |arguments: &[&str]| {
            let done = self.fixture.run(arguments);
            assert_eq!(done.code, 0, "{at}: {arguments:?}: {done:?}");
            done
        };
        let listed = run(&["snapshot", "list", "--no-header", "--format", "name"]);
        let names: BTreeSet<&str> = listed.out.lines().collect();
        assert!(
            names.contains("one")
                && (names.contains("two") || names.contains("other") || at.contains("delete"))
        );
        run(&["verify", "--read-data"]);
        run(&["snapshot", "create", "new.raw", "--name", "afterwards"]);
        run(&["gc", "--max-unused", "0%"]);
        let mut all =
            vec![("one", "one.raw"), ("two", "two.raw"), ("new", "new.raw"), ("afterwards", "new.raw")];
        all.retain(|(name, _)| names.contains(name) || *name == "afterwards");
        // What is read to verify it is what a restore gives: the short form restores one of them,
        // each in its turn.
        let turn = self.turn.replace(self.turn.get() + 1) % all.len();
        for (number, (name, image)) in all.into_iter().enumerate() {
            if number == turn || thorough() {
                run(&["restore", name, "out.raw", "--force"]);
                self.fixture.assert_equal("out.raw", image);
            }
        }
        assert_eq!(entries(&self.fixture.path("repo/local/tmp")), Vec::<PathBuf>::new(), "{at}");
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).map_or(Vec::new(), |entries| entries.map(|entry| entry.unwrap().path()).collect())
}

/// Runs a verb with each of its calls failing, or with every `stride`-th. Returns how often that
/// happened.
fn fail(start: &Start, verb: &Verb, calls: &str, error: &str, stride: usize, first: usize) -> usize {
    let all = start.calls(verb.arguments, calls);
    let mut failed = 0;
    for (call, n, line) in all.iter().skip(first % stride.min(all.len().max(1))).step_by(stride) {
        let (done, hits) = start.run(verb.arguments, call, &format!("error={error}"), *n);
        let at = format!("{:?}, {error} at {call} {n}: {line} / {hits:?}", verb.arguments);
        if hits.is_empty() || !hits.iter().all(|hit| start.is_ours(hit)) {
            continue;
        }
        failed += 1;
        assert!(!done.err.contains("panicked") && (0..=11).contains(&done.code), "{at}: {done:?}");
        if error == "EINTR" {
            assert_eq!(done.code, 0, "{at}: {done:?}");
        }
        if done.code > 1 {
            assert_eq!(done.err.matches("error:").count(), 1, "{at}: {done:?}");
            let told = done.err.lines().next().unwrap_or_default();
            assert!(told.len() > "error: ".len() + 35, "{at}: it names nothing: {done:?}");
        }
        // Nothing is left of a restore that failed, unless that could not be removed.
        let temps = entries(&start.fixture.path("")).into_iter();
        let temps: Vec<_> = temps.filter(|path| path.display().to_string().contains(".icecore-")).collect();
        assert!(temps.is_empty() || call.starts_with("unlink"), "{at}: {temps:?}");
        disk::remove(&start.fixture.path("made"));
        if verb.changes || thorough() {
            start.check(&at);
        }
    }
    failed
}

#[test]
fn every_system_call_that_changes_something_may_fail() {
    if !can_inject() {
        return;
    }
    let start = Start::new();
    let mut hits = 0;
    for (number, verb) in VERBS.iter().enumerate() {
        for (way, error) in ["EIO", "ENOSPC"].into_iter().enumerate() {
            let stride = if thorough() { 1 } else { 16 };
            hits += fail(&start, verb, CHANGES, error, stride, number + 4 * way);
        }
    }
    assert!(hits > 12, "only {hits} calls failed");
}

#[test]
fn every_system_call_that_reads_may_fail() {
    if !can_inject() {
        return;
    }
    let start = Start::new();
    let mut hits = 0;
    for (number, verb) in VERBS.iter().enumerate() {
        let stride = if thorough() { 1 } else { 120 };
        hits += fail(&start, verb, READS, "EIO", stride, number * 7);
    }
    assert!(hits > 12, "only {hits} calls failed");
}

#[test]
fn an_interrupted_system_call_is_made_again() {
    const CALLS: &str = "pwrite64,write,fsync,openat,pread64,flock,fallocate,ftruncate,unlinkat,mkdirat";
    if !can_inject() {
        return;
    }
    let start = Start::new();
    let mut hits = 0;
    for (number, verb) in VERBS.iter().enumerate() {
        let (stride, of_names) = if thorough() { (1, 1) } else { (120, 6) };
        hits += fail(&start, verb, CALLS, "EINTR", stride, number * 11);
        // There are few of these, and a whole operation is lost with one.
        hits += fail(&start, verb, "renameat,renameat2", "EINTR", of_names, number);
    }
    assert!(hits > 10, "only {hits} calls were interrupted");
}

#[test]
fn a_signal_in_the_middle_of_a_command_stops_it_and_loses_nothing() {
    const CALLS: &str = "pwrite64,pread64,fsync,renameat,renameat2,unlinkat";
    if !can_inject() {
        return;
    }
    let start = Start::new();
    for (number, verb) in VERBS.iter().enumerate() {
        let calls = start.calls(verb.arguments, CALLS);
        let stride = if thorough() { 1 } else { calls.len() + 1 };
        for (way, (call, n, line)) in calls.iter().enumerate().skip(number % stride).step_by(stride) {
            let signal = ["SIGINT", "SIGTERM", "SIGHUP"][way % 3];
            let (done, _) = start.run(verb.arguments, call, &format!("signal={signal}"), *n);
            let at = format!("{:?}, {signal} at {call} {n}: {line}", verb.arguments);
            // A command that does nothing that takes long is ended by the signal itself, or ends
            // before it looks.
            assert!([0, 130, 143, -1].contains(&done.code), "{at}: {done:?}");
            assert!(!done.err.contains("panicked"), "{at}: {done:?}");
            disk::remove(&start.fixture.path("made"));
            if verb.changes || thorough() {
                start.check(&at);
            }
        }
    }
}

#[test]
fn a_restore_that_is_ended_leaves_nothing_beside_its_target() {
    if !can_inject() {
        return;
    }
    let start = Start::new();
    let names = || {
        let entries = std::fs::read_dir(start.fixture.path("")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| name != "out.raw" && name != "strace.log");
        names.sort();
        names
    };
    let verb = &["restore", "one", "out.raw"];
    let calls = start.calls(verb, "pwrite64,fsync");
    let before = names();
    let of_target = calls.iter().filter(|(_, _, line)| !line.contains("/repo/"));
    let mut hits = 0;
    for (call, n, line) in of_target {
        for (signal, codes) in [("SIGHUP", &[0, 130][..]), ("SIGTERM", &[0, 130]), ("SIGKILL", &[-1, 137])] {
            let (done, _) = start.run(verb, call, &format!("signal={signal}"), *n);
            let at = format!("{signal} at {call} {n}: {line}");
            assert!(codes.contains(&done.code), "{at}: {done:?}");
            assert_eq!(names(), before, "{at}");
            hits += 1;
        }
    }
    assert!(hits > 0, "{calls:?}");
}

#[test]
fn a_file_that_may_not_grow_is_an_error_that_says_so() {
    let start = Start::new();
    let limited = |bytes: u64, arguments: &[&str]| {
        let program = start.fixture.program();
        let mut command = Command::new("prlimit");
        command.arg(format!("--fsize={bytes}")).arg(program.get_program()).args(arguments).env_clear();
        program.get_envs().for_each(|(name, value)| {
            command.env(name, value.unwrap_or_default());
        });
        finish(command.current_dir(start.fixture.path("")).stdin(Stdio::null()))
    };
    for bytes in [0, 20_000, 100_000] {
        for arguments in
            [VERBS[0].arguments, &["snapshot", "rename", "two", "other"], &["restore", "one", "out.raw"]]
        {
            start.again();
            let done = limited(bytes, arguments);
            let at = format!("{bytes} bytes, {arguments:?}");
            if bytes > 1000 && arguments.contains(&"rename") {
                assert_eq!(done.code, 0, "{at}: {done:?}");
                continue;
            }
            assert!([2, 9].contains(&done.code), "{at}: {done:?}");
            assert!(done.err.contains("arge"), "{at}: {done:?}");
            start.check(&at);
        }
    }
}
