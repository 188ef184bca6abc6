//! Repositories and images that were made to do harm: no command hangs, panics, fills the memory,
//! writes elsewhere or says what it must not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use icecore_testing::disk;
use icecore_testing::disk::Disk;

use crate::forge::Forge;
use crate::forge::Item;
use crate::forge::Record;
use crate::support::Done;
use crate::support::Fixture;
use crate::support::finish;
use crate::support::noise;

/// What a command may take of memory: mappings of files count, and stacks of threads.
const MEMORY_BYTES: u64 = 2 << 30;
/// Longer than any command here needs, on the slowest machine. `timeout` exits with 124 then.
const SECONDS: &str = "100";

/// Runs the program with bounds. However it ends, it ends by itself.
#[track_caller]
fn bounded(fixture: &Fixture, arguments: &[&str]) -> Done {
    let program = fixture.program();
    let mut command = Command::new("prlimit");
    command.arg(format!("--as={MEMORY_BYTES}")).args(["timeout", "-k", "1", SECONDS]);
    command.arg(program.get_program()).args(arguments).env_clear();
    program.get_envs().for_each(|(name, value)| {
        command.env(name, value.unwrap_or_default());
    });
    command.current_dir(fixture.path("")).stdin(std::process::Stdio::null());
    let done = finish(&mut command);
    assert!((0..=11).contains(&done.code), "{arguments:?}: {done:?}");
    assert!(!done.err.contains("panicked"), "{arguments:?}: {done:?}");
    done
}

/// Commands that look at everything, and some that change something.
const COMMANDS: [&[&str]; 12] = [
    &["snapshot", "list"],
    &["snapshot", "get", "base"],
    &["stats"],
    &["verify"],
    &["verify", "--read-data"],
    &["restore", "base", "out.raw", "--force"],
    &["snapshot", "create", "disk.raw"],
    &["snapshot", "tag", "base", "+tag"],
    &["gc", "--max-unused", "0%"],
    &["repair", "snapshots"],
    &["repair", "index"],
    &["snapshot", "delete", "-f", "base"],
];

/// Returns everything below a directory: mode and content, or where a link leads.
pub(crate) fn tree(dir: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let about = std::fs::symlink_metadata(&path).unwrap();
        if about.is_dir() {
            all.extend(tree(&path));
        }
        let content = match about.is_file() {
            true => std::fs::read(&path).unwrap(),
            false => Vec::new(),
        };
        all.insert(path, (about.mode(), content));
    }
    all
}

fn first_in(dir: &Path) -> PathBuf {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.remove(0)
}

/// Returns places in a repository, by what they are: directories and files.
fn places(repo: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let dirs = ["packs", "index", "journal", "journal-copies", "checkpoint", "local/locks", "local/tmp"]
        .map(|name| repo.join(name));
    let files = [
        repo.join("config"),
        repo.join("local/reserve"),
        repo.join("local/locks/journal"),
        repo.join("local/locks/index"),
        first_in(&repo.join("packs")),
        first_in(&repo.join("index")),
        first_in(&repo.join("journal")),
        first_in(&repo.join("checkpoint")),
    ];
    (dirs.to_vec(), files.to_vec())
}

#[test]
fn links_in_a_repository_lead_nowhere() {
    let fixture = Fixture::with_snapshot();
    let repo = fixture.path("repo");
    let (dirs, files) = places(&repo);
    for at in dirs.iter().chain(&files) {
        let saved = fixture.path("saved");
        let outside = fixture.path("outside");
        disk::remove(&saved);
        disk::remove(&outside);
        Command::new("cp").arg("-a").args([&repo, &saved]).status().unwrap();
        // The link leads to what was there, outside: whoever follows it finds everything in order.
        let there = at.exists();
        if there {
            std::fs::rename(at, &outside).unwrap();
        } else {
            std::fs::write(&outside, [0; 8]).unwrap();
        }
        symlink(&outside, at).unwrap();
        let before = if outside.is_dir() { tree(&outside) } else { BTreeMap::new() };
        let content = std::fs::read(&outside).unwrap_or_default();
        for command in COMMANDS {
            bounded(&fixture, command);
            assert_eq!(std::fs::read(&outside).unwrap_or_default(), content, "{at:?}, {command:?}");
            if outside.is_dir() {
                assert!(tree(&outside) == before, "{at:?}, {command:?}: something changed outside");
            }
        }
        disk::remove(&repo);
        std::fs::rename(&saved, &repo).unwrap();
    }
    // The repository itself may be behind a link: that is its owner's choice.
    std::fs::rename(&repo, fixture.path("elsewhere")).unwrap();
    symlink("elsewhere", &repo).unwrap();
    for command in [&COMMANDS[..2], &COMMANDS[4..9]].concat() {
        bounded(&fixture, command).exits(0);
    }
}

