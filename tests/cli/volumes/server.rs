//! A running `volume serve`.

use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Seek;
use std::os::unix::fs::FileExt;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;

use crate::support::Done;
use crate::support::Fixture;

/// A server, which has said that clients can connect. It is killed if it is not stopped.
pub(crate) struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    err: File,
    /// What it said, as JSON.
    pub(crate) said: Value,
}

impl Server {
    /// Starts `volume serve` with these arguments.
    #[track_caller]
    pub(crate) fn start(fixture: &Fixture, arguments: &[&str]) -> Self {
        Self::start_program(&mut fixture.program(), arguments)
    }

    /// Starts it with a program that has an environment already.
    #[track_caller]
    pub(crate) fn start_program(program: &mut Command, arguments: &[&str]) -> Self {
        let mut err = tempfile::tempfile().unwrap();
        let mut child = program
            .args(["-o", "json", "volume", "serve"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(err.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        // It says where it serves once it does.
        out.read_line(&mut line).unwrap();
        let json: Value = serde_json::from_str(&line).unwrap_or_else(|error| {
            let _ = child.kill();
            panic!("{error}: {line:?} {}", text_of(&mut err));
        });
        assert!(json["result"].is_object(), "{json}");
        Self { child, out, err, said: json["result"].clone() }
    }

    /// Returns the address of the export of this name.
    #[track_caller]
    pub(crate) fn uri(&self, export: &str) -> String {
        let exports = self.said["exports"].as_array().unwrap();
        let found = exports.iter().find(|it| it["name"] == export);
        found.unwrap_or_else(|| panic!("{export} is not in {}", self.said))["uri"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Returns the path of its socket, or its address and port.
    pub(crate) fn address(&self) -> &str {
        self.said["address"].as_str().unwrap()
    }

    /// Tells whether it has said something to people by now.
    pub(crate) fn has_said(&self, text: &str) -> bool {
        let mut said = vec![0; 64 << 10];
        let bytes = self.err.read_at(&mut said, 0).unwrap();
        String::from_utf8_lossy(&said[..bytes]).contains(text)
    }

    /// Returns the number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by a signal, and fails the test unless it ends in order.
    #[track_caller]
    pub(crate) fn stop_by(self, signal: &str) -> Done {
        self.end_by(signal).exits(0)
    }

    /// Ends it by SIGTERM, and fails the test unless it ends in order.
    #[track_caller]
    pub(crate) fn stop(self) -> Done {
        self.stop_by("-TERM")
    }

    /// Kills it; it can do nothing about that.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it by a signal and returns what it says.
    pub(crate) fn end_by(mut self, signal: &str) -> Done {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        Done { code, out, err: text_of(&mut self.err) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already if all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text_of(file: &mut File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}
