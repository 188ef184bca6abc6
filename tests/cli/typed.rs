//! Passwords typed on a terminal.

use std::io::Read;
use std::io::Write;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Stdio;

use crate::support::Fixture;

const CONTROL_C: &str = "\u{3}";

/// The program on a terminal, and who sits there.
struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: ChildStdout,
    shown: String,
}

impl Terminal {
    fn start(fixture: &Fixture, arguments: &str) -> Self {
        let on_terminal = "exec script --quiet --return --command \"$1 $0\" /dev/null";
        let mut script = fixture.program_through("sh", &["-c", on_terminal, arguments]);
        let mut child =
            script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (keyboard, screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, keyboard, screen, shown: String::new() }
    }

    /// Waits until the screen ends with this question, and types an answer.
    #[track_caller]
    fn answers(mut self, question: &str, typed: &str) -> Self {
        while !self.shown.ends_with(question) {
            let mut byte = [0];
            let read = self.screen.read(&mut byte).unwrap();
            assert_eq!(read, 1, "{question:?} was not asked: {}", self.shown);
            self.shown.push(char::from(byte[0]));
        }
        self.keyboard.write_all(typed.as_bytes()).unwrap();
        self
    }

    /// Waits for the end. Returns the exit code, and all that was shown.
    fn ends(mut self) -> (i32, String) {
        self.screen.read_to_string(&mut self.shown).unwrap();
        drop(self.keyboard);
        (self.child.wait().unwrap().code().unwrap(), self.shown)
    }
}

#[test]
fn a_new_password_is_asked_for_twice_and_later_once_and_never_shown() {
    let fixture = Fixture::bare();
    let asked = format!("New password of the repository in {}: ", fixture.path("repo").display());
    let terminal = Terminal::start(&fixture, "init --seal");
    let terminal =
        terminal.answers(&asked, "swordfish\n").answers("The same password again: ", "swordfish\n");
    let (code, shown) = terminal.ends();
    assert!(code == 0 && shown.contains("it is sealed") && !shown.contains("swordfish"), "{code} {shown}");

    let asked = format!("Password of the repository in {}: ", fixture.path("repo").display());
    let (code, shown) = Terminal::start(&fixture, "key list").answers(&asked, "swordfish\n").ends();
    assert!(code == 0 && shown.contains("sound") && !shown.contains("swordfish"), "{code} {shown}");
    let (code, shown) = Terminal::start(&fixture, "key list").answers(&asked, "sawfish\n").ends();
    assert!(code == 10 && shown.contains("the password is wrong"), "{code} {shown}");
}

#[test]
fn two_passwords_that_differ_make_no_repository() {
    let fixture = Fixture::bare();
    let terminal = Terminal::start(&fixture, "init --seal");
    let terminal = terminal.answers("New password of the repository in ", "");
    let terminal = terminal.answers("repo: ", "one\n").answers("again: ", "other\n");
    let (code, shown) = terminal.ends();
    assert!(code == 2 && shown.contains("not the same"), "{code} {shown}");
    assert!(!fixture.path("repo/config").exists());
}

#[test]
fn control_c_at_the_question_ends_the_program_and_changes_nothing() {
    let fixture = Fixture::bare();
    let (code, shown) = Terminal::start(&fixture, "init --seal").answers("repo: ", CONTROL_C).ends();
    assert!(code == 130 && shown.contains("no password was typed"), "{code} {shown}");
    assert!(!fixture.path("repo/config").exists());

    let mut fixture = Fixture::sealed();
    fixture.unset("ICECORE_PASSWORD_FILE");
    let (code, shown) = Terminal::start(&fixture, "gc").answers("repo: ", CONTROL_C).ends();
    assert!(code == 130 && shown.contains("no password was typed"), "{code} {shown}");
}

#[test]
fn a_changed_password_is_asked_for_once_and_the_new_one_twice() {
    let mut fixture = Fixture::sealed();
    fixture.unset("ICECORE_PASSWORD_FILE");
    let terminal =
        Terminal::start(&fixture, "key change-password").answers("Password of the repository in ", "");
    let terminal =
        terminal.answers("repo: ", "open sesame\n").answers("New password of the repository in ", "");
    let terminal =
        terminal.answers("repo: ", "swordfish\n").answers("The same password again: ", "swordfish\n");
    let (code, shown) = terminal.ends();
    assert!(code == 0 && shown.contains("changed the password"), "{code} {shown}");
    fixture.set("ICECORE_PASSWORD", "swordfish");
    fixture.run(&["stats"]).exits(0);
    fixture.set("ICECORE_PASSWORD", "open sesame");
    fixture.run(&["stats"]).exits(10);
}
