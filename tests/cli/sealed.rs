//! The life of a sealed repository, its keys, and the way out without icecore.

use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;

use crate::hostile::tree;
use crate::passwords::detached;
use crate::passwords::key;
use crate::support::Fixture;
use crate::support::noise;
use crate::volumes::server::Server;
use crate::volumes::tools::have;
use crate::volumes::tools::script;

fn key_ids(fixture: &Fixture) -> Vec<String> {
    let list = fixture.result(&["key", "list"]);
    list["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_sealed_repository_lives_as_a_plain_one_does() {
    let mut fixture = Fixture::sealed();
    fixture.image("disk.raw", 1);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(0);
    fixture.run(&["parity", "3+1"]).exits(0);
    fixture.scribble("disk.raw", 8192, 4096);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "next"]).exits(0);
    fixture.run(&["restore", "next", "next.raw"]).exits(0);
    fixture.assert_equal("disk.raw", "next.raw");

    fixture.run(&["volume", "create", "web", "--snapshot", "next"]).exits(0);
    if have(&["nbdsh"]) {
        let server = Server::start(&fixture, &["web"]);
        script(&server.uri("web"), "h.pwrite(b'x' * 4096, 65536); h.flush()");
        fixture.run(&["volume", "snapshot", "web", "--name", "written"]).exits(0);
        server.stop();
        fixture.run(&["volume", "export", "web", "web.raw"]).exits(0);
        let exported = std::fs::read(fixture.path("web.raw")).unwrap();
        assert!(exported[65536..65536 + 4096].iter().all(|byte| *byte == b'x'));
        fixture.run(&["restore", "written", "written.raw"]).exits(0);
        fixture.assert_equal("web.raw", "written.raw");
    }
    fixture.run(&["volume", "delete", "--force", "web"]).exits(0);

    fixture.run(&["snapshot", "prune", "--keep-last", "1", "--of", "disk", "--force"]).exits(0);
    fixture.run(&["key", "rotate"]).exits(0);
    fixture.run(&["gc", "--reseal", "--max-unused", "0%"]).exits(0);
    fixture.run(&["verify", "--read-data"]).exits(0);
    assert!(fixture.run(&["gc", "--reseal"]).exits(0).out.contains("0 packs"));

    // A lost pack comes back from parity, and a lost slot from its copy.
    std::fs::remove_file(fixture.data_pack()).unwrap();
    std::fs::remove_file(only_file(&fixture.path("repo/keys"))).unwrap();
    assert!(fixture.run(&["key", "list"]).exits(1).out.contains("one copy"));
    fixture.run(&["verify"]).exits(1);
    fixture.run(&["repair", "catalog"]).exits(1);
    fixture.run(&["repair", "packs"]).exits(1);
    fixture.run(&["repair", "index"]).exits(0);
    fixture.run(&["repair", "snapshots"]).exits(0);
    fixture.run(&["verify", "--read-data"]).exits(0);
    fixture.run(&["restore", "next", "again.raw"]).exits(0);
    fixture.assert_equal("disk.raw", "again.raw");
    fixture.run(&["stats"]).exits(0);
    fixture.run(&["key", "list"]).exits(0);
    fixture.unset("ICECORE_PASSWORD_FILE");
    detached(&fixture, &["restore", "next", "nothing.raw"]).exits(10);
}

fn only_file(dir: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(dir).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none(), "{}", dir.display());
    file
}

