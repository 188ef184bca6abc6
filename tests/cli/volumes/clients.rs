//! Programs that others have written for NBD.

use std::path::Path;

use serde_json::Value;

use crate::support::Fixture;
use crate::support::IMAGE_BYTES;
use crate::support::noise;
use crate::volumes::server::Server;
use crate::volumes::tools;
use crate::volumes::tools::works;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A place with one volume of a snapshot, and its server.
fn served() -> (Fixture, Server) {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    let server = Server::start(&fixture, &["web"]);
    (fixture, server)
}

/// Returns for each block whether its flags in a map of `nbdinfo` are such.
fn blocks_in_map(map: &str, is: impl Fn(u64) -> bool) -> Vec<bool> {
    let map: Value = serde_json::from_str(map).unwrap();
    let mut blocks = vec![false; usize::try_from(IMAGE_BYTES.div_ceil(4096)).unwrap()];
    let mut next = 0;
    for extent in map.as_array().unwrap() {
        let (offset, length) = (extent["offset"].as_u64().unwrap(), extent["length"].as_u64().unwrap());
        assert_eq!(offset, next, "{map}");
        next = offset + length;
        let range = usize::try_from(offset / 4096).unwrap()..usize::try_from(next.div_ceil(4096)).unwrap();
        blocks[range].fill(is(extent["type"].as_u64().unwrap()));
    }
    assert_eq!(next, IMAGE_BYTES);
    blocks
}

#[test]
fn maps_of_nbdinfo_agree_with_a_model() {
    if !tools::have(&["nbdinfo", "nbdsh"]) {
        return;
    }
    let (fixture, server) = served();
    let uri = server.uri("web");
    let mut model = std::fs::read(fixture.path("disk.raw")).unwrap();
    let mut dirty = vec![false; model.len().div_ceil(4096)];
    let about: Value = serde_json::from_str(&works("nbdinfo", &["--json", &uri])).unwrap();
    assert_eq!(about["exports"][0]["export-size"], IMAGE_BYTES);
    for round in 0..6_usize {
        let (at, len) = (round * 460_000 + 1000, 3000 + round * 9000);
        let change = if round % 2 == 0 { "h.pwrite(b'a' * LEN, AT)" } else { "h.zero(LEN, AT)" };
        tools::script(&uri, &change.replace("LEN", &len.to_string()).replace("AT", &at.to_string()));
        for block in at / 4096..(at + len).div_ceil(4096) {
            // A whole block of zeros stays what it is when it is zeroed.
            let whole = at <= block * 4096 && (block + 1) * 4096 <= at + len;
            let was_zero = model[block * 4096..][..4096].iter().all(|byte| *byte == 0);
            dirty[block] |= round % 2 == 0 || !whole || !was_zero;
        }
        model[at..at + len].fill(if round % 2 == 0 { b'a' } else { 0 });
        let told = works("nbdinfo", &["--json", "--map=icecore:dirty", &uri]);
        assert!(blocks_in_map(&told, |flags| flags == 1) == dirty, "{round}: {told}");
        let told = works("nbdinfo", &["--json", "--map=base:allocation", &uri]);
        let holes = blocks_in_map(&told, |flags| flags & 2 != 0);
        for (block, bytes) in model.chunks(4096).enumerate() {
            // What is said to be zero is, and what this repository knows to be zero is said to be.
            assert!(!holes[block] || bytes.iter().all(|byte| *byte == 0), "{round}: {block}");
        }
        assert!(holes.iter().filter(|hole| **hole).count() > 100, "{round}");
    }
    fixture.run(&["volume", "snapshot", "web", "--name", "one"]).exits(0);
    let told = works("nbdinfo", &["--json", "--map=icecore:dirty", &uri]);
    assert!(!blocks_in_map(&told, |flags| flags == 1).contains(&true), "nothing was written since");
    server.stop();
}

#[test]
fn nbdcopy_copies_both_ways() {
    if !tools::have(&["nbdcopy", "cmp"]) {
        return;
    }
    let (fixture, server) = served();
    let uri = server.uri("web");
    let (out, new) = (fixture.path("out.raw"), fixture.path("new.raw"));
    works("nbdcopy", &[&uri, text(&out)]);
    works("cmp", &[text(&out), text(&fixture.path("disk.raw"))]);
    fixture.image("new.raw", 70);
    works("nbdcopy", &["--flush", text(&new), &uri]);
    works("nbdcopy", &["--connections=4", "--allocated", &uri, text(&out)]);
    works("cmp", &[text(&out), text(&new)]);
    // One volume to another, and the snapshot that is below both is as it was.
    fixture.run(&["volume", "create", "copy", "--size", &IMAGE_BYTES.to_string()]).exits(0);
    let other = Server::start(&fixture, &["copy", "--snapshot", "base"]);
    works("nbdcopy", &[&uri, &other.uri("copy")]);
    works("nbdcopy", &[&other.uri("copy"), text(&out)]);
    works("cmp", &[text(&out), text(&new)]);
    works("nbdcopy", &[&other.uri("snapshot:base"), text(&out)]);
    works("cmp", &[text(&out), text(&fixture.path("disk.raw"))]);
    other.stop();
    server.stop();
}

