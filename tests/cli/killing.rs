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

/// Runs a program, and kills it once it has read and written as often as `calls`, if that is given. It is looked at again
/// and again while it runs: how many calls more it makes before the signal comes is not determined.
pub(crate) fn run_and_kill(program: &mut Command, calls: Option<u64>) -> Ended {
    let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What it says fits into a pipe, but for diffs: read beside it.
    let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let status = match calls {
        None => child.wait().unwrap(),
        Some(calls) => wait_or_kill(&mut child, calls),
    };
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    match status.code() {
        Some(code) => Ended::Alone(Done { code, out, err }),
        None => {
            use std::os::unix::process::ExitStatusExt;
            assert_eq!((status.signal(), calls.is_some()), (Some(9), true), "{out} {err}");
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

fn wait_or_kill(child: &mut Child, calls: u64) -> std::process::ExitStatus {
    let path = format!("/proc/{}/io", child.id());
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
        if count("syscr:") + count("syscw:") >= calls {
            // It may have ended meanwhile.
            let _ = child.kill();
            return child.wait().unwrap();
        }
        std::thread::yield_now();
    }
}
