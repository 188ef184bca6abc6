//! Pipes, streams and manners.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::process::Stdio;

use crate::support::Fixture;

/// Starts a command, reads `len` bytes of its output, goes away, and returns how it ended.
fn read_a_little(fixture: &Fixture, arguments: &[&str], len: usize) -> (Option<i32>, String) {
    let mut child =
        fixture.program().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut vec![0; len]).unwrap();
    drop(out);
    let done = child.wait_with_output().unwrap();
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

#[test]
fn a_reader_of_a_list_that_goes_away_is_not_an_error() {
    let fixture = Fixture::with_snapshot();
    for arguments in [&["-o", "json", "snapshot", "list"][..], &["completions", "bash"], &["--help"]] {
        assert_eq!(read_a_little(&fixture, arguments, 10), (Some(0), String::new()), "{arguments:?}");
    }
}

/// With a consumer that dies, a backup that goes through a pipe ended with 0 and without a word.
#[test]
fn an_image_that_was_not_delivered_is_an_error() {
    let fixture = Fixture::with_snapshot();
    for arguments in [&["restore", "base", "-"][..], &["restore", "--keep-going", "base", "-"]] {
        for len in [0, 10, 1 << 20] {
            let (code, err) = read_a_little(&fixture, arguments, len);
            assert_eq!(code, Some(9), "{arguments:?} {err}");
            assert!(err.contains("Broken pipe") && err.contains("did not get all of it"), "{err}");
        }
    }
    let (code, err) = read_a_little(&fixture, &["-o", "json", "restore", "base", "-"], 10);
    let json: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert_eq!((code, &json["error"]["kind"]), (Some(9), &"io".into()), "{err}");
}

#[test]
fn an_output_on_a_full_disk_is_told_with_a_way_out_that_helps() {
    let fixture = Fixture::with_snapshot();
    for arguments in
        [&["snapshot", "list"][..], &["restore", "base", "-"], &["snapshot", "diff", "base", "base"]]
    {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let done = fixture.program().args(arguments).stdout(full).output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(8), "{arguments:?} {err}");
        assert!(err.contains("free some space for the output") && !err.contains("delete"), "{err}");
    }
}

#[test]
fn an_error_never_stands_where_an_image_is_expected() {
    let fixture = Fixture::with_snapshot();
    for arguments in [
        &["restore", "none", "-"][..],
        &["restore", "base", "-", "--force"],
        &["restore", "base", "-", "--x"],
    ] {
        let done = fixture.run(&[&["-o", "json"], arguments].concat());
        assert_eq!(done.out, "", "{arguments:?}");
        let json: serde_json::Value = serde_json::from_str(&done.err).unwrap();
        assert!(done.code > 1 && json["error"]["message"].is_string(), "{done:?}");
    }
}

#[test]
fn a_closed_pipe_ends_a_diff_of_many_ranges_quietly() {
    let fixture = Fixture::with_snapshot();
    for n in 0..70 {
        fixture.scribble("disk.raw", n * 8192, 4096);
    }
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "next"]).exits(0);
    for output in ["text", "json"] {
        let arguments = ["-o", output, "snapshot", "diff", "base", "next"];
        assert_eq!(read_a_little(&fixture, &arguments, 10), (Some(0), String::new()), "{output}");
    }
}

#[test]
fn a_request_to_stop_ends_an_operation_in_order() {
    let fixture = Fixture::new();
    // The zeros of this image keep the restore busy until it is asked to stop: nobody reads them.
    std::fs::File::create(fixture.path("large.raw")).unwrap().set_len(1 << 30).unwrap();
    fixture.scribble("large.raw", 0, 1 << 20);
    fixture.run(&["snapshot", "create", "large.raw", "--name", "large"]).exits(0);
    let mut child = fixture
        .program()
        .args(["restore", "large", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut vec![0; 1 << 20]).unwrap();
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let rest = std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    let done = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(130), "{err}");
    assert!(err.contains("error: interrupted") && err.contains("the output is incomplete"), "{err}");
    assert!(rest < 1 << 30);
}

#[test]
fn results_go_to_stdout_and_talk_goes_to_stderr() {
    let fixture = Fixture::with_snapshot();
    let quiet = fixture.run(&["-q", "snapshot", "delete", "-f", "base"]).exits(0);
    assert_eq!(quiet.err, "");
    assert!(quiet.out.starts_with("deleted base"), "{quiet:?}");
    let verbose = fixture.run(&["-v", "snapshot", "list", "--no-header"]).exits(0);
    assert_eq!(verbose.out, "");
    assert!(verbose.err.contains("repository: "), "{verbose:?}");
}

#[test]
fn no_line_ends_in_spaces() {
    let fixture = Fixture::with_snapshot();
    for arguments in [&["snapshot", "list"][..], &["snapshot", "get", "base"], &["stats"]] {
        let done = fixture.run(arguments);
        let lines = BufReader::new(done.out.as_bytes()).lines().map(Result::unwrap);
        assert!(lines.into_iter().all(|line| line.trim_end() == line), "{done:?}");
    }
}
