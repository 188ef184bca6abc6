//! Servers that are killed: what was flushed is there, and what was not is old or new.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Child;
use std::process::Stdio;

use crate::killing::Moment;
use crate::killing::run_and_kill;
use crate::support::Fixture;
use crate::support::noise;
use crate::volumes::server::Server;
use crate::volumes::tools;

/// So many blocks are written to.
const BLOCKS: usize = 64;
const SIZE: usize = 4 << 20;

/// Writes numbered blocks until its server is gone. It says what it does before it does it: `w
/// BLOCK NUMBER` before a write is sent, `z BLOCK NUMBER` before a zeroing, `f` after a flush was
/// answered, `F BLOCK NUMBER` after a write with FUA was answered.
const WRITER: &str = "
import os, random, struct, sys
random.seed(SEED)
def say(*words): os.write(1, (' '.join(map(str, words)) + '\\n').encode())
number = FIRST
try:
    while True:
        for _ in range(random.randrange(1, 12)):
            number += 1
            block, at, kind = random.randrange(BLOCKS), None, random.randrange(8)
            data = struct.pack('<Q', number) * (4096 // 8)
            if kind == 0:
                say('z', block, 0); h.zero(4096, block * 4096)
            elif kind == 1:
                say('w', block, number); h.pwrite(data, block * 4096, nbd.CMD_FLAG_FUA); say('F', block, number)
            elif kind == 2:
                # Two requests under way at once, of two blocks.
                other = (block + 1) % BLOCKS
                say('w', block, number); say('w', other, number)
                one = h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)), block * 4096)
                two = h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)), other * 4096)
                for cookie in [one, two]:
                    while not h.aio_command_completed(cookie): h.poll(-1)
            else:
                say('w', block, number); h.pwrite(data, block * 4096)
        h.flush(); say('f')
except nbd.Error as error:
    say('end')
";

/// What a block may contain: what was there at the last flush, or anything that was written since.
#[derive(Clone)]
struct Model(Vec<Vec<u64>>);

impl Model {
    fn apply(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "w" | "z" => self.0[usize::try_from(number(1)).unwrap()].push(number(2)),
            // One write of one block is under way at a time, so that this one is the last.
            "F" => self.0[usize::try_from(number(1)).unwrap()] = vec![number(2)],
            "f" => self.0.iter_mut().for_each(|may| *may = vec![*may.last().unwrap()]),
            _ => {}
        }
    }

    /// Fails unless an image is one of those that it may be; from then on, it is that one.
    fn check(&mut self, image: &Path, at: &str) {
        let image = std::fs::read(image).unwrap();
        assert_eq!(image.len(), SIZE);
        for (block, may) in self.0.iter_mut().enumerate() {
            let bytes = &image[block * 4096..][..4096];
            let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            assert!(bytes.chunks(8).all(|part| part == &bytes[..8]), "{at}: block {block} is torn");
            assert!(may.contains(&number), "{at}: block {block} has {number}, and may have {may:?}");
            *may = vec![number];
        }
        assert!(image[BLOCKS * 4096..].iter().all(|byte| *byte == 0), "{at}");
    }
}

