//! What a server does but for serving: sockets, signals, and what is refused meanwhile.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use icecore_testing::disk;

use crate::support::Fixture;
use crate::support::noise;
use crate::volumes::server::Server;
use crate::volumes::tools;

fn with_volume() -> Fixture {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    fixture
}

#[test]
fn what_cannot_be_done_to_a_served_volume_says_so() {
    let fixture = with_volume();
    let server = Server::start(&fixture, &["web"]);
    for command in [
        &["volume", "reset", "web", "--force"][..],
        &["volume", "restore", "web", "base", "--force"],
        &["volume", "resize", "web", "1G"],
        &["volume", "delete", "web", "--force"],
        &["volume", "serve", "web"],
        &["volume", "serve", "web", "--read-only", "--socket", "other"],
        &["volume", "export", "web", "web.raw"],
        &["snapshot", "delete", "base", "--force"],
    ] {
        fixture.run(command).exits(5).says(&["web", "hint:"]);
    }
    assert!(!fixture.path("web.raw").exists() && !fixture.path("other").exists());
    let told = fixture.result(&["volume", "list"]);
    assert_eq!((&told["volumes"][0]["served"], told["volumes"].as_array().unwrap().len()), (&true.into(), 1));
    server.stop();
    assert_eq!(fixture.result(&["volume", "list"])["volumes"][0]["served"], false);
    fixture.run(&["volume", "delete", "web", "--force"]).exits(0);
}