#[test]
fn pipes_and_directories_in_the_place_of_files_do_not_hang_a_command() {
    let fixture = Fixture::with_snapshot();
    let repo = fixture.path("repo");
    let (dirs, files) = places(&repo);
    for (at, pipe) in
        files.iter().flat_map(|at| [(at, true), (at, false)]).chain(dirs.iter().map(|at| (at, true)))
    {
        let saved = fixture.path("saved");
        disk::remove(&saved);
        Command::new("cp").arg("-a").args([&repo, &saved]).status().unwrap();
        disk::remove(at);
        if pipe {
            assert!(Command::new("mkfifo").arg(at).status().unwrap().success());
        } else {
            std::fs::create_dir(at).unwrap();
        }
        for command in [&COMMANDS[..1], &COMMANDS[4..7], &COMMANDS[8..9], &COMMANDS[10..]].concat() {
            bounded(&fixture, command);
        }
        disk::remove(&repo);
        std::fs::rename(&saved, &repo).unwrap();
    }
}

#[test]
fn files_of_any_length_take_no_memory_and_no_time() {
    let fixture = Fixture::with_snapshot();
    let repo = fixture.path("repo");
    let (_, mut files) = places(&repo);
    files.push(repo.join("local/locks/writer-0123456789abcdef0123456789abcdef"));
    files.push(repo.join("local/tmp/anything"));
    let thorough = std::env::var_os("ICECORE_EXHAUSTIVE").is_some_and(|value| value == "1");
    // A repair first, and then once more at the end: a capture may bring a damaged pack back. In
    // the short form each file meets every third command, and one in three of them the repair.
    let asked = |commands: &[&'static [&'static str]], file: usize| {
        let own =
            commands.iter().enumerate().filter(|(number, _)| thorough || (number + file).is_multiple_of(3));
        own.map(|(_, command)| *command).collect::<Vec<_>>()
    };
    let rounds = (0..).zip(&files).flat_map(|(number, at)| {
        let repair = asked(&COMMANDS[10..11], number);
        [(at, repair), (at, asked(&COMMANDS, number))]
    });
    for (at, commands) in rounds {
        let saved = fixture.path("saved");
        disk::remove(&saved);
        Command::new("cp").arg("-a").args([&repo, &saved]).status().unwrap();
        let file = File::options().write(true).create(true).truncate(false).open(at).unwrap();
        // As long as this file system allows.
        let grown = [62, 43, 40].into_iter().any(|bits| file.set_len((1 << bits) - 4096).is_ok());
        assert!(grown);
        drop(file);
        for command in commands {
            bounded(&fixture, command);
        }
        disk::remove(&repo);
        std::fs::rename(&saved, &repo).unwrap();
    }
}

#[test]
fn names_made_by_hand_steer_no_terminal() {
    let fixture = Fixture::with_snapshot();
    let forge = Forge::of(&fixture.path("repo"));
    let evil = [
        "\u{1b}]0;owned\u{7}\u{1b}[2J",
        "../../etc/passwd",
        "a\nb  forged  line",
        "a\0b",
        "\u{202e}gpj.exe\u{2066}",
        "\u{9b}31m",
        "-rf",
        "",
    ];
    for (number, name) in (1..).zip(evil) {
        let tags = vec![name.to_owned(); 64];
        let id = Record::default().id + number;
        let resource = format!("disk{name}");
        forge.record(&Record {
            id,
            name: name.into(),
            resource,
            tags,
            stats: [u64::MAX; 4],
            host: name.into(),
            account: Some(name.into()),
            ..Record::default()
        });
    }
    std::fs::write(fixture.path("repo/journal/a\u{1b}[2J\nfake: line"), b"").unwrap();
    let bad = |c: char| c != '\n' && c != '\t' && (c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c));
    let columns =
        "ID,Name,Created,Resource,Type,MinDiskSize,Size,Tags,Protected,Parent,Content,ImageBytes,DataBytes";
    for command in [
        &["snapshot", "list"][..],
        &["snapshot", "list", "--format", columns],
        &["-o", "json", "snapshot", "list"],
        &["snapshot", "get", "base"],
        &["snapshot", "get", "01900000-0000-7000-8000-000000000002"],
        &["snapshot", "get", "01900000-0000-7000-8000-000000000004"],
        &["-v", "snapshot", "diff", "base", "01900000-0000-7000-8000-000000000004"],
        &["stats"],
        &["-o", "json", "stats"],
        &["-v", "verify"],
        &["-o", "json", "verify"],
        &["repair", "snapshots"],
        &["snapshot", "rename", "base", "\u{1b}[2J"],
        &["snapshot", "get", "\u{1b}[2J"],
        &["gc", "--dry-run"],
        &["log"],
        &["-o", "json", "log"],
        &["log", "--host", "\u{1b}[2J"],
        &["repair", "catalog"],
        &["snapshot", "delete", "-f", "01900000-0000-7000-8000-000000000004"],
        &["snapshot", "list", "--deleted"],
        &["snapshot", "undelete", "01900000-0000-7000-8000-000000000004"],
    ] {
        let done = bounded(&fixture, command);
        assert!(!done.out.contains(bad) && !done.err.contains(bad), "{command:?}: {done:?}");
        let lines = done.out.lines().chain(done.err.lines());
        let forged = lines.filter(|line| line.starts_with("b  forged") || line.starts_with("fake: line"));
        assert_eq!(forged.count(), 0, "{command:?}: {done:?}");
    }
    let listed = bounded(&fixture, &["snapshot", "list", "--no-header"]).exits(0);
    assert_eq!(listed.out.lines().count(), evil.len() + 1, "{listed:?}");
}

