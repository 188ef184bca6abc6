//! Copies of a repository that were made file by file while others captured and collected in it:
//! any file is of one moment or another.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use icecore_testing::disk;

use crate::support::Done;
use crate::support::Fixture;
use crate::support::finish;

/// The parts of a repository, and their directories.
const PARTS: [&[&str]; 3] = [&["packs"], &["index"], &["journal", "journal-copies", "checkpoint"]];

/// A repository at two moments, and the images of its snapshots.
struct Moments {
    fixture: Fixture,
}

impl Moments {
    fn new() -> Self {
        let fixture = Fixture::new();
        fixture.image("one.raw", 10);
        // It has half of the data of the other one, so that gc writes anew what is used of a pack.
        fixture.image("two.raw", 10);
        fixture.scribble("two.raw", 0, 150_000);
        fixture.image("three.raw", 30);
        fixture.run(&["snapshot", "create", "one.raw", "--name", "one"]).exits(0);
        fixture.run(&["snapshot", "create", "two.raw", "--name", "two"]).exits(0);
        copy(&fixture.path("repo"), &fixture.path("before"));
        fixture.run(&["snapshot", "delete", "--force", "one"]).exits(0);
        fixture.run(&["snapshot", "create", "three.raw", "--name", "three"]).exits(0);
        fixture.run(&["gc", "--max-unused", "0%"]).exits(0);
        copy(&fixture.path("repo"), &fixture.path("after"));
        Self { fixture }
    }

    fn run(&self, arguments: &[&str]) -> Done {
        finish(self.fixture.program().env("ICECORE_REPO", self.fixture.path("torn")).args(arguments))
    }

    /// Returns the files of a part at a moment, by their paths in the repository.
    fn files(&self, moment: &str, part: &str) -> BTreeSet<PathBuf> {
        let root = self.fixture.path(moment);
        let (mut files, mut dirs) = (BTreeSet::new(), vec![root.join(part)]);
        while let Some(dir) = dirs.pop() {
            for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    files.insert(path.strip_prefix(&root).unwrap().to_owned());
                }
            }
        }
        files
    }

    /// Makes the copy: all else of the first moment, and of these parts only the files that are
    /// chosen.
    fn tear(&self, chosen: impl Fn(&str, &Path) -> bool) {
        let torn = self.fixture.path("torn");
        disk::remove(&torn);
        copy(&self.fixture.path("before"), &torn);
        for part in PARTS.concat() {
            disk::remove(&torn.join(part));
            std::fs::create_dir(torn.join(part)).unwrap();
            for moment in ["before", "after"] {
                for file in self.files(moment, part).iter().filter(|file| chosen(moment, file)) {
                    std::fs::create_dir_all(torn.join(file).parent().unwrap()).unwrap();
                    std::fs::copy(self.fixture.path(moment).join(file), torn.join(file)).unwrap();
                }
            }
        }
    }

    /// Returns the names of all snapshots, and of those of which `verify` says that something is
    /// lost. What it says is compared with what can be restored.
    fn examine(&self, at: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let listed = self.run(&["snapshot", "list", "--no-header", "--format", "name"]).exits(0);
        let all: BTreeSet<String> = listed.out.lines().map(str::to_owned).collect();
        let verified = self.run(&["-o", "json", "verify", "--read-data"]);
        let json = verified.json();
        let findings = json["result"]["findings"].as_array().unwrap();
        assert_eq!(verified.code, i32::from(!findings.is_empty()), "{at}: {verified:?}");
        let lost = findings.iter().flat_map(|finding| finding["lost"].as_array().unwrap());
        let lost: BTreeSet<String> = lost.map(|lost| lost["name"].as_str().unwrap().to_owned()).collect();
        for name in &all {
            let done = self.run(&["restore", name, "out.raw"]);
            if lost.contains(name) {
                done.exits(6).says(&[name, "hint:"]);
                assert!(!self.fixture.path("out.raw").exists(), "{at}");
            } else {
                done.exits(0);
                self.fixture.assert_equal("out.raw", &format!("{name}.raw"));
                std::fs::remove_file(self.fixture.path("out.raw")).unwrap();
            }
        }
        (all, lost)
    }

    /// Examines the copy as it is and with an index of the packs that it has, which are those of
    /// `packs` at least.
    fn check(&self, packs: Option<&str>, at: &str) {
        let (all, lost) = self.examine(at);
        let (before, now) = (all.len(), lost.len());
        // Where something is missing, nothing is collected.
        let collected = self.run(&["gc"]);
        assert_eq!(collected.code, if now > 0 { 6 } else { 0 }, "{at}: {collected:?}");
        self.run(&["repair", "index"]).exits(0);
        let (all, lost) = self.examine(at);
        assert!(all.len() == before && lost.len() <= now, "{at}: {lost:?}");
        let whole: &[&str] = match packs {
            Some("before") => &["one", "two"],
            Some(_) => &["two", "three"],
            None => &[],
        };
        assert!(whole.iter().all(|name| !lost.contains(*name)), "{at}: {lost:?}");
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

#[test]
fn of_a_torn_copy_what_is_missing_is_told_and_what_is_whole_is_restored() {
    let moments = Moments::new();
    // Each of the three parts of one moment or the other.
    for choice in 0..8_u32 {
        let of = |part: usize| if choice >> part & 1 == 0 { "before" } else { "after" };
        moments.tear(|moment, file| {
            PARTS
                .iter()
                .enumerate()
                .any(|(number, part)| part.iter().any(|dir| file.starts_with(dir)) && of(number) == moment)
        });
        // A catalog of later may have condemned packs, which are then as good as gone.
        let packs = (of(0) == "after" || of(2) == "before").then_some(of(0));
        moments.check(packs, &format!("{:?}", [0, 1, 2].map(of)));
    }
}

#[test]
fn of_a_copy_that_has_files_of_two_moments_and_lacks_others_the_same_holds() {
    let moments = Moments::new();
    let all: Vec<PathBuf> = PARTS
        .concat()
        .iter()
        .flat_map(|part| &moments.files("before", part) | &moments.files("after", part))
        .collect();
    // All files of both moments, and then all but one: some of them, of each part.
    for left_out in std::iter::once(None).chain(all.iter().step_by(2).map(Some)) {
        moments.tear(|_, file| Some(file) != left_out.map(PathBuf::as_path));
        let packs = left_out.is_none_or(|file| !file.starts_with("packs")).then_some("before");
        moments.check(packs, &format!("without {left_out:?}"));
    }
}
