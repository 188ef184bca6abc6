//! A volume on a file system that is full: clients are told so, lose nothing that was flushed, and
//! go on once there is room.

use icecore_testing::disk;
use icecore_testing::disk::Disk;
use icecore_testing::disk::Kind;

use crate::support::Fixture;
use crate::support::finish;
use crate::support::noise;
use crate::volumes::server::Server;
use crate::volumes::tools;

/// Writes numbered blocks and flushes after each few, until there is no space. What was flushed
/// then is read back; what was written since is old or new. `AFTER` is a file that says what each
/// block may be.
const FILL: &str = "
import errno, random, struct
random.seed(3)
size = h.get_size()
may = {}
full = None
number = 0
while full is None:
    number += 1
    block = random.randrange(size // 4096)
    data = struct.pack('<Q', number) * 512
    may.setdefault(block, [bytes(4096)]).append(data)
    try:
        h.pwrite(data, block * 4096)
        if number % 8 == 0:
            h.flush()
            for old in may.values(): del old[:-1]
    except nbd.Error as error:
        full = error.errnum
    assert number < 5000
assert full == errno.ENOSPC, full
# It is said again, and reading goes on.
for block, old in may.items(): assert h.pread(4096, block * 4096) in old, block
import pickle
pickle.dump(may, open('AFTER', 'wb'))
";

/// Looks whether blocks are what they may be, and writes again.
const GO_ON: &str = "
import pickle
for block, old in pickle.load(open('AFTER', 'rb')).items(): assert h.pread(4096, block * 4096) in old, block
for block in range(200): h.pwrite(bytes([block]) * 4096, block * 4096)
h.flush()
for block in range(200): assert h.pread(4096, block * 4096) == bytes([block]) * 4096
";

/// Looks whether what was written is still there.
const THERE: &str = "for block in range(200): assert h.pread(4096, block * 4096) == bytes([block]) * 4096";

fn goes_on_after_it_was_full(kind: Kind) {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let Some(disk) = Disk::get(kind) else { return };
    let fixture = Fixture::bare();
    let repo = disk.path("repo");
    let program = || {
        let mut program = fixture.program();
        program.env("ICECORE_REPO", &repo);
        program
    };
    let run = |arguments: &[&str]| finish(program().args(arguments));
    let fill = |text: &str| text.replace("AFTER", fixture.path("after").to_str().unwrap());
    run(&["init"]).exits(0);
    run(&["volume", "create", "web", "--size", "64M"]).exits(0);
    let serve = || Server::start_program(&mut program(), &["web", "--socket", "s"]);
    for killed in [false, true] {
        let server = serve();
        disk.fill(400 << 10);
        tools::script(&server.uri("web"), &fill(FILL));
        // A snapshot has no room either, says so, and breaks nothing.
        let done = run(&["volume", "snapshot", "web", "--name", "full"]);
        assert!(done.code == 8 && done.err.contains("hint:"), "{done:?}");
        let server = if killed {
            server.kill();
            disk.drain();
            serve()
        } else {
            disk.drain();
            server
        };
        tools::script(&server.uri("web"), &fill(GO_ON));
        assert_eq!(server.end_by("-TERM").code, 0);
        let server = serve();
        tools::script(&server.uri("web"), THERE);
        run(&["volume", "snapshot", "web", "--name", &format!("killed {killed}")]).exits(0);
        server.stop();
        run(&["verify", "--read-data"]).exits(0);
        run(&["volume", "restore", "web", &format!("killed {killed}"), "--force"]).exits(0);
        run(&["volume", "delete", "web", "--force"]).exits(0);
        run(&["volume", "create", "web", "--size", "64M"]).exits(0);
    }
}

#[test]
fn a_full_ext4_loses_nothing_that_was_flushed() {
    goes_on_after_it_was_full(Kind { mib: 24, ..disk::EXT4 });
}

#[test]
fn other_full_file_systems_lose_nothing_that_was_flushed() {
    if super::rounds(1) > 1 {
        goes_on_after_it_was_full(disk::EXT4_JOURNAL);
        goes_on_after_it_was_full(disk::XFS);
        goes_on_after_it_was_full(disk::BTRFS);
    }
}

const WRITTEN: usize = 8 << 20;

/// Returns how many bytes are free where a path is.
fn free_bytes(path: &str) -> u64 {
    let said = tools::works("df", &["--output=avail", "-B1", path]);
    said.lines().last().unwrap().trim().parse().unwrap()
}

#[test]
fn snapshots_that_fail_on_a_full_disk_break_nothing_of_a_served_volume() {
    // After one, overwrites of what was written, flushes and trims failed until there was room.
    if !tools::have(&["qemu-io", "df"]) {
        return;
    }
    let Some(disk) = Disk::get(Kind { mib: 24, ..disk::EXT4 }) else { return };
    let fixture = Fixture::bare();
    let repo = disk.path("repo");
    let program = || {
        let mut program = fixture.program();
        program.env("ICECORE_REPO", &repo);
        program
    };
    let run = |arguments: &[&str]| finish(program().args(arguments));
    run(&["init"]).exits(0);
    run(&["volume", "create", "web", "--size", "64M"]).exits(0);
    let server = Server::start_program(&mut program(), &["web", "--socket", "s"]);
    let uri = server.uri("web");
    let io = |command: &str| tools::works("qemu-io", &["-f", "raw", "-t", "none", "-c", command, &uri]);
    let write = |seed: u64, at: usize| {
        let path = fixture.path(&format!("noise-{seed}"));
        std::fs::write(&path, noise(seed, WRITTEN)).unwrap();
        io(&format!("write -s {} {at} {}", path.display(), WRITTEN - at));
        io("flush");
        path
    };
    write(1, 0);
    // With little room it fails before it has another overlay to write to, and with more after
    // that.
    for (seed, room) in [(2, 100 << 10), (3, 500 << 10), (4, 2 << 20)] {
        disk.fill(room);
        let done = run(&["volume", "snapshot", "web", "--name", "full"]);
        assert!(done.code == 8 && done.err.contains("hint:") && !done.err.contains("reset"), "{done:?}");
        // What it wrote took the rest.
        disk.fill(0);
        write(seed, 0);
    }
    let free = free_bytes(disk.point.to_str().unwrap());
    io("discard 0 4M");
    io("flush");
    let given_back = free_bytes(disk.point.to_str().unwrap()) - free;
    assert!(given_back > 3 << 20, "a trim gave back {given_back} bytes");
    disk.fill(0);
    let last = write(6, 4 << 20);
    server.kill();
    disk.drain();
    run(&["gc"]).exits(0);
    run(&["volume", "snapshot", "web", "--name", "whole"]).exits(0);
    run(&["verify", "--read-data"]).exits(0);
    run(&["restore", "whole", "whole.raw"]).exits(0);
    let restored = std::fs::read(fixture.path("whole.raw")).unwrap();
    let mut wanted = vec![0; 4 << 20];
    wanted.extend(&std::fs::read(last).unwrap()[..4 << 20]);
    assert!(restored[..WRITTEN] == wanted, "the snapshot is another image");
    assert!(restored[WRITTEN..].iter().all(|byte| *byte == 0));
}
