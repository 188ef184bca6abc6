//! Ends a program from outside while it works.

use std::io::Read;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use crate::support::Done;

/// How a program ended.
pub(crate) enum Ended {
    /// By itself.
    Alone(Done),
    /// It was killed, and what it said is not known.
    Killed,
}

/// When a program is killed: once it has made so many calls that read or write, and was looked at
/// so many times after that. How far it gets between two looks is not determined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) calls: u64,
    pub(crate) looks: u64,
}

/// Runs a program, and kills it at a moment, if one is given and it does not end before.
pub(crate) fn run_and_kill(program: &mut Command, moment: Option<Moment>) -> Ended {
    let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What it says fits into a pipe, but for diffs: read beside it.
    let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let status = match moment {
        None => child.wait().unwrap(),
        Some(moment) => wait_or_kill(&mut child, moment),
    };
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    match status.code() {
        Some(code) => Ended::Alone(Done { code, out, err }),
        None => {
            use std::os::unix::process::ExitStatusExt;
            assert_eq!((status.signal(), moment.is_some()), (Some(9), true), "{out} {err}");
            Ended::Killed
        }
    }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.unwrap().read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    })
}

fn wait_or_kill(child: &mut Child, moment: Moment) -> std::process::ExitStatus {
    let path = format!("/proc/{}/io", child.id());
    let mut looks = 0;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        // Not readable once it has ended.
        let counts = std::fs::read_to_string(&path).unwrap_or_default();
        let count = |name: &str| {
            let line = counts.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        looks += u64::from(count("syscr:") + count("syscw:") >= moment.calls);
        if looks > moment.looks {
            // It may have ended meanwhile.
            let _ = child.kill();
            return child.wait().unwrap();
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_program_that_does_not_end_is_killed_and_one_that_does_is_heard() {
    let at_once = Some(Moment { calls: 0, looks: 0 });
    assert!(matches!(run_and_kill(Command::new("sleep").arg("600"), at_once), Ended::Killed));
    let Ended::Alone(done) = run_and_kill(Command::new("echo").arg("text"), None) else { panic!("killed") };
    assert_eq!((done.code, done.out.as_str()), (0, "text\n"));
}