#[test]
fn qemu_img_and_qemu_io_agree_with_the_image() {
    if !tools::have(&["qemu-img", "qemu-io"]) {
        return;
    }
    let fixture = Fixture::bare();
    fixture.run(&["init"]).exits(0);
    std::fs::write(fixture.path("disk.raw"), noise(4, 2 << 20)).unwrap();
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(0);
    fixture.run(&["volume", "create", "web", "--snapshot", "base", "--size", "8M"]).exits(0);
    let server = Server::start(&fixture, &["web"]);
    let uri = server.uri("web");
    let (disk, out) = (fixture.path("disk.raw"), fixture.path("out.qcow2"));
    std::fs::File::options().write(true).open(&disk).unwrap().set_len(8 << 20).unwrap();
    let about: Value = serde_json::from_str(&works("qemu-img", &["info", "--output=json", &uri])).unwrap();
    assert_eq!(about["virtual-size"], 8 << 20);
    works("qemu-img", &["compare", "-f", "raw", "-F", "raw", &uri, text(&disk)]);
    let io = |commands: &[&str]| {
        let mut arguments = vec!["-f", "raw"];
        commands.iter().for_each(|command| arguments.extend(["-c", *command]));
        let told = works("qemu-io", &[&arguments[..], &[&uri]].concat());
        assert!(!told.contains("fail"), "{told}");
        // The same on a plain file.
        let last = arguments.len();
        arguments.resize(last, "");
        works("qemu-io", &[&arguments[..], &[text(&disk)]].concat());
    };
    io(&[
        "write -P 0x11 0 64k",
        "write -P 0x22 5000 3000",
        "flush",
        "read -P 0x11 0 5000",
        "read -P 0x22 5000 3000",
    ]);
    io(&[
        "write -f -P 0x33 3M 1M",
        "write -z 128k 256k",
        "write -z -u 1M 128k",
        "flush",
        "read -P 0 128k 256k",
    ]);
    io(&[
        "read -P 0 1M 128k",
        "read -P 0x33 3M 1M",
        "aio_write -P 0x44 6M 64k",
        "aio_flush",
        "read -P 0x44 6M 64k",
    ]);
    works(
        "qemu-io",
        &["-f", "raw", "-d", "unmap", "-c", "discard 3M 1M", "-c", "flush", "-c", "read -P 0 3M 1M", &uri],
    );
    works("qemu-io", &["-f", "raw", "-c", "write -z 3M 1M", text(&disk)]);
    works("qemu-img", &["compare", "-f", "raw", "-F", "raw", &uri, text(&disk)]);
    let map: Value =
        serde_json::from_str(&works("qemu-img", &["map", "--output=json", "-f", "raw", &uri])).unwrap();
    let at = |offset: u64| {
        let start = |it: &&Value| it["start"].as_u64().unwrap() <= offset;
        map.as_array().unwrap().iter().rfind(start).unwrap()["data"].as_bool().unwrap()
    };
    let data = [0, 1 << 20, 3 << 20, 6 << 20, 7 << 20].map(at);
    assert_eq!(data, [true, false, false, true, false], "{map}");
    works("qemu-img", &["convert", "-O", "qcow2", &uri, text(&out)]);
    works("qemu-img", &["compare", text(&out), &uri]);
    // Back, onto what is not the same.
    works("qemu-io", &["-f", "raw", "-c", "write -P 0x55 0 8M", &uri]);
    works("qemu-img", &["convert", "-n", "-O", "raw", text(&out), &uri]);
    works("qemu-img", &["compare", "-f", "raw", "-F", "raw", &uri, text(&disk)]);
    server.stop();
    fixture.run(&["volume", "export", "web", "web.raw"]).exits(0);
    fixture.assert_equal("web.raw", "disk.raw");
}