#[test]
fn snapshots_are_copied_between_repositories_with_different_passwords_and_plain_ones() {
    let mut fixture = Fixture::sealed();
    fixture.image("disk.raw", 1);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(0);
    fixture.run(&["--repo", "plain", "init", "--no-seal"]).exits(0);
    fixture.set("ICECORE_PASSWORD", "other");
    fixture.set("ICECORE_PASSWORD_FILE", "");
    fixture.run(&["--repo", "sealed", "init"]).exits(0);
    fixture.unset("ICECORE_PASSWORD");
    fixture.set("ICECORE_PASSWORD_FILE", fixture.path("password"));

    let says = ["the password is wrong", "sealed", "hint: "];
    fixture.run(&["snapshot", "copy", "base", "--to", "sealed"]).exits(10).says(&says);
    fixture.set("ICECORE_TO_PASSWORD", "wrong");
    fixture.run(&["snapshot", "copy", "base", "--to", "sealed"]).exits(10).says(&says);
    fixture.set("ICECORE_TO_PASSWORD", "other");
    let quiet = fixture.run(&["snapshot", "copy", "base", "--to", "sealed"]).exits(0);
    assert!(!quiet.err.contains("warning"), "{quiet:?}");
    fixture.unset("ICECORE_TO_PASSWORD");
    // What is sealed gets out of its seal with a warning, and what is plain into one without.
    let says = ["warning: ICECORE_PASSWORD_FILE is set", "plain is plain"];
    fixture.run(&["snapshot", "copy", "base", "--to", "plain"]).exits(0).says(&says);
    fixture.set("ICECORE_PASSWORD_FILE", "");
    fixture.set("ICECORE_TO_PASSWORD_FILE", fixture.path("password"));
    let quiet = fixture.run(&["--repo", "plain", "snapshot", "copy", "base", "--to", "repo"]).exits(0);
    assert!(quiet.out.contains("is already there") && !quiet.err.contains("warning"), "{quiet:?}");

    fixture.run(&["--repo", "plain", "restore", "base", "of-plain.raw"]).exits(0);
    fixture.assert_equal("disk.raw", "of-plain.raw");
    fixture.set("ICECORE_PASSWORD", "other");
    fixture.run(&["--repo", "sealed", "restore", "base", "of-sealed.raw"]).exits(0);
    fixture.assert_equal("disk.raw", "of-sealed.raw");
}

#[test]
fn each_key_opens_until_it_is_removed_and_the_last_one_stays() {
    let mut fixture = Fixture::sealed();
    let first = key_ids(&fixture).remove(0);
    fixture.set("ICECORE_NEW_PASSWORD", "second");
    fixture.run(&["key", "add"]).exits(0);
    let public = key("ed25519.pub");
    let file = public.to_str().unwrap();
    fixture.run(&["key", "add", "--recipients-file", file, "-r", AGE]).exits(0);
    let list = fixture.result(&["key", "list"]);
    let of = |name: &str| -> Vec<Value> {
        list["keys"].as_array().unwrap().iter().map(|key| key[name].clone()).collect()
    };
    assert_eq!(of("kind"), ["password", "password", "X25519", "ssh-ed25519"]);
    assert_eq!(of("state"), ["sound"; 4]);
    assert!(of("created").iter().all(Value::is_string));

    fixture.unset("ICECORE_PASSWORD_FILE");
    fixture.set("ICECORE_PASSWORD", "second");
    detached(&fixture, &["key", "remove", &first]).exits(2).says(&["--force"]);
    fixture.run(&["key", "remove", "--force", "nothing"]).exits(3).says(&["\"nothing\"", "key list"]);
    fixture.run(&["key", "remove", "--force", &first[..3]]).exits(3).says(&["at least 4"]);
    fixture.run(&["key", "remove", "--force", &first]).exits(0);
    fixture.unset("ICECORE_PASSWORD");
    fixture.set("ICECORE_PASSWORD_FILE", fixture.path("password"));
    fixture.run(&["stats"]).exits(10);
    fixture.unset("ICECORE_PASSWORD_FILE");
    fixture.set("ICECORE_IDENTITY", key("ed25519"));
    fixture.run(&["key", "change-password"]).exits(2).says(&["an identity opens", "hint: "]);
    for id in &key_ids(&fixture)[..2] {
        fixture.run(&["key", "remove", "--force", id]).exits(0);
    }
    let last = key_ids(&fixture);
    fixture.run(&["key", "remove", "--force", &last[0]]).exits(2).says(&["no sound key slot", "hint: "]);
    fixture.run(&["stats"]).exits(0);
}

/// The public key of `tests/sealing/keys/age`.
const AGE: &str = "age13mmyqv72l5uhe4xy34j2ns8wt5673v4z86vngnxz3r6d85txryyqtuc3wh";

