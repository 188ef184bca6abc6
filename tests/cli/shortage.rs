//! Processes that may have few threads or descriptors: they work with those there are, or say that
//! there are too few, and a server that was short of them goes on.

use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::support::Fixture;
use crate::support::finish;
use crate::volumes::server::Server;

/// Returns a user that has no other processes: the limit of threads is that of all that a user
/// runs. There is one for each test and each run of the tests.
fn user(test: u32) -> String {
    (1_000_000 + 2 * std::process::id() + test).to_string()
}

/// A place of a user with the volume `web`; none where the tests are not run by root.
fn place_of(user: &str) -> Option<Fixture> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    fixture.give_to(user);
    Some(fixture)
}

/// Returns the program, run by a user who may have so many processes and threads in all.
fn program(fixture: &Fixture, user: &str, threads: u64) -> Command {
    fixture.program_as(user, &["prlimit", &format!("--nproc={threads}:{threads}")])
}

#[test]
fn commands_work_with_few_threads_or_say_that_there_are_too_few() {
    let user = user(0);
    let Some(fixture) = place_of(&user) else { return };
    let mut worked = 0;
    for threads in 1..=12 {
        for command in [
            &["verify", "--read-data"][..],
            &["snapshot", "create", "disk.raw", "--volume", "other", "--parent", "none"],
            &["restore", "base", "out.raw", "--force"],
            &["volume", "export", "web", "web.raw", "--force"],
            &["volume", "snapshot", "web"],
            &["gc"],
            &["repair", "index"],
            &["parity", "3+1"],
            &["snapshot", "list"],
        ] {
            let done = finish(program(&fixture, &user, threads).args(command));
            assert!([0, 12].contains(&done.code), "{threads} threads, {command:?}: {done:?}");
            assert!(
                done.code == 0 || done.err.contains("ulimit -u"),
                "{threads} threads, {command:?}: {done:?}"
            );
            worked += u64::from(done.code == 0);
        }
    }
    assert!(worked > 40, "{worked}");
    fixture.run(&["verify", "--read-data"]).exits(0);
    fixture.assert_equal("out.raw", "disk.raw");
    fixture.assert_equal("web.raw", "disk.raw");
}

/// Changes a limit of a running server, as its user may.
fn limit(server: &Server, user: &str, limit: &str) {
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        user,
        "--regid",
        user,
        "--clear-groups",
        "prlimit",
        "--pid",
        &server.id().to_string(),
        limit,
    ]);
    assert!(command.status().unwrap().success());
}

#[test]
fn a_request_for_a_snapshot_without_a_thread_fails_and_the_next_one_works() {
    let user = user(1);
    let Some(fixture) = place_of(&user) else { return };
    let server = Server::start_program(program(&fixture, &user, 100).env("RAYON_NUM_THREADS", "1"), &["web"]);
    limit(&server, &user, "--nproc=1:100");
    fixture.run(&["volume", "snapshot", "web"]).exits(12).says(&["starting a thread", "ulimit -u"]);
    limit(&server, &user, "--nproc=100:100");
    fixture.run(&["volume", "snapshot", "web"]).exits(0);
    server.stop();
}

#[test]
fn a_server_that_was_short_of_descriptors_takes_snapshots_again() {
    let Some(fixture) = place_of("0") else { return };
    let server = Server::start(&fixture, &["web"]);
    limit(&server, "0", "--nofile=40:40");
    let control = fixture.path("repo/local/volumes/web/control");
    let clients: Vec<_> = (0..80).map(|_| UnixStream::connect(&control).unwrap()).collect();
    drop(clients);
    // Those that came before it have descriptors until each is seen to have gone.
    let taken = (0..1000).map(|_| fixture.run(&["volume", "snapshot", "web"])).find(|done| done.code != 12);
    taken.unwrap().exits(0);
    assert_eq!(fixture.result(&["volume", "list"])["volumes"][0]["served"], true);
    server.stop();
}

#[test]
fn a_server_whose_repository_was_renamed_ends_at_the_first_signal() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    let server = Server::start(&fixture, &["web"]);
    std::fs::rename(fixture.path("repo"), fixture.path("elsewhere")).unwrap();
    server.end_by("-TERM").exits(0);
    assert!(!fixture.path("elsewhere/local/volumes/web/control").exists());
    std::fs::rename(fixture.path("elsewhere"), fixture.path("repo")).unwrap();
    let server = Server::start(&fixture, &["web"]);
    std::fs::remove_file(fixture.path("repo/local/volumes/web/control")).unwrap();
    server.end_by("-TERM").exits(0);
}