#[test]
fn people_are_told_how_programs_use_it() {
    let fixture = with_volume();
    for (arguments, parts) in [
        (&["web"][..], ["serving web (volume, 3.0 MiB, writable)", "if=virtio,discard=unmap"]),
        (&["web", "--read-only"], ["serving web (volume, 3.0 MiB, read-only)", "if=virtio,readonly=on"]),
        (
            &["--snapshot", "base"],
            ["serving snapshot:base (snapshot, 3.0 MiB, read-only)", "if=virtio,readonly=on"],
        ),
    ] {
        let mut child = fixture.program();
        child.args(["volume", "serve", "--listen", "0"]).args(arguments).stdout(std::process::Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut text = String::new();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
        while !text.contains("nbdfuse") {
            assert_ne!(std::io::BufRead::read_line(&mut lines, &mut text).unwrap(), 0, "{text}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for part in parts.into_iter().chain(["nbd://127.0.0.1:", "qemu-system", "nbd-client 127.0.0.1 "]) {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[test]
fn a_disk_is_served_where_nobody_can_ask_for_snapshots_of_it() {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let fixture = with_volume();
    // In the place of the socket, as where the file system has none.
    std::fs::create_dir(fixture.path("repo/local/volumes/web/control")).unwrap();
    let server = Server::start(&fixture, &["web", "--socket", "elsewhere"]);
    tools::script(
        &server.uri("web"),
        "h.pwrite(b'x' * 4096, 0); h.flush(); assert h.pread(4096, 0) == b'x' * 4096",
    );
    fixture.run(&["volume", "snapshot", "web"]).exits(5);
    let done = server.stop();
    assert!(done.err.contains("does not work while web is served"), "{done:?}");
}

#[test]
fn a_server_listens_at_a_port_only_where_that_was_asked_for() {
    if !tools::have(&["nbdinfo"]) {
        return;
    }
    let fixture = with_volume();
    let server = Server::start(&fixture, &["web", "--listen", "0"]);
    let address = server.address().to_owned();
    assert!(address.starts_with("127.0.0.1:") && !address.ends_with(":0"), "{address}");
    assert_eq!(server.uri("web"), format!("nbd://{address}/web"));
    assert_eq!(tools::works("nbdinfo", &["--size", &server.uri("web")]).trim(), "3146728");
    let done = server.stop();
    assert!(!done.err.contains("warning") && done.err.contains("served 1 connection"), "{done:?}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    fixture.run(&["volume", "serve", "web", "--listen", &port]).exits(5).says(&["another port"]);
    fixture.run(&["volume", "serve", "web", "--listen", "0", "--socket", "s"]).exits(2);
    fixture.run(&["volume", "serve", "web", "--listen", "nowhere"]).exits(2);
    let open = Server::start(&fixture, &["web", "--listen", "0.0.0.0:0"]);
    open.stop().says(&["anyone who can reach this address"]);
}

#[test]
fn a_socket_is_for_its_owner_and_goes_with_its_server() {
    let fixture = with_volume();
    fixture.run(&["volume", "create", "db", "--size", "1M"]).exits(0);
    for arguments in [&["web"][..], &["web", "--socket", "nbd.sock"], &["--snapshot", "base"], &[]] {
        let server = Server::start(&fixture, arguments);
        let path = Path::new(server.address()).to_owned();
        assert!(path.is_absolute(), "{path:?}");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
        server.stop_by("-INT");
        assert!(!path.exists(), "{path:?}");
    }
    let left: Vec<_> = std::fs::read_dir(fixture.path("repo/local/volumes/web")).unwrap().collect();
    let left: Vec<_> = left.into_iter().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name == "control" || name == "nbd"), "{left:?}");
}

#[test]
fn a_socket_takes_the_place_of_nothing_that_is_used() {
    let fixture = with_volume();
    fixture.run(&["volume", "create", "db", "--size", "1M"]).exits(0);
    std::fs::write(fixture.path("file"), b"mine").unwrap();
    fixture.run(&["volume", "serve", "web", "--socket", "file"]).exits(4).says(&["file", "--socket"]);
    assert_eq!(std::fs::read(fixture.path("file")).unwrap(), b"mine");
    let long = "x".repeat(150);
    fixture.run(&["volume", "serve", "web", "--socket", &long]).exits(2).says(&["bytes", "--socket"]);
    let server = Server::start(&fixture, &["web", "--socket", "nbd.sock"]);
    fixture.run(&["volume", "serve", "db", "--socket", "nbd.sock"]).exits(5).says(&["nbd.sock", "--socket"]);
    server.kill();
    // What a killed server left behind is in nobody's way.
    assert!(fixture.path("nbd.sock").exists() && fixture.path("repo/local/volumes/web/control").exists());
    assert_eq!(fixture.result(&["volume", "get", "web"])["volumes"][0]["served"], false);
    fixture.run(&["volume", "snapshot", "web", "--name", "after"]).exits(0);
    Server::start(&fixture, &["web", "--socket", "nbd.sock"]).stop();
    fixture.run(&["volume", "serve", "nope"]).exits(3).says(&["nope", "hint:"]);
    fixture.run(&["volume", "serve", "--snapshot", "nope"]).exits(3).says(&["nope"]);
}

#[test]
fn a_repository_deep_down_can_still_be_served_and_asked() {
    let fixture = Fixture::bare();
    let deep = fixture.path(&"deep/".repeat(30));
    std::fs::create_dir_all(&deep).unwrap();
    let repo = deep.join("repo");
    let program = || {
        let mut program = fixture.program();
        program.env("ICECORE_REPO", &repo);
        program
    };
    let run = |arguments: &[&str]| crate::support::finish(program().args(arguments));
    run(&["init"]).exits(0);
    run(&["volume", "create", "web", "--size", "1M"]).exits(0);
    run(&["volume", "serve", "web"]).exits(2).says(&["--socket"]);
    let server = Server::start_program(&mut program(), &["web", "--socket", "s"]);
    run(&["volume", "snapshot", "web", "--name", "one"]).exits(0);
    server.stop();
}

#[test]
fn what_is_only_read_is_not_written() {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let fixture = with_volume();
    let server = Server::start(&fixture, &["web", "--read-only", "--snapshot", "base"]);
    let refused = "
import errno
assert h.is_read_only()
h.set_strict_mode(0)
for change in [lambda: h.pwrite(b'x' * 4096, 0), lambda: h.zero(4096, 0), lambda: h.trim(4096, 0)]:
    try:
        change()
        assert False
    except nbd.Error as error:
        assert error.errnum == errno.EPERM, error
h.flush()
assert len(h.pread(4096, 0)) == 4096";
    tools::script(&server.uri("web"), refused);
    tools::script(&server.uri("snapshot:base"), refused);
    server.stop();
    fixture.run(&["volume", "export", "web", "web.raw"]).exits(0);
    fixture.assert_equal("web.raw", "disk.raw");
}

#[test]
fn a_client_gets_only_what_is_served() {
    if !tools::have(&["nbdinfo", "nbdcopy"]) {
        return;
    }
    let fixture = with_volume();
    fixture.run(&["volume", "create", "db", "--size", "1M"]).exits(0);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "two", "--volume", "other disk"]).exits(0);
    let export = |server: &Server, name: &str| format!("nbd+unix:///{name}?socket={}", server.address());
    let size = |uri: &str| tools::run("nbdinfo", &["--size", uri]);

    let server = Server::start(&fixture, &["web", "--snapshot", "base"]);
    for unknown in ["db", "nope", "", "snapshot:two", "snapshot:", "web/", "../web"] {
        let done = size(&export(&server, unknown));
        assert_ne!(done.code, 0, "{unknown}: {done:?}");
    }
    let listed = tools::works("nbdinfo", &["--list", "--json", &export(&server, "")]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let names: Vec<_> =
        listed["exports"].as_array().unwrap().iter().map(|it| it["export-name"].clone()).collect();
    assert_eq!(names, ["web", "snapshot:base"]);
    let copy = fixture.path("copy.raw");
    tools::works("nbdcopy", &[&server.uri("snapshot:base"), copy.to_str().unwrap()]);
    fixture.assert_equal("copy.raw", "disk.raw");
    server.stop();

    let server = Server::start(&fixture, &["--all-snapshots", "web"]);
    for spec in ["snapshot:base", "snapshot:other%20disk@latest", "snapshot:two", "web"] {
        assert_eq!(size(&export(&server, spec)).exits(0).out.trim(), "3146728", "{spec}");
    }
    assert_ne!(size(&export(&server, "snapshot:nope")).code, 0);
    // One that is made later is served too.
    fixture.run(&["volume", "snapshot", "web", "--name", "later"]).exits(0);
    size(&export(&server, "snapshot:later")).exits(0);
    server.stop();

    // The only one is the one without a name.
    let server = Server::start(&fixture, &["db"]);
    assert_eq!(size(&export(&server, "")).exits(0).out.trim(), "1048576");
    server.stop();
    // Without names, all volumes are served.
    let server = Server::start(&fixture, &[]);
    for name in ["db", "web"] {
        size(&server.uri(name)).exits(0);
    }
    server.stop();
}

#[test]
fn with_nothing_to_serve_it_says_what_to_make() {
    let fixture = Fixture::new();
    fixture.run(&["volume", "serve"]).exits(3).says(&["volume create"]);
}

#[test]
fn a_server_that_was_started_to_outlive_its_terminal_does() {
    let fixture = with_volume();
    let mut outliving = fixture.program_through("sh", &["-c", "trap '' HUP; exec \"$0\" \"$@\""]);
    let server = Server::start_program(&mut outliving, &["web"]);
    let hang_up = Command::new("kill").args(["-HUP", &server.id().to_string()]).status().unwrap();
    assert!(hang_up.success());
    fixture.run(&["volume", "snapshot", "web", "--name", "after"]).exits(0);
    server.stop();
}

#[test]
fn the_volumes_of_a_hard_linked_copy_are_not_written_and_everything_else_of_it_works() {
    let fixture = with_volume();
    let copied = Command::new("cp").arg("-al").args([fixture.path("repo"), fixture.path("copy")]).status();
    assert!(copied.unwrap().success());
    let of_copy = |arguments: &[&str]| fixture.run(&[&["--repo", "copy"], arguments].concat());
    for repo in ["repo", "copy"] {
        let of_repo = |arguments: &[&str]| fixture.run(&[&["--repo", repo], arguments].concat());
        of_repo(&["volume", "snapshot", "web"]).exits(5).says(&["hard link", "cp -a"]);
        of_repo(&["volume", "serve", "web"]).exits(5).says(&["hard link"]);
        assert!(of_repo(&["volume", "list"]).exits(0).out.contains("web"));
        of_repo(&["verify", "--read-data"]).exits(0);
    }
    // All else is replaced and never changed in place, so that each has its own.
    of_copy(&["snapshot", "create", "disk.raw", "--name", "of-copy", "--parent", "none"]).exits(0);
    of_copy(&["snapshot", "rename", "base", "renamed"]).exits(0);
    of_copy(&["gc"]).exits(0);
    of_copy(&["volume", "reset", "--force", "web"]).exits(0);
    of_copy(&["volume", "snapshot", "web"]).exits(0);
    fixture.run(&["snapshot", "get", "of-copy"]).exits(3);
    fixture.run(&["snapshot", "get", "base"]).exits(0);
    fixture.run(&["verify", "--read-data"]).exits(0);
    // What the message advises makes the other one work, too.
    disk::remove(&fixture.path("copy"));
    fixture.run(&["volume", "snapshot", "web"]).exits(0);
}

#[test]
fn what_was_written_is_there_after_a_signal_without_a_flush() {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let fixture = with_volume();
    let mut expected = std::fs::read(fixture.path("disk.raw")).unwrap();
    for (round, signal) in ["-TERM", "-INT", "-HUP"].iter().enumerate() {
        // Whoever runs the tests may have it ignored.
        let server =
            Server::start_program(&mut fixture.program_through("env", &["--default-signal=HUP"]), &["web"]);
        let (offset, bytes) = (123 + round * 1_000_000, noise(round as u64 + 20, 50_000));
        std::fs::write(fixture.path("bytes"), &bytes).unwrap();
        // It goes away without a word.
        let text = format!(
            "h.pwrite(open({:?}, 'rb').read(), {offset}); import os; os._exit(0)",
            fixture.path("bytes")
        );
        tools::script(&server.uri("web"), &text);
        server.stop_by(signal).says(&["48.8 KiB written"]);
        expected[offset..][..bytes.len()].copy_from_slice(&bytes);
    }
    fixture.run(&["volume", "export", "web", "web.raw"]).exits(0);
    assert!(std::fs::read(fixture.path("web.raw")).unwrap() == expected);
}

#[test]
fn a_snapshot_is_taken_while_a_volume_is_served() {
    if !tools::have(&["nbdsh", "nbdcopy"]) {
        return;
    }
    let fixture = with_volume();
    let server = Server::start(&fixture, &["web"]);
    let uri = server.uri("web");
    let mut models = vec![std::fs::read(fixture.path("disk.raw")).unwrap()];
    for round in 0..4_usize {
        let taken = fixture.result(&["volume", "snapshot", "web", "--name", &format!("s{round}")]);
        assert_eq!(taken["unchanged"], round == 0, "{taken}");
        tools::script(&uri, &format!("h.pwrite(bytes([{round} + 1]) * 10000, {round} * 500000 + 7)"));
        let mut next = models[round].clone();
        next[round * 500_000 + 7..][..10_000].fill(u8::try_from(round).unwrap() + 1);
        models.push(next);
    }
    fixture.run(&["volume", "snapshot", "web", "--name", "s1"]).exits(4).says(&["s1"]);
    fixture.run(&["volume", "snapshot", "web", "--tag", "a b,c"]).exits(2);
    for (round, model) in models.iter().enumerate().take(4) {
        let out = format!("s{round}.raw");
        fixture.run(&["restore", &format!("s{round}"), &out]).exits(0);
        assert!(std::fs::read(fixture.path(&out)).unwrap() == *model, "{round}");
    }
    tools::works("nbdcopy", &[&uri, fixture.path("now.raw").to_str().unwrap()]);
    assert!(std::fs::read(fixture.path("now.raw")).unwrap() == models[4]);
    server.stop();
    fixture.run(&["verify", "--read-data"]).exits(0);
}

#[test]
fn a_server_takes_as_many_connections_as_it_is_told_and_hundreds_where_it_is_not() {
    let fixture = with_volume();
    let greeted = |server: &Server| {
        let mut client = UnixStream::connect(server.address()).unwrap();
        let mut greeting = [0; 18];
        (client.read_exact(&mut greeting).is_ok(), client)
    };
    let server = Server::start(&fixture, &["web", "--connections", "2", "--cache", "1M"]);
    let clients: Vec<_> = (0..3).map(|_| greeted(&server)).collect();
    assert_eq!(clients.iter().map(|(is_greeted, _)| *is_greeted).collect::<Vec<_>>(), [true, true, false]);
    drop(clients);
    server.stop();
    let server = Server::start(&fixture, &["web"]);
    let clients: Vec<_> = (0..200).map(|_| greeted(&server)).collect();
    assert!(clients.iter().all(|(is_greeted, _)| *is_greeted));
    drop(clients);
    server.stop();
    for wrong in [["--connections", "0"], ["--cache", "much"]] {
        fixture.run(&["volume", "serve", "web", wrong[0], wrong[1]]).exits(2);
    }
}