#[test]
fn fio_verifies_what_it_writes() {
    if !tools::have(&["fio"]) || !works("fio", &["--enghelp"]).contains("nbd") {
        return;
    }
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "web", "--snapshot", "base", "--size", "64M"]).exits(0);
    let server = Server::start(&fixture, &["web"]);
    let uri = format!("--uri={}", server.uri("web"));
    let io = format!("{}M", 4 * super::rounds(1));
    let run = |arguments: &[&str]| {
        let shared =
            ["--name=x", "--ioengine=nbd", "--thread=1", &uri, "--verify_fatal=1", "--group_reporting"];
        let mut fio = tools::tool("fio");
        // It leaves files where it is started.
        let done = crate::support::finish(fio.current_dir(fixture.path("")).args(shared).args(arguments));
        assert!(done.code == 0 && done.out.contains("err= 0"), "{arguments:?}: {done:?}");
    };
    let io_size = format!("--io_size={io}");
    run(&["--rw=randwrite", "--bs=4k", "--iodepth=16", "--size=16M", &io_size, "--verify=crc32c"]);
    run(&[
        "--rw=randrw",
        "--bs=512-64k",
        "--iodepth=8",
        "--size=16M",
        &io_size,
        "--verify=crc32c",
        "--fsync=32",
    ]);
    let jobs = ["--numjobs=4", "--offset_increment=16M", "--size=16M"];
    run(&[&jobs[..], &["--rw=randwrite", "--bs=4k-128k", "--iodepth=4", &io_size, "--verify=crc32c"]]
        .concat());
    run(&["--rw=write", "--bs=1M", "--iodepth=4", "--size=64M", "--verify=crc32c"]);
    fixture.run(&["volume", "snapshot", "web", "--name", "one"]).exits(0);
    // The snapshot has what was written, and a clone of it shows that.
    fixture.run(&["volume", "create", "clone", "--snapshot", "one"]).exits(0);
    let clone = Server::start(&fixture, &["clone"]);
    let uri = format!("--uri={}", clone.uri("clone"));
    let arguments =
        ["--rw=write", "--bs=1M", "--iodepth=4", "--size=64M", "--verify=crc32c", "--verify_only=1"];
    let shared = ["--name=x", "--ioengine=nbd", "--thread=1", &uri, "--verify_fatal=1"];
    let mut fio = tools::tool("fio");
    crate::support::finish(fio.current_dir(fixture.path("")).args(shared).args(arguments)).exits(0);
    clone.stop();
    server.stop();
}

#[test]
fn clones_of_one_snapshot_never_see_each_other() {
    if !tools::have(&["nbdsh", "nbdcopy"]) {
        return;
    }
    let fixture = Fixture::with_snapshot();
    for name in ["one", "two"] {
        fixture.run(&["volume", "create", name, "--snapshot", "base"]).exits(0);
    }
    let server = Server::start(&fixture, &["--snapshot", "base", "one", "two"]);
    let text = format!(
        "
import random
random.seed(9)
base = open({:?}, 'rb').read()
models = dict(one=bytearray(base), two=bytearray(base))
clones = {{name: nbd.NBD() for name in models}}
clones['one'].connect_uri({:?}); clones['two'].connect_uri({:?})
h.connect_uri({:?})
for n in range(120):
    name = random.choice(['one', 'two'])
    at = random.randrange(len(base)); length = min(random.choice([100, 4096, 40000]), len(base) - at)
    if n % 6 == 5: clones[name].zero(length, at); data = bytes(length)
    else: data = random.randbytes(length); clones[name].pwrite(data, at)
    models[name][at:at + length] = data
    for other in models: assert clones[other].pread(length, at) == models[other][at:at + length]
    if n % 20 == 19:
        for other in models: assert clones[other].pread(len(base), 0) == models[other]
        assert h.pread(len(base), 0) == base
for name in models: open({:?} + '/' + name + '.model', 'wb').write(models[name])",
        fixture.path("disk.raw"),
        server.uri("one"),
        server.uri("two"),
        server.uri("snapshot:base"),
        fixture.path("")
    );
    works("nbdsh", &["-c", &text]);
    // A snapshot of one changes neither.
    fixture.run(&["volume", "snapshot", "one", "--name", "of one"]).exits(0);
    server.stop();
    for name in ["one", "two"] {
        fixture.run(&["volume", "export", name, name]).exits(0);
        fixture.assert_equal(name, &format!("{name}.model"));
    }
    fixture.run(&["restore", "of one", "restored.raw"]).exits(0);
    fixture.assert_equal("restored.raw", "one.model");
    fixture.run(&["restore", "base", "base.raw"]).exits(0);
    fixture.assert_equal("base.raw", "disk.raw");
}