#[test]
fn an_entry_with_names_that_are_longer_than_any_may_be_is_a_damaged_one() {
    let fixture = Fixture::with_snapshot();
    let forge = Forge::of(&fixture.path("repo"));
    let long = "x".repeat(1 << 18);
    for (id, name, tags) in [
        (77, &long, vec![]),
        (78, &"a".to_owned(), vec![long.clone()]),
        (79, &"a".to_owned(), vec!["t".into(); 65]),
    ] {
        forge.record(&Record { id, name: name.clone(), tags, ..Record::default() });
        let done = bounded(&fixture, &["snapshot", "list"]).exits(6).says(&["entry", "repair catalog"]);
        assert!(done.err.len() < 1000, "{done:?}");
        std::fs::remove_file(forge.last_entry().unwrap()).unwrap();
    }
    bounded(&fixture, &["snapshot", "list"]).exits(0);
}

#[test]
fn an_image_that_names_one_page_without_end_is_gone_through_once() {
    let fixture = Fixture::with_snapshot();
    let forge = Forge::of(&fixture.path("repo"));
    let blocks = [[1; 4096], [2; 4096]];
    let name = |name: &str| Record { name: name.into(), resource: name.into(), ..Record::default() };
    forge.endless(Record { id: 1, size: 1 << 62, ..name("endless") }, &blocks[0], true);
    forge.endless(Record { id: 2, size: 1 << 40, ..name("large") }, &blocks[0], false);
    bounded(&fixture, &["repair", "index"]).exits(0);
    let verified = bounded(&fixture, &["verify", "--read-data"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    bounded(&fixture, &["stats"]).exits(0);
    bounded(&fixture, &["snapshot", "diff", "endless", "endless"]).exits(0);
    bounded(&fixture, &["gc", "--max-unused", "0%"]).exits(0);
    // The same where gc must leave the packs alone, because a writer that lives has announced them.
    let mut writer = File::create(fixture.path("repo/local/locks/writer-0123456789abcdef")).unwrap();
    for pack in tree(&fixture.path("repo/packs")).into_keys().filter(|path| path.is_file()) {
        let name = pack.file_name().unwrap().to_str().unwrap();
        let id: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&name[2 * at..][..2], 16).unwrap()).collect();
        writer.write_all(&id).unwrap();
    }
    writer.lock().unwrap();
    bounded(&fixture, &["gc", "--max-unused", "0%"]).exits(0);
    drop(writer);
    bounded(&fixture, &["repair", "snapshots"]).exits(0);
    bounded(&fixture, &["restore", "endless", "out.raw"]).exits(2);
    let stats = fixture.result(&["stats"]);
    assert_eq!(
        stats["snapshots"].as_array().unwrap().iter().filter(|it| it["unique_bytes"] == 4096).count(),
        2,
        "{stats}"
    );

    // The same with a chunk that is nowhere: all of it is lost, and that is one range and not 2^40.
    forge.endless(Record { id: 3, size: 1 << 62, ..name("gone") }, &blocks[1], false);
    bounded(&fixture, &["repair", "index"]).exits(0);
    let verified = bounded(&fixture, &["verify"]).exits(1);
    assert!(verified.out.len() < 50_000_000 && verified.out.contains("missing"));
    let refused = bounded(&fixture, &["gc"]);
    assert_eq!(refused.code, 6, "{refused:?}");

    let Some(disk) = Disk::get(disk::EXT4) else { return };
    let target = disk.path("out.raw");
    let full = bounded(&fixture, &["restore", "large", target.to_str().unwrap()]);
    assert!([2, 8].contains(&full.code), "{full:?}");
    assert_eq!(std::fs::read_dir(&disk.point).unwrap().count(), 1, "only lost+found");
}