/// A client that writes; each line that it says is taken into the model.
struct Writer {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Writer {
    fn start(uri: &str, seed: u64, first: u64) -> Self {
        let text = WRITER
            .replace("SEED", &seed.to_string())
            .replace("FIRST", &first.to_string())
            .replace("BLOCKS", &BLOCKS.to_string());
        let mut nbdsh = tools::tool("nbdsh");
        let mut child = nbdsh.args(["-u", uri, "-c", &text]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Takes over so many lines.
    fn follow(&mut self, model: &mut Model, count: u64) {
        for _ in 0..count {
            model.apply(&self.lines.next().unwrap().unwrap());
        }
    }

    /// Takes over all that is left, after its server has ended.
    fn end(mut self, model: &mut Model) {
        for line in self.lines {
            model.apply(&line.unwrap());
        }
        self.child.wait().unwrap();
    }
}

fn start() -> (Fixture, Model) {
    let fixture = Fixture::new();
    let mut image = vec![0; SIZE];
    for block in 0..BLOCKS / 2 {
        image[block * 4096..][..4096].copy_from_slice(&(block as u64 + 1).to_le_bytes().repeat(512));
    }
    std::fs::write(fixture.path("disk.raw"), &image).unwrap();
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(0);
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    let first = |block: usize| vec![if block < BLOCKS / 2 { block as u64 + 1 } else { 0 }];
    (fixture, Model((0..BLOCKS).map(first).collect()))
}

fn check(fixture: &Fixture, model: &mut Model, at: &str) {
    fixture.run(&["volume", "export", "web", "web.raw", "--force"]).exits(0);
    model.check(&fixture.path("web.raw"), at);
}

#[test]
fn what_was_flushed_survives_a_killed_server() {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let (fixture, mut model) = start();
    for round in 0..super::rounds(6) {
        let server = Server::start(&fixture, &["web"]);
        let mut writer = Writer::start(&server.uri("web"), round, 1000 * 1000 * (round + 1));
        writer.follow(&mut model, 1 + (round * 37) % 150);
        server.kill();
        writer.end(&mut model);
        check(&fixture, &mut model, &format!("round {round}"));
    }
    // It goes on as if nothing had been.
    fixture.run(&["volume", "snapshot", "web", "--name", "after"]).exits(0);
    fixture.run(&["restore", "after", "after.raw"]).exits(0);
    fixture.assert_equal("after.raw", "web.raw");
    fixture.run(&["verify", "--read-data"]).exits(0);
}

#[test]
fn a_server_that_is_killed_during_a_snapshot_loses_nothing() {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let (fixture, mut model) = start();
    for round in 0..super::rounds(6) {
        let server = Server::start(&fixture, &["web"]);
        let mut writer = Writer::start(&server.uri("web"), 100 + round, 1000 * 1000 * (round + 1));
        writer.follow(&mut model, 40);
        // The command asks the server, which is killed while it works on that, early or late.
        let name = format!("s{round}");
        let mut asking = fixture.program();
        asking
            .args(["volume", "snapshot", "web", "--name", &name])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let asking = asking.spawn().unwrap();
        writer.follow(&mut model, round * 5);
        server.kill();
        let asked = asking.wait_with_output().unwrap();
        writer.end(&mut model);
        check(&fixture, &mut model, &format!("round {round}"));
        if asked.status.success() {
            fixture.run(&["snapshot", "get", &name]).exits(0);
        }
        fixture.run(&["verify", "--read-data"]).exits(0);
        let next = format!("next{round}");
        fixture.run(&["volume", "snapshot", "web", "--name", &next]).exits(0);
        fixture.run(&["restore", &next, "next.raw", "--force"]).exits(0);
        fixture.assert_equal("next.raw", "web.raw");
    }
}

#[test]
fn commands_that_are_killed_leave_a_volume_as_it_was_or_as_it_will_be() {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    super::commands::write(&fixture, "web", 10_000, &noise(5, 200_000));
    fixture.run(&["volume", "export", "web", "written.raw"]).exits(0);
    fixture.run(&["volume", "create", "kept", "--snapshot", "base"]).exits(0);
    let content = |name: &str| {
        fixture.run(&["volume", "export", name, "now.raw", "--force"]).exits(0);
        std::fs::read(fixture.path("now.raw")).unwrap()
    };
    let (before, after) = (content("web"), content("kept"));
    for calls in (0..super::rounds(8)).map(|round| 20 + round * 25) {
        let moment = Some(Moment { calls, looks: 0 });
        let name = format!("s{calls}");
        run_and_kill(fixture.program().args(["volume", "snapshot", "web", "--name", &name]), moment);
        assert!(content("web") == before, "{calls}");
        fixture.run(&["verify", "--read-data"]).exits(0);
        run_and_kill(fixture.program().args(["volume", "create", "new", "--snapshot", "base"]), moment);
        let listed = fixture.result(&["volume", "list"]);
        if listed["volumes"].as_array().unwrap().iter().any(|it| it["name"] == "new") {
            assert!(content("new") == after, "{calls}");
            run_and_kill(fixture.program().args(["volume", "delete", "new", "--force"]), moment);
        }
        // Whatever is left of it, it can be made.
        fixture.run(&["volume", "delete", "new", "--force"]);
        fixture.run(&["volume", "create", "new", "--snapshot", "base"]).exits(0);
        fixture.run(&["volume", "delete", "new", "--force"]).exits(0);
        fixture.run(&["volume", "restore", "kept", "base", "--force"]).exits(0);
        run_and_kill(fixture.program().args(["volume", "reset", "kept", "--force"]), moment);
        assert!(content("kept") == after, "{calls}");
    }
    fixture.run(&["volume", "snapshot", "web", "--name", "last"]).exits(0);
    fixture.run(&["restore", "last", "last.raw"]).exits(0);
    fixture.assert_equal("last.raw", "written.raw");
    fixture.run(&["gc"]).exits(0);
    fixture.run(&["verify", "--read-data"]).exits(0);
}
