use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::Arc;

use icecore::repository::MasterKey;
use icecore::repository::RepositoryId;
use uuid::Uuid;

use super::*;
use crate::keys::identity;
use crate::keys::words::Ask;

/// Little work, so that tests are fast.
const QUICK: u8 = 4;

fn content() -> SlotContent {
    let master = std::array::from_fn(|at| u8::try_from(at).unwrap());
    SlotContent { repository: RepositoryId(Uuid::from_u128(7)), master: MasterKey::new(&master) }
}

fn assert_is_content(opened: Result<Option<SlotContent>>) {
    let opened = opened.unwrap().expect("it opens");
    assert_eq!(opened.repository, content().repository);
    assert_eq!(opened.master.expose(), content().master.expose());
}

fn password(text: &str) -> Credential {
    Credential::Password(SecretString::from(text))
}

fn quick_slot() -> Vec<u8> {
    password_slot(&content(), &SecretString::from("open sesame"), QUICK).unwrap()
}

/// A file of the directory with the keys of these tests.
fn key(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sealing/keys").join(name)
}

fn identity(name: &str) -> Credential {
    identity::read(&key(name), None).unwrap()
}

fn public(name: &str) -> String {
    let text = std::fs::read_to_string(key(name)).unwrap();
    match text.split_once("# public key: ") {
        Some((_, rest)) => rest.lines().next().unwrap().to_owned(),
        None => std::fs::read_to_string(key(&format!("{name}.pub"))).unwrap(),
    }
}