/// Returns a zstd frame of `blocks` runs of 128 KiB of one byte each.
fn zstd_bomb(blocks: u32, descriptor: &[u8]) -> Vec<u8> {
    let mut frame = 0xfd2f_b528_u32.to_le_bytes().to_vec();
    frame.extend(descriptor);
    for number in 1..=blocks {
        let head = u32::from(number == blocks) | 1 << 1 | (128 << 10) << 3;
        frame.extend(&head.to_le_bytes()[..3]);
        frame.push(7);
    }
    frame
}

#[test]
fn a_chunk_that_decodes_to_more_than_it_says_is_damage() {
    let frames = [
        // The header says 4096 bytes, or nothing, or the truth: 1 GiB, and there are 1 GiB.
        zstd_bomb(8192, &[0b0110_0000, 0, 15]),
        zstd_bomb(8192, &[0, 0x38]),
        zstd_bomb(8192, &[0b1010_0000, 0, 0, 0, 64]),
        // A window of 3.75 TiB.
        zstd_bomb(8192, &[0, 0xff]),
        // A frame that is skipped, and nothing else; one that says to be 4 GiB long.
        [&0x184d_2a50_u32.to_le_bytes()[..], &4092_u32.to_le_bytes(), &[0; 4092]].concat(),
        [&0x184d_2a50_u32.to_le_bytes()[..], &u32::MAX.to_le_bytes(), &[0; 4092]].concat(),
        Vec::new(),
    ];
    let block = [9; 4096];
    for frame in frames {
        let fixture = Fixture::new();
        let forge = Forge::of(&fixture.path("repo"));
        let chunk = forge.chunk(&block);
        let (leaf, page) = forge.leaf(&chunk, &block);
        forge.pack(&[Item { codec: 1, stored: frame.clone(), ..chunk }]);
        forge.pack(std::slice::from_ref(&leaf));
        forge.record(&Record { name: "base".into(), root: Some(page), ..Record::default() });
        bounded(&fixture, &["repair", "index"]).exits(0);
        let verified = bounded(&fixture, &["verify", "--read-data"]).exits(1);
        assert!(verified.out.contains("damaged"), "{verified:?}");
        bounded(&fixture, &["restore", "base", "out.raw"]).exits(6);
        assert!(!fixture.path("out.raw").exists());
        // The same as a page.
        forge.pack(&[Item { codec: 1, stored: frame, ..leaf }]);
        for pack in tree(&fixture.path("repo/packs")).into_keys().filter(|path| path.is_file()) {
            let file = std::fs::read(&pack).unwrap();
            if file[10] == 2
                && !file
                    .windows(4)
                    .any(|four| four == [0x28, 0xb5, 0x2f, 0xfd] || four == [0x50, 0x2a, 0x4d, 0x18])
            {
                std::fs::remove_file(pack).unwrap();
            }
        }
        bounded(&fixture, &["repair", "index"]);
        bounded(&fixture, &["verify", "--read-data"]).exits(1);
        bounded(&fixture, &["restore", "base", "out.raw"]).exits(6);
    }
}

#[test]
fn what_is_no_disk_is_no_image_and_any_length_is_one() {
    let fixture = Fixture::new();
    assert!(Command::new("mkfifo").arg(fixture.path("pipe")).status().unwrap().success());
    for (image, code) in
        [("pipe", 2), (".", 2), ("/dev/zero", 2), ("/dev/null", 2), ("/dev/tty", 2), ("nowhere", 3)]
    {
        bounded(&fixture, &["snapshot", "create", image, "--volume", "x"]).exits(code);
    }
    for len in [0, 1, 511, 513, 4095, 4097, 65_537, (4 << 20) + 1] {
        std::fs::write(fixture.path("disk.raw"), noise(len as u64 + 1, len)).unwrap();
        let name = format!("n{len}");
        bounded(&fixture, &["snapshot", "create", "disk.raw", "--name", &name]).exits(0);
        bounded(&fixture, &["restore", &name, "out.raw", "--force"]).exits(0);
        fixture.assert_equal("disk.raw", "out.raw");
    }
    let file = File::create(fixture.path("sparse.raw")).unwrap();
    file.set_len(8 << 40).unwrap();
    file.write_all_at(b"end", (8 << 40) - 3).unwrap();
    bounded(&fixture, &["snapshot", "create", "sparse.raw", "--name", "sparse"]).exits(0);
    bounded(&fixture, &["verify", "--read-data"]).exits(0);
}

