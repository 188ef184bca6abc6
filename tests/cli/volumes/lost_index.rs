//! An index run that becomes unreadable while it is used: one request fails, and nothing else.

use std::fs::File;

use crate::support::Fixture;
use crate::volumes::server::Server;
use crate::volumes::tools;

/// Empties all index runs of a repository: whoever reads one that is mapped gets a SIGBUS.
fn empty_runs(fixture: &Fixture) {
    let runs: Vec<_> = std::fs::read_dir(fixture.path("repo/index")).unwrap().collect();
    assert!(!runs.is_empty());
    for run in runs {
        File::options().write(true).open(run.unwrap().path()).unwrap().set_len(0).unwrap();
    }
}

#[test]
fn a_server_outlives_an_index_that_was_lost_and_goes_on_once_it_is_made_again() {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let fixture = Fixture::with_snapshot();
    for name in ["web", "other"] {
        fixture.run(&["volume", "create", name, "--snapshot", "base"]).exits(0);
    }
    let server = Server::start(&fixture, &["web", "other"]);
    tools::script(&server.uri("other"), "h.pwrite(b'x' * 4096, 0); h.flush()");
    empty_runs(&fixture);
    let script = "
import errno
for _ in range(2):
    try:
        h.pread(65536, 65536)
        raise AssertionError('it was read')
    except nbd.Error as error:
        assert error.errnum == errno.EIO, error
";
    tools::script(&server.uri("web"), script);
    tools::script(
        &server.uri("other"),
        "assert h.pread(4096, 0) == b'x' * 4096; h.pwrite(b'y' * 4096, 4096); h.flush()",
    );
    let told = fixture.run(&["verify"]).exits(1);
    assert!(told.out.contains("index run") && told.out.contains("icecore repair index"), "{told:?}");
    fixture.run(&["repair", "index"]).exits(0);
    let image = fixture.path("disk.raw");
    tools::script(
        &server.uri("web"),
        &format!("assert h.pread(300000, 0) == open({image:?}, 'rb').read(300000)"),
    );
    let done = server.stop();
    assert!(done.err.contains("index"), "{done:?}");
    fixture.run(&["verify", "--read-data"]).exits(0);
}