#[test]
fn what_is_no_public_key_adds_nothing() {
    let fixture = Fixture::sealed();
    std::fs::write(fixture.path("mixed"), format!("# two\n{AGE}\nnonsense\n")).unwrap();
    std::fs::write(fixture.path("empty"), "# none\n").unwrap();
    let private = key("ed25519");
    let identity = std::fs::read_to_string(key("age")).unwrap();
    let identity = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY")).unwrap();
    for (arguments, code, says) in [
        (["--recipients-file", "mixed"], 2, "not a public key"),
        (["--recipients-file", "empty"], 2, "empty has no public key"),
        (["--recipients-file", private.to_str().unwrap()], 2, "has a private key"),
        (["--recipients-file", "nowhere"], 3, "nowhere"),
        (["--recipient", "nonsense"], 2, "not a public key"),
        (["--recipient", identity], 2, "not a public key"),
    ] {
        let done = fixture.run(&[&["key", "add"][..], &arguments].concat()).exits(code).says(&[says]);
        assert!(!done.err.contains(identity), "{done:?}");
    }
    assert_eq!(key_ids(&fixture).len(), 1);
    detached(&fixture, &["key", "add"]).exits(10).says(&["ICECORE_NEW_PASSWORD_FILE"]);
}

/// With a key slot, `age` and BLAKE3, and nothing of icecore, the master key comes out and proves the
/// config, and so the repository can be read with docs/format.md.
#[test]
fn the_program_age_brings_the_master_key_out_of_a_real_repository() {
    if !have(&["age", "script"]) {
        return;
    }
    let fixture = Fixture::sealed();
    let password_slot = only_file(&fixture.path("repo/keys"));
    fixture.run(&["key", "add", "--recipients-file", key("ed25519.pub").to_str().unwrap()]).exits(0);
    let slots = std::fs::read_dir(fixture.path("repo/keys")).unwrap().map(|slot| slot.unwrap().path());
    let ssh_slot = slots.into_iter().find(|slot| *slot != password_slot).unwrap();

    let mut age = Command::new("age");
    let done = age.args(["--decrypt", "--identity"]).arg(key("ed25519")).arg(ssh_slot).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let by_ssh = done.stdout;
    let out = fixture.path("out");
    let command = format!("age --decrypt --output {} {}", out.display(), password_slot.display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"open sesame\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(std::fs::read(out).unwrap(), by_ssh);

    let master = by_ssh.last_chunk::<32>().unwrap();
    let id_key = blake3::derive_key("icecore 2026-11-30 id key", master);
    let record_key = blake3::derive_key("icecore 2026-11-24 record", &id_key);
    let config = std::fs::read(fixture.path("repo/config")).unwrap();
    let (covered, checksum) = config.split_last_chunk::<32>().unwrap();
    assert_eq!(blake3::keyed_hash(&record_key, covered).as_bytes(), checksum);
}

#[test]
fn nothing_of_an_image_or_of_its_names_is_in_the_directory() {
    let fixture = Fixture::sealed();
    let text = noise(5, 200_000).iter().map(|byte| char::from(b'a' + byte % 16)).collect::<String>();
    std::fs::write(fixture.path("disk.raw"), &text).unwrap();
    let create = ["snapshot", "create", "disk.raw", "--name", "the-name-of-it", "--tag", "the-tag-of-it"];
    fixture.run(&[&create[..], &["--droplet", "the-machine"]].concat()).exits(0);
    fixture.run(&["volume", "create", "the-volume-name", "--snapshot", "the-name-of-it"]).exits(0);
    let words = ["the-name-of-it", "the-tag-of-it", "the-machine", "the-volume-name", &text[40_000..40_016]];
    for (path, (_, bytes)) in tree(&fixture.path("repo")) {
        for word in words {
            assert!(!path.to_string_lossy().contains(word), "{}", path.display());
            assert!(
                !bytes.windows(word.len()).any(|part| part == word.as_bytes()),
                "{word} in {}",
                path.display()
            );
        }
    }
}