#[test]
fn nobody_else_may_read_what_is_made_whatever_the_mask() {
    for mask in ["000", "077", "277", "777"] {
        let fixture = Fixture::bare();
        fixture.image("disk.raw", 1);
        let under_mask = |arguments: &[&str]| {
            let program = fixture.program();
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("umask {mask}; exec \"$0\" \"$@\"")]).arg(program.get_program());
            shell.env_clear().current_dir(fixture.path("")).args(arguments);
            program.get_envs().for_each(|(name, value)| {
                shell.env(name, value.unwrap_or_default());
            });
            finish(&mut shell).exits(0)
        };
        under_mask(&["init"]);
        under_mask(&["snapshot", "create", "disk.raw", "--name", "base"]);
        under_mask(&["snapshot", "create", "disk.raw", "--name", "again"]);
        under_mask(&["restore", "base", "out.raw"]);
        under_mask(&["snapshot", "delete", "-f", "base"]);
        under_mask(&["gc"]);
        for (path, (mode, _)) in tree(&fixture.path("repo")) {
            let wanted = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode & 0o777, wanted, "{mask}: {}", path.display());
        }
        assert_eq!(std::fs::metadata(fixture.path("repo")).unwrap().mode() & 0o777, 0o700, "{mask}");
        assert_eq!(std::fs::metadata(fixture.path("out.raw")).unwrap().mode() & 0o777, 0o600, "{mask}");
    }
}

/// Returns bytes as base64 tells them, without what depends on where they begin.
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let whole = bytes.chunks_exact(3);
    let sixes = whole.flat_map(|three| {
        let n = three.iter().fold(0_usize, |n, byte| n << 8 | usize::from(*byte));
        [n >> 18, n >> 12 & 63, n >> 6 & 63, n & 63]
    });
    sixes.map(|six| char::from(SIGNS[six])).collect()
}

#[test]
fn the_key_is_told_to_nobody() {
    let fixture = Fixture::with_snapshot();
    let key = Forge::of(&fixture.path("repo")).key;
    let lower: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{:?}", &key[..8]);
    let forms = [lower.to_uppercase(), base64(&key[..30]), list.trim_matches(['[', ']']).to_owned(), lower];
    let mut commands: Vec<Vec<&str>> = COMMANDS.iter().map(|command| command.to_vec()).collect();
    commands.insert(0, vec!["init"]);
    commands.insert(1, vec!["snapshot", "diff", "base", "base"]);
    commands.insert(2, vec!["snapshot", "get", "nope"]);
    commands.insert(3, vec!["--help"]);
    let config = std::fs::read(fixture.path("repo/config")).unwrap();
    let tell = |command: &[&str]| {
        for format in [&[][..], &["-v"], &["-o", "json"], &["-v", "-o", "json"]] {
            let all = [format, command].concat();
            let mut program = fixture.program();
            let output =
                program.args(&all).env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace").output().unwrap();
            for said in [&output.stdout, &output.stderr] {
                let text = String::from_utf8_lossy(said);
                assert!(!forms.iter().any(|form| text.contains(form)), "{all:?}: {text}");
                assert!(!said.windows(8).any(|part| part == &key[..8]), "{all:?}: {text}");
            }
        }
    };
    commands.iter().for_each(|command| tell(command));
    // Errors of a config that is damaged, byte by byte.
    for at in (0..config.len()).step_by(3) {
        let mut damaged = config.clone();
        damaged[at] ^= 0x11;
        std::fs::write(fixture.path("repo/config"), damaged).unwrap();
        tell(&["snapshot", "list"]);
    }
    std::fs::write(fixture.path("repo/config"), &config).unwrap();
    // Nothing but the config has it, and its copies in checkpoints.
    for (path, (_, content)) in tree(&fixture.path("repo")) {
        let has = content.windows(32).any(|part| part == key);
        let may =
            path.ends_with("config") || path.starts_with(fixture.path("repo/checkpoint")) && path.is_file();
        assert_eq!(has, may, "{}", path.display());
    }
}
