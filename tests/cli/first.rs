//! The first use of a place by two processes at once.

use std::process::Child;
use std::process::Stdio;

use crate::support::Fixture;
use crate::support::bare_program;
use crate::support::finish;

const RACES: usize = 10;

/// Starts two processes that do the same, and returns how both ended: exit code and stderr.
fn at_once(start: impl Fn(usize) -> Child) -> [(i32, String); 2] {
    [0, 1].map(start).map(|child| {
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
    })
}

#[test]
fn of_two_inits_at_once_one_makes_the_repository() {
    for _ in 0..RACES {
        let fixture = Fixture::bare();
        let ended = at_once(|_| fixture.program().arg("init").stderr(Stdio::piped()).spawn().unwrap());
        let mut codes = ended.each_ref().map(|(code, _)| *code);
        codes.sort_unstable();
        assert_eq!(codes, [0, 4], "{ended:?}");
        fixture.run(&["verify"]).exits(0);
        assert_eq!(std::fs::read_dir(fixture.path("repo/local/tmp")).unwrap().count(), 0);
    }
}

#[test]
fn of_two_first_snapshots_at_once_both_are_there() {
    for _ in 0..RACES {
        let fixture = Fixture::bare();
        let images = ["one.raw", "two.raw"];
        images.iter().zip(1..).for_each(|(image, seed)| fixture.image(image, seed * 10));
        let program = || bare_program(&fixture.path(""));
        let ended = at_once(|number| {
            let arguments = ["snapshot", "create", images[number], "--name", images[number]];
            program().args(arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
        });
        assert_eq!(ended.each_ref().map(|(code, _)| *code), [0, 0], "{ended:?}");
        finish(program().args(["verify", "--read-data"])).exits(0);
        for image in images {
            let restored = format!("{image}.back");
            finish(program().args(["restore", image, &restored])).exits(0);
            fixture.assert_equal(image, &restored);
        }
    }
}
