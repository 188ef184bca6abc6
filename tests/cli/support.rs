//! A place for one test: a directory, a repository, images, and the program.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use icecore_testing::random::Random;
use serde_json::Value;
use tempfile::TempDir;

/// The size of the images that [`Fixture::image`] makes, which is no multiple of a block.
pub(crate) const IMAGE_BYTES: u64 = (3 << 20) + 1000;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// Fails the test if the exit code is another.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Fails the test if stderr lacks one of these texts.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.err.contains(text), "{text:?} is not in {self:?}");
        }
        self
    }

    /// Returns stdout as JSON, one line of it.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) struct Fixture {
    dir: TempDir,
    /// What the environment has beside what each program needs.
    variables: Vec<(&'static str, OsString)>,
}

impl Fixture {
    /// A directory with an empty repository in it.
    pub(crate) fn new() -> Self {
        let fixture = Self::bare();
        fixture.run(&["init"]).exits(0);
        fixture
    }

    /// A directory without a repository.
    pub(crate) fn bare() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// A directory with an empty sealed repository in it. Its password is in the file `password`, and
    /// in the environment of the program.
    pub(crate) fn sealed() -> Self {
        let mut fixture = Self::bare();
        std::fs::write(fixture.path("password"), "open sesame\n").unwrap();
        fixture.set("ICECORE_PASSWORD_FILE", fixture.path("password"));
        fixture.run(&["init"]).exits(0);
        fixture
    }

    /// Sets a variable of the environment of the program.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.unset(name);
        self.variables.push((name, value.into()));
    }

    /// Removes a variable from the environment of the program.
    pub(crate) fn unset(&mut self, name: &str) {
        self.variables.retain(|(other, _)| *other != name);
    }

    /// A directory with a repository and one snapshot, `base` of the volume `disk`, of the image
    /// `disk.raw`.
    pub(crate) fn with_snapshot() -> Self {
        let fixture = Self::new();
        fixture.image("disk.raw", 1);
        fixture.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(0);
        fixture
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the largest pack: that of the data.
    pub(crate) fn data_pack(&self) -> PathBuf {
        let packs = std::fs::read_dir(self.path("repo/packs")).unwrap();
        packs.map(|pack| pack.unwrap().path()).max_by_key(|pack| pack.metadata().unwrap().len()).unwrap()
    }

    /// Makes an image: data, a hole, zeros that are written, and more data up to an odd end.
    pub(crate) fn image(&self, name: &str, seed: u64) {
        let file = File::create(self.path(name)).unwrap();
        file.set_len(IMAGE_BYTES).unwrap();
        file.write_all_at(&noise(seed, 300_000), 0).unwrap();
        file.write_all_at(&vec![0; 500_000], 1 << 20).unwrap();
        file.write_all_at(&noise(seed + 1, 70_000), IMAGE_BYTES - 70_000).unwrap();
    }

    /// Writes `len` bytes of noise into an image.
    pub(crate) fn scribble(&self, name: &str, offset: u64, len: usize) {
        let file = File::options().write(true).open(self.path(name)).unwrap();
        file.write_all_at(&noise(99, len), offset).unwrap();
    }

    /// Returns the program, with the repository of this place and nothing of the environment.
    pub(crate) fn program(&self) -> Command {
        let mut program = bare_program(self.dir.path());
        program.env("ICECORE_REPO", self.path("repo"));
        program.envs(self.variables.iter().map(|(name, value)| (name, value)));
        program
    }

    /// Gives all of this place to a user, by number. Others can look into it.
    pub(crate) fn give_to(&self, user: &str) {
        std::fs::set_permissions(self.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let owner = format!("{user}:{user}");
        assert!(Command::new("chown").args(["-R", &owner]).arg(self.dir.path()).status().unwrap().success());
    }

    /// Returns the program as another one starts it, with these arguments.
    pub(crate) fn program_through(&self, other: &str, arguments: &[&str]) -> Command {
        let program = self.program();
        let mut command = Command::new(other);
        command.current_dir(self.dir.path()).env_clear().stdin(Stdio::null());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(arguments).arg(program.get_program());
        command
    }

    /// Returns the program as a user runs it, after what else is to be run before it.
    pub(crate) fn program_as(&self, user: &str, before: &[&str]) -> Command {
        let as_user = ["--reuid", user, "--regid", user, "--clear-groups"];
        self.program_through("setpriv", &[&as_user, before].concat())
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        finish(self.program().args(arguments))
    }

    /// Runs with `-o json` and returns the result.
    #[track_caller]
    pub(crate) fn result(&self, arguments: &[&str]) -> Value {
        let done = self.run(&[&["-o", "json"], arguments].concat()).exits(0);
        let json = done.json();
        assert_eq!(json["icecore"], 1, "{json}");
        json["result"].clone()
    }

    #[track_caller]
    pub(crate) fn assert_equal(&self, one: &str, other: &str) {
        assert_eq!(
            std::fs::read(self.path(one)).unwrap(),
            std::fs::read(self.path(other)).unwrap(),
            "{one} {other}"
        );
    }
}

/// Returns the program in `dir`, with no environment but a search path and a home.
pub(crate) fn bare_program(dir: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_icecore"));
    program.current_dir(dir).env_clear().stdin(Stdio::null());
    program.env("HOME", dir.join("home")).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    program
}

pub(crate) fn finish(program: &mut Command) -> Done {
    let output = program.output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Returns bytes that do not compress.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}