#[test]
fn a_password_opens_its_slot_and_nothing_else_does() {
    let slot = quick_slot();
    assert_is_content(open_slot(&slot, &password("open sesame")));
    assert!(open_slot(&slot, &password("open sesamf")).unwrap().is_none());
    assert!(open_slot(&slot, &password("")).unwrap().is_none());
    assert!(open_slot(&slot, &identity("age")).unwrap().is_none());
    let error = password_slot(&content(), &SecretString::from(""), QUICK).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn each_kind_of_key_opens_the_slots_made_for_it() {
    let names = ["age", "ed25519", "rsa"];
    for name in names {
        let slot = new_recipient_slot(&content(), &[&public(name)]).unwrap();
        for other in names {
            let opened = open_slot(&slot, &identity(other));
            if other == name {
                assert_is_content(opened);
            } else {
                assert!(opened.unwrap().is_none(), "{other} opens what is for {name}");
            }
        }
        assert!(open_slot(&slot, &password("open sesame")).unwrap().is_none());
    }
    let all = names.map(public);
    let slot = new_recipient_slot(&content(), &all.each_ref().map(String::as_str)).unwrap();
    names.into_iter().for_each(|name| assert_is_content(open_slot(&slot, &identity(name))));
}

#[test]
fn a_protected_ssh_key_asks_for_its_password() {
    let slot = new_recipient_slot(&content(), &[&public("ed25519-protected")]).unwrap();
    let answer = |text: &'static str| -> Ask { Arc::new(move |_| Ok(SecretString::from(text))) };
    let open = |ask| open_slot(&slot, &identity::read(&key("ed25519-protected"), ask).unwrap());
    assert_is_content(open(Some(answer("open sesame"))));
    let error = open(Some(answer("wrong"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(open(None).unwrap().is_none(), "without a terminal it opens nothing");
}

#[test]
fn what_is_no_public_key_is_refused_and_a_private_one_not_shown() {
    let private = std::fs::read_to_string(key("age")).unwrap();
    let private = private.lines().last().unwrap();
    for text in [private, "", "age1", "ssh-ed25519", "ssh-rsa AAAA", &public("ecdsa")] {
        let error = new_recipient_slot(&content(), &[text]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        assert!(!format!("{error:?}").contains("SECRET"), "{error}");
    }
    assert_eq!(new_recipient_slot(&content(), &[]).unwrap_err().kind(), ErrorKind::InvalidInput, "no keys");
    let plugin = "age1nosuchplugin1qqqqqqqqqqqqqqqqq42zpj2";
    let error = new_recipient_slot(&content(), &[plugin]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput), "{error}");
}

#[test]
fn no_damage_gives_another_key() {
    let slots = [
        (quick_slot(), password("open sesame")),
        (new_recipient_slot(&content(), &[&public("age")]).unwrap(), identity("age")),
    ];
    for (slot, unlock) in slots {
        for at in 0..slot.len() {
            for mask in [0x01, 0x80] {
                let mut changed = slot.clone();
                changed[at] ^= mask;
                // Damage in the front may look like a wrong password.
                assert!(!matches!(open_slot(&changed, &unlock), Ok(Some(_))), "byte {at}");
            }
            assert!(!matches!(open_slot(&slot[..at], &unlock), Ok(Some(_))), "{at} bytes");
        }
        assert!(open_slot(&[&slot[..], &[0]].concat(), &unlock).is_err(), "one byte more");
    }
}

#[test]
fn a_slot_that_wants_hours_of_work_is_refused() {
    let slot = quick_slot();
    let at = slot.windows(3).position(|part| part == b" 4\n").unwrap();
    let slot = [&slot[..at], b" 40\n", &slot[at + 3..]].concat();
    let error = open_slot(&slot, &password("open sesame")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[test]
fn nothing_is_printed_of_what_opens_a_slot() {
    assert_eq!(format!("{:?} {:?}", password("open sesame"), identity("age")), "Password Identities");
}

// The emergency way: without icecore, the program `age` gives the master key.

/// Tells whether the program `age` is there. Says so if it is not.
#[expect(clippy::print_stderr, reason = "a test that was skipped must say so")]
fn has_age() -> bool {
    let there = Command::new("age").arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped: there is no program `age`");
    }
    there
}

/// Runs `age` on a terminal, where somebody types `typed`.
fn age_on_a_terminal(arguments: &str, typed: &str) -> Output {
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command", &format!("age {arguments}"), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    script.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    script.wait_with_output().unwrap()
}

fn assert_holds_the_key(file: &Path) {
    let bytes = std::fs::read(file).unwrap();
    assert_eq!(bytes[bytes.len() - 32..], *content().master.expose());
}

#[test]
fn the_program_age_opens_our_slots() {
    if !has_age() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (slot, out) = (dir.path().join("slot"), dir.path().join("out"));
    let names = format!("--output {} {}", out.display(), slot.display());

    std::fs::write(&slot, new_password_slot(&content(), &SecretString::from("open sesame")).unwrap())
        .unwrap();
    let said = age_on_a_terminal(&format!("--decrypt {names}"), "open sesame\n");
    assert!(said.status.success(), "{said:?}");
    assert_holds_the_key(&out);

    for name in ["age", "ed25519", "rsa"] {
        std::fs::write(&slot, new_recipient_slot(&content(), &[&public(name)]).unwrap()).unwrap();
        let identity = key(name);
        let said =
            Command::new("age").args(["--decrypt", "--identity"]).arg(identity).arg(&slot).output().unwrap();
        assert!(said.status.success(), "{said:?}");
        assert_eq!(said.stdout, *content().encode());
    }
}

#[test]
fn slots_that_the_program_age_made_are_opened() {
    if !has_age() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (slot, plain) = (dir.path().join("slot"), dir.path().join("plain"));
    let names = format!("--output {} {}", slot.display(), plain.display());
    std::fs::write(&plain, &*content().encode()).unwrap();

    let said = age_on_a_terminal(&format!("--encrypt --passphrase {names}"), "open sesame\nopen sesame\n");
    assert!(said.status.success(), "{said:?}");
    assert_is_content(open_slot(&std::fs::read(&slot).unwrap(), &password("open sesame")));

    for name in ["age", "ed25519", "rsa"] {
        let said = Command::new("age")
            .args(["--encrypt", "--recipient", public(name).trim()])
            .arg(&plain)
            .output()
            .unwrap();
        assert!(said.status.success(), "{said:?}");
        assert_is_content(open_slot(&said.stdout, &identity(name)));
    }
}
