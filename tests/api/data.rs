//! What is on the disks: compared byte for byte through NBD, by programs of others.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

use icecore::snapshot::ResourceKind;
use serde_json::Value;
use serde_json::json;

use crate::contract::disk;
use crate::contract::droplet;
use crate::contract::id;
use crate::contract::repository;
use crate::contract::snapshot;
use crate::contract::volume;
use crate::support::Server;
use crate::support::USUAL;
use crate::tools::copy;
use crate::tools::gib;
use crate::tools::have;
use crate::tools::nbdsh;
use crate::tools::real_image;
use crate::tools::same;
use crate::tools::uri;
use crate::tools::works;
use crate::tools::write_image;

/// Makes a volume of a snapshot.
fn clone(server: &Server, name: &str, of: &Value) -> Value {
    let body = json!({"name": name, "snapshot_id": of["id"], "size_gigabytes": 4096, "region": ""});
    server.post("/v2/volumes", &body).expect(201)["volume"].take()
}

/// A script of `nbdsh` that runs beside the test, and talks to it line by line.
struct Script {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Script {
    fn start(uri: &str, text: &str) -> Self {
        let mut command = Command::new("nbdsh");
        command.env("PATH", "/usr/bin:/bin").args(["-u", uri, "-c", text]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn works(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn a_volume_of_a_snapshot_has_every_byte_of_it_and_its_size() {
    if !have(&["nbdcopy", "qemu-img", "qemu-io", "nbdsh", "mkfs.ext4", "e2fsck"]) {
        return;
    }
    let server = Server::start();
    let image = real_image(server.dir.path(), 512);
    let source = volume(&server, "source", &json!({"size_gigabytes": gib(&image)}));
    write_image(&image, &uri(&source));
    let taken = snapshot(&server, &source, "first");
    assert_eq!(taken["min_disk_size"], gib(&image));
    let of_first = clone(&server, "of-first", &taken);
    assert_eq!(
        (&of_first["size_gigabytes"], &of_first["region"]["slug"]),
        (&json!(gib(&image)), &json!("here"))
    );
    same(&image, &uri(&of_first));
    // A snapshot of little more is as large as all that is in it, and costs nothing to say so.
    nbdsh(&uri(&source), "h.zero(1 << 20, 600 << 20)");
    let first = snapshot(&server, &source, "second");
    works("qemu-io", &["-f", "raw", "-c", "write -P 7 600M 1M", &uri(&source)]);
    let second = snapshot(&server, &source, "third");
    let grown = second["size_gigabytes"].as_f64().unwrap() - first["size_gigabytes"].as_f64().unwrap();
    assert!((grown - 1.0 / 1024.0).abs() < 2e-4, "{grown}");
    let data = works("qemu-img", &["map", "--output=json", "-f", "raw", &uri(&of_first)]);
    let data: Value = serde_json::from_str(&data).unwrap();
    let extents = data.as_array().unwrap().iter().filter(|extent| extent["zero"] == false);
    let bytes: f64 = extents.map(|extent| extent["length"].as_f64().unwrap()).sum();
    let said = taken["size_gigabytes"].as_f64().unwrap() * f64::from(1 << 30);
    assert!(said > 0.0 && said <= bytes + 1e5 && said > bytes * 0.5, "{said} of {bytes}");
    // What is written to a clone is of nobody else.
    works("qemu-io", &["-f", "raw", "-c", "write -P 9 0 8M", &uri(&of_first)]);
    let again = clone(&server, "again", &taken);
    same(&image, &uri(&again));
    copy(&uri(&again), &server.dir.path().join("copy.raw"));
    works("e2fsck", &["-fn", server.dir.path().join("copy.raw").to_str().unwrap()]);
    nbdsh(&uri(&source), "assert h.pread(1 << 20, 600 << 20) == b'\\7' * (1 << 20)");
}

#[test]
fn a_volume_grows_while_it_is_used() {
    if !have(&["nbdsh"]) {
        return;
    }
    let server = Server::start();
    let made = volume(&server, "data", &json!({}));
    let text = "h.pwrite(b'a' * 4096, (1 << 30) - 4096)\nprint('ready', flush=True)\ninput()\n\
        assert h.get_size() == 1 << 30\nh.pwrite(b'b' * 4096, 0)\nh.flush()";
    let mut user = Script::start(&uri(&made), text);
    assert_eq!(user.line(), "ready");
    let resize = json!({"type": "resize", "size_gigabytes": 3});
    server.post(&format!("/v2/volumes/{}/actions", id(&made)), &resize).expect(202);
    user.say("go on");
    user.works();
    let taken = snapshot(&server, &made, "grown");
    assert_eq!(taken["min_disk_size"], 3);
    let check = "assert h.get_size() == 3 << 30\nassert h.pread(4096, 0) == b'b' * 4096\n\
        assert h.pread(8192, (1 << 30) - 4096) == b'a' * 4096 + bytes(4096)\nh.pwrite(b'c' * 512, (3 << 30) - 512)";
    nbdsh(&uri(&made), check);
    nbdsh(&uri(&clone(&server, "of-it", &taken)), check);
}

/// Returns how many writes of a writer a disk shows, if it shows those and none that came after
/// them.
fn writes_shown(image: &Path, blocks: u64) -> u64 {
    let bytes = std::fs::read(image).unwrap();
    let shown: Vec<u64> = bytes
        .chunks(4096)
        .take(usize::try_from(blocks).unwrap())
        .map(|block| {
            let words: Vec<_> =
                block.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
            assert!(words.iter().all(|word| *word == words[0]), "half of a write");
            words[0]
        })
        .collect();
    let last = shown.iter().copied().max().unwrap();
    for (block, value) in (0..blocks).zip(shown) {
        // Write number n goes to block n % blocks.
        let expected = (last.saturating_sub(blocks - 1)..=last).find(|n| n % blocks == block).unwrap_or(0);
        assert_eq!(value, expected, "block {block} of a disk whose last write is {last}");
    }
    last
}

#[test]
fn snapshots_while_a_client_writes_are_each_of_one_moment() {
    const BLOCKS: u64 = 700;
    if !have(&["nbdsh", "nbdcopy"]) {
        return;
    }
    let server = Server::start();
    let made = volume(&server, "busy", &json!({}));
    let stop = server.dir.path().join("stop");
    let text = format!(
        "import os, struct\nn = 0\nwhile not os.path.exists({stop:?}) and n < 5000000:\n n += 1\n \
         h.pwrite(struct.pack('<Q', n) * 512, n % {BLOCKS} * 4096)\n if n == 2000: print('ready', flush=True)\nprint(n)"
    );
    let mut writer = Script::start(&uri(&made), &text);
    assert_eq!(writer.line(), "ready");
    let taken: Vec<Value> = (0..3).map(|n| snapshot(&server, &made, &format!("s{n}"))).collect();
    std::fs::write(&stop, "").unwrap();
    let all: u64 = writer.line().parse().unwrap();
    writer.works();
    let mut before = 2000;
    for (n, taken) in taken.iter().enumerate() {
        let copied = server.dir.path().join("copy.raw");
        copy(&uri(&clone(&server, &format!("of-{n}"), taken)), &copied);
        let shown = writes_shown(&copied, BLOCKS);
        assert!((before..=all).contains(&shown), "{shown} after {before} of {all}");
        before = shown;
    }
    let copied = server.dir.path().join("last.raw");
    copy(&uri(&made), &copied);
    assert_eq!(writes_shown(&copied, BLOCKS), all, "and the volume lost nothing");
}

#[test]
fn what_a_clone_shows_stays_when_all_that_it_came_from_goes() {
    if !have(&["nbdsh", "qemu-img", "mkfs.ext4"]) {
        return;
    }
    let server = Server::start();
    let image = real_image(server.dir.path(), 128);
    let source = volume(&server, "source", &json!({"size_gigabytes": gib(&image)}));
    write_image(&image, &uri(&source));
    let taken = snapshot(&server, &source, "first");
    let made = clone(&server, "clone", &taken);
    let text = format!(
        "image = open({:?}, 'rb').read()\nassert h.pread(1 << 20, 0) == image[:1 << 20]\nprint('ready', flush=True)\n\
         input()\nfor at in range(0, len(image), 1 << 20): assert h.pread(1 << 20, at) == image[at:at + (1 << 20)], at\n\
         h.pwrite(b'x' * 4096, 4096)\nh.flush()",
        image.to_str().unwrap()
    );
    let mut user = Script::start(&uri(&made), &text);
    assert_eq!(user.line(), "ready");
    server.delete(&format!("/v2/snapshots/{}", id(&taken))).expect(204);
    server.delete(&format!("/v2/volumes/{}", id(&source))).expect(204);
    gc(&server);
    user.say("go on");
    user.works();
    let last = snapshot(&server, &made, "of the clone");
    server.delete(&format!("/v2/volumes/{}", id(&made))).expect(204);
    gc(&server);
    let again = clone(&server, "again", &last);
    nbdsh(
        &uri(&again),
        "assert h.pread(4096, 4096) == b'x' * 4096\nh.pwrite(open(IMAGE, 'rb').read()[4096:8192], 4096)"
            .replace("IMAGE", &format!("{:?}", image.to_str().unwrap()))
            .as_str(),
    );
    same(&image, &uri(&again));
}

/// Gives back what nobody needs, beside the server.
fn gc(server: &Server) {
    let repo = repository(server, "here");
    let options = icecore::maintenance::gc::GcOptions::new(0.0);
    let plan = icecore::maintenance::gc::plan(&repo, &options, &icecore::NoProgress).unwrap();
    icecore::maintenance::gc::apply(&repo, plan, &icecore::NoProgress).unwrap();
}

#[test]
fn a_deleted_disk_is_gone_for_those_who_use_it() {
    if !have(&["nbdsh"]) {
        return;
    }
    let server = Server::start();
    let made = volume(&server, "data", &json!({}));
    let text = "h.pread(512, 0)\nprint('ready', flush=True)\ninput()\ntry:\n h.pread(512, 0)\n raise SystemExit('it reads')\n\
        except nbd.Error: pass";
    let mut user = Script::start(&uri(&made), text);
    assert_eq!(user.line(), "ready");
    server.delete(&format!("/v2/volumes/{}", id(&made))).expect(204);
    user.say("go on");
    user.works();
}

#[test]
fn new_volumes_have_the_file_system_that_was_asked_for() {
    if !have(&["nbdsh", "nbdcopy", "mkfs.ext4", "e2fsck", "mkfs.xfs", "xfs_repair"]) {
        return;
    }
    let server = Server::start();
    let system = |name: &str, kind: &str, label: &str, gib: u64| {
        let more = json!({"filesystem_type": kind, "filesystem_label": label, "size_gigabytes": gib});
        let made = volume(&server, name, &more);
        assert_eq!((&made["filesystem_type"], &made["filesystem_label"]), (&json!(kind), &json!(label)));
        made
    };
    let copied = server.dir.path().join("copy.raw");
    let ext4 = system("ext", "ext4", "sixteen-bytes-16", 1);
    copy(&uri(&ext4), &copied);
    works("e2fsck", &["-fn", copied.to_str().unwrap()]);
    nbdsh(&uri(&ext4), "assert h.pread(16, 1024 + 120) == b'sixteen-bytes-16'");
    let xfs = system("xfs", "xfs", "twelve-bytes", 1);
    copy(&uri(&xfs), &copied);
    works("xfs_repair", &["-n", "-f", copied.to_str().unwrap()]);
    nbdsh(&uri(&xfs), "assert h.pread(4, 0) == b'XFSB' and h.pread(12, 108) == b'twelve-bytes'");
    // As large as can be: only what is written takes room and time.
    let nearly = (16_384_u64 << 30) - (2 << 20);
    let large = system("ext-16t", "ext4", "", 16_384);
    let text = "import struct\ns = h.pread(1024, 1024)\nassert s[56:58] == b'\\x53\\xef'\n\
        blocks = struct.unpack_from('<I', s, 4)[0] + (struct.unpack_from('<I', s, 0x150)[0] << 32)\n\
        assert NEARLY <= blocks * 4096 <= 16384 << 30";
    nbdsh(&uri(&large), &text.replace("NEARLY", &nearly.to_string()));
    let large = system("xfs-16t", "xfs", "", 16_384);
    let text = "import struct\ns = h.pread(512, 0)\nassert s[:4] == b'XFSB'\n\
        assert NEARLY <= struct.unpack_from('>Q', s, 8)[0] * 4096 <= 16384 << 30";
    nbdsh(&uri(&large), &text.replace("NEARLY", &nearly.to_string()));
    assert_eq!(
        std::fs::read_dir(server.dir.path().join("state/tmp")).unwrap().count(),
        0,
        "nothing is left behind"
    );
    // A volume of a snapshot has the file system of that, and is not formatted.
    let taken = snapshot(&server, &ext4, "s");
    let body = |system: &str| json!({"name": "of-it", "snapshot_id": id(&taken), "filesystem_type": system});
    server.post("/v2/volumes", &body("xfs")).expect(422);
    let of_it = server.post("/v2/volumes", &body("ext4")).expect(201)["volume"].take();
    assert_eq!(
        (&of_it["filesystem_type"], &of_it["filesystem_label"]),
        (&json!("ext4"), &json!("sixteen-bytes-16"))
    );
    nbdsh(&uri(&of_it), "assert h.pread(16, 1024 + 120) == b'sixteen-bytes-16'");
}

#[test]
fn a_lost_database_is_made_again_from_the_repositories() {
    let mut server = Server::start();
    droplet(&server, "here", 1);
    let data = volume(&server, "data", &json!({"tags": ["Web", "db"], "description": "of the shop"}));
    volume(&server, "other", &json!({"region": "there"}));
    let path = format!("/v2/volumes/{}", id(&data));
    server.post(&format!("{path}/actions"), &json!({"type": "attach", "droplet_id": 1})).expect(202);
    let body = json!({"name": "s", "tags": ["keep"]});
    server.post(&format!("{path}/snapshots"), &body).expect(201);
    let dead = volume(&server, "dead", &json!({}));
    snapshot(&server, &dead, "of what is gone");
    server.delete(&format!("/v2/volumes/{}", id(&dead))).expect(204);
    let everything = |server: &Server| {
        ["/v2/volumes", "/v2/snapshots", "/v2/tags"]
            .map(|path| server.get(path).expect(200).to_string().replace(&server.address.to_string(), "HOST"))
    };
    let before = everything(&server);
    assert!(before[0].contains("\"droplet_ids\":[1]"));
    server.stop();
    for file in std::fs::read_dir(server.dir.path().join("state")).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("icecore.sqlite") {
            std::fs::remove_file(path).unwrap();
        }
    }
    // One that has no number yet, and whose account comes first, gets none that is noted.
    let repo = repository(&server, "here");
    let noted = disk(&repo, "of-bob", ResourceKind::Droplet, &[("account", "bob"), ("number", "2")]);
    let labels = [("account", "bob"), ("attached-to", &noted.id.to_string())];
    disk(&repo, "bobs", ResourceKind::Volume, &labels);
    disk(&repo, "new", ResourceKind::Droplet, &[("account", "ann")]);
    let again = Server::start_in(server.dir.clone(), USUAL);
    assert_eq!(everything(&again), before);
    let bobs = again.send("GET", "/v2/volumes", Some(&again.token_of("bob")), None).expect(200);
    assert_eq!(bobs["volumes"][0]["droplet_ids"], json!([2]));
    let spelt = volume(&again, "spelt", &json!({"tags": ["WEB"]}));
    assert_eq!(spelt["tags"], json!(["Web"]), "the first spelling is still that");
    let attach = json!({"type": "detach", "droplet_id": 1});
    again.post(&format!("{path}/actions"), &attach).expect(202);
}

#[test]
fn what_was_not_finished_goes_at_the_next_start() {
    let mut server = Server::start();
    let labels = [("account", "ann"), ("unfinished", "yes")];
    disk(&repository(&server, "here"), "half", ResourceKind::Volume, &labels);
    assert_eq!(server.get("/v2/volumes").expect(200)["volumes"], json!([]));
    let body = json!({"name": "half", "region": "here", "size_gigabytes": 1});
    assert_eq!(server.post("/v2/volumes", &body).status, 409, "somebody is making one of that name");
    let tmp = server.dir.path().join("state/tmp");
    server.stop();
    std::fs::create_dir_all(&tmp).unwrap();
    std::fs::write(tmp.join("left"), "x").unwrap();
    let again = Server::start_in(server.dir.clone(), USUAL);
    assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
    again.post("/v2/volumes", &body).expect(201);
}
