use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore_host::clock::Clock;
use icecore_host::config;
use icecore_host::exports::Lent;
use icecore_testing::disk;
use jiff::Timestamp;
use tempfile::TempDir;

use crate::ops::schedule::LOOK_MS;
use crate::ops::schedule::Scheduler;
use crate::ops::schedule::entry::Entry;
use crate::service::accounts::Who;
use crate::service::droplets::backups::BackupPolicy;
use crate::service::droplets::commands::Command;
use crate::service::droplets::create::DropletRequest;
use crate::service::droplets::create::ImageChoice;
use crate::service::images::commands::ImportRequest;
use crate::service::snapshot_lists::Wanted;
use crate::service::start;
use crate::service::volumes::VolumeRequest;

/// A clock that the test sets.
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now_unix_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A server without sockets, with a clock that the test sets.
struct Fixture {
    dir: TempDir,
    clock: Arc<SetClock>,
    scheduler: Arc<Scheduler>,
    text: String,
}

fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

fn open(dir: &TempDir, clock: &Arc<SetClock>, text: &str) -> Arc<Scheduler> {
    let config = config::parse(text, dir.path()).unwrap();
    let service = Arc::new(start::open(config, Arc::clone(clock) as Arc<dyn Clock>).unwrap());
    Arc::new(Scheduler::new(service, Arc::default()).unwrap())
}

impl Fixture {
    fn new(at: &str, schedules: &str) -> Self {
        Self::with_region(at, Path::new("here"), schedules)
    }

    /// Returns a server whose repository is elsewhere.
    fn with_region(at: &str, repository: &Path, schedules: &str) -> Self {
        let text = format!(
            "[regions.here]\nrepository = {repository:?}\n[[account]]\nname = \"ann\"\nemail = \"ann@example.com\"\n\
             [[account]]\nname = \"bob\"\nemail = \"bob@example.com\"\n{schedules}"
        );
        let dir = TempDir::new().unwrap();
        let clock = Arc::new(SetClock(AtomicI64::new(ms(at))));
        let scheduler = open(&dir, &clock, &text);
        let fixture = Self { dir, clock, scheduler, text };
        assert_eq!(fixture.at(at), [""; 0], "what is new is not due");
        fixture
    }

    /// Replaces the server with a new one.
    fn restart(&mut self) {
        self.scheduler.stop();
        self.scheduler = open(&self.dir, &self.clock, &self.text);
    }

    /// Runs what is due at a time, and returns the names.
    fn at(&self, time: &str) -> Vec<String> {
        self.clock.0.store(ms(time), Ordering::SeqCst);
        let due = self.scheduler.due(ms(time)).unwrap();
        let due: Vec<Entry> = due.into_iter().filter(|entry| !entry.name.starts_with('/')).collect();
        due.iter().for_each(|entry| self.scheduler.run(entry, ms(time)));
        due.into_iter().map(|entry| entry.name).collect()
    }

    fn volume(&self, account: &str, name: &str, tags: &[&str]) {
        let request = VolumeRequest {
            name: name.to_owned(),
            region: Some("here".to_owned()),
            size_gigabytes: Some(1),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..VolumeRequest::default()
        };
        self.scheduler.service.volumes.create(&Who(account.to_owned()), &request).unwrap();
    }

    /// Creates a Droplet for ann from an image that it imports, with daily backups at four o'clock.
    fn droplet(&self, name: &str) -> String {
        let (service, ann) = (&self.scheduler.service, Who("ann".to_owned()));
        let disk = self.dir.path().join("import/disk.raw");
        std::fs::create_dir(self.dir.path().join("import")).unwrap();
        std::fs::write(&disk, vec![7; 300_000]).unwrap();
        let import = ImportRequest {
            name: "base".to_owned(),
            url: format!("file://{}", disk.display()),
            region: "here".to_owned(),
            distribution: String::new(),
            description: String::new(),
            tags: Vec::new(),
        };
        let image = service.image_commands.import(&ann, &import).unwrap().number;
        self.settle();
        let request = DropletRequest {
            names: vec![name.to_owned()],
            region: Some("here".to_owned()),
            size: "small".to_owned(),
            image: Some(ImageChoice::Number(image)),
            backups: Some(BackupPolicy::new(Some("daily"), None, Some(4)).unwrap()),
            ..DropletRequest::default()
        };
        service.new_droplets.create(&ann, &request).unwrap()[0].0.number.to_string()
    }

    /// Waits until no action is running.
    fn settle(&self) {
        while !self.scheduler.service.db.unfinished_actions().unwrap().is_empty() {
            std::thread::yield_now();
        }
    }

    /// Takes the backups that are due at a time, and returns their number.
    fn backups_at(&self, time: &str) -> usize {
        self.clock.0.store(ms(time), Ordering::SeqCst);
        let mut due = self.scheduler.due(ms(time)).unwrap();
        due.retain(|entry| entry.name.starts_with("/backup/"));
        due.iter().for_each(|entry| self.scheduler.run(entry, ms(time)));
        self.settle();
        due.len()
    }

    fn snapshots(&self, account: &str) -> Vec<String> {
        let all = self.scheduler.service.snapshots.list(&Who(account.to_owned()), &Wanted::own()).unwrap();
        all.iter().map(|item| format!("{} {}", item.snapshot.resource, item.snapshot.name)).collect()
    }
}

const DROPLETS: &str =
    "[import]\nfolders = [\"import\"]\n[[size]]\nslug = \"small\"\ndisk = 1\nmemory = 512\nvcpus = 1\n";

#[test]
fn backups_are_taken_at_their_hour_and_go_after_a_week() {
    let fixture = Fixture::new("2026-11-01T12:00:00Z", DROPLETS);
    let droplet = fixture.droplet("web");
    assert_eq!(fixture.backups_at("2026-11-01T12:00:00Z"), 0, "a new plan waits for its hour");
    assert_eq!(fixture.backups_at("2026-11-02T03:59:59Z"), 0);
    for day in 2..=10 {
        assert_eq!(fixture.backups_at(&format!("2026-11-{day:02}T04:00:00Z")), 1);
        assert_eq!(fixture.backups_at(&format!("2026-11-{day:02}T04:00:01Z")), 0);
    }
    // The backup of a week ago is not a full week old; the one of the day before is.
    let kept: Vec<String> = (3..=10).map(|day| format!("web 2026-11-{day:02} 04:00:00")).collect();
    assert_eq!(fixture.snapshots("ann")[1..], kept);
    let ann = Who("ann".to_owned());
    fixture.scheduler.service.droplet_commands.command(&ann, &droplet, &Command::DisableBackups).unwrap();
    fixture.settle();
    assert_eq!(fixture.backups_at("2026-11-20T04:00:00Z"), 0);
    assert_eq!(fixture.snapshots("ann")[1..], kept, "without a plan nothing is taken, and nothing goes");
}

#[test]
fn droplets_are_snapshotted_by_schedules_too() {
    let schedule = "[[schedule]]\nname = \"nightly\"\ncron = \"@daily\"\ntask = \"snapshot\"\nof = [\"droplet\"]\nkeep = { last = 2 }\n";
    let fixture = Fixture::new("2026-11-01T12:00:00Z", &format!("{DROPLETS}{schedule}"));
    fixture.droplet("web");
    fixture.volume("ann", "data", &[]);
    for day in ["02", "03", "04"] {
        assert_eq!(fixture.at(&format!("2026-11-{day}T00:00:00Z")), ["nightly"]);
        fixture.settle();
    }
    let taken = ["web nightly-20261103-000000", "web nightly-20261104-000000"];
    assert_eq!(fixture.snapshots("ann")[1..], taken);
}

#[test]
fn what_was_missed_while_no_server_ran_is_done_once() {
    let nightly = "[[schedule]]\nname = \"nightly\"\ncron = \"30 2 * * *\"\ntask = \"snapshot\"\n";
    let mut fixture = Fixture::new("2026-11-01T12:00:00Z", nightly);
    fixture.volume("ann", "db", &[]);
    assert!(fixture.at("2026-11-02T02:29:59Z").is_empty());
    assert_eq!(fixture.at("2026-11-02T02:30:00Z"), ["nightly"]);
    assert!(fixture.at("2026-11-02T02:30:01Z").is_empty());
    fixture.restart();
    assert_eq!(fixture.at("2026-11-09T10:00:00Z"), ["nightly"]);
    assert!(fixture.at("2026-11-09T10:00:01Z").is_empty());
    assert_eq!(fixture.at("2026-11-10T02:30:00Z"), ["nightly"]);
    let names =
        ["20261102-023000", "20261109-100000", "20261110-023000"].map(|time| format!("db nightly-{time}"));
    assert_eq!(fixture.snapshots("ann"), names);
    // A clock that was wrong by years does not stop the schedule for years.
    assert_eq!(fixture.at("2036-01-01T00:00:00Z"), ["nightly"]);
    assert!(fixture.at("2026-11-11T00:00:00Z").is_empty());
    assert_eq!(fixture.at("2026-11-11T02:30:00Z"), ["nightly"]);
}

#[test]
fn snapshots_of_a_clock_that_was_ahead_or_is_behind_take_no_place_of_others() {
    let schedule =
        "[[schedule]]\nname = \"nightly\"\ncron = \"@daily\"\ntask = \"snapshot\"\nkeep = { last = 2 }\n";
    let fixture = Fixture::new("2026-11-01T12:00:00Z", schedule);
    fixture.volume("ann", "db", &[]);
    assert_eq!(fixture.at("2026-11-02T00:00:00Z"), ["nightly"]);
    assert_eq!(fixture.at("2036-01-01T00:00:00Z"), ["nightly"], "the clock is ahead");
    fixture.at("2026-11-02T12:00:00Z");
    for day in ["03", "04", "05"] {
        assert_eq!(fixture.at(&format!("2026-11-{day}T00:00:00Z")), ["nightly"]);
    }
    let names =
        |times: &[&str]| times.iter().map(|time| format!("db nightly-{time}-000000")).collect::<Vec<_>>();
    // In order of creation.
    assert_eq!(fixture.snapshots("ann"), names(&["20360101", "20261104", "20261105"]));
    fixture.at("2026-10-01T12:00:00Z");
    for day in ["02", "03", "04"] {
        assert_eq!(fixture.at(&format!("2026-10-{day}T00:00:00Z")), ["nightly"], "the clock is behind");
    }
    let taken = ["20360101", "20261104", "20261105", "20261003", "20261004"];
    assert_eq!(fixture.snapshots("ann"), names(&taken), "those of November are from the future now");
    assert_eq!(fixture.at("2026-11-06T00:00:00Z"), ["nightly"]);
    assert_eq!(fixture.snapshots("ann"), names(&["20360101", "20261004", "20261106"]), "the clock is right");
}

#[test]
fn only_what_is_chosen_is_kept_in_snapshots_and_only_its_own_go() {
    let schedule = "[[schedule]]\nname = \"prod\"\ncron = \"@daily\"\ntask = \"snapshot\"\nnames = [\"db-*\"]\ntags = [\"prod\"]\n\
                    accounts = [\"ann\"]\nof = [\"volume\"]\nkeep = { last = 2 }\n";
    let fixture = Fixture::new("2026-11-01T12:00:00Z", schedule);
    fixture.volume("ann", "db-1", &["prod"]);
    fixture.volume("ann", "db-2", &[]);
    fixture.volume("ann", "web", &["prod"]);
    fixture.volume("bob", "db-3", &["prod"]);
    let ann = Who("ann".to_owned());
    let id = fixture.scheduler.service.disks.volumes(&ann).unwrap()[0].id().to_string();
    fixture.scheduler.service.volume_snapshots.take(&ann, &id, "by hand", &[]).unwrap();
    for day in ["02", "03", "04", "05"] {
        assert_eq!(fixture.at(&format!("2026-11-{day}T00:00:00Z")), ["prod"]);
    }
    assert_eq!(
        fixture.snapshots("ann"),
        ["db-1 by hand", "db-1 prod-20261104-000000", "db-1 prod-20261105-000000"]
    );
    assert!(fixture.snapshots("bob").is_empty());
}

#[test]
fn prune_gc_and_verify_run_over_all_regions() {
    let schedules = "[[schedule]]\nname = \"old\"\ncron = \"@daily\"\ntask = \"prune\"\nkeep = { within = \"36h\" }\n\
                     [[schedule]]\nname = \"space\"\ncron = \"@daily\"\ntask = \"gc\"\n\
                     [[schedule]]\nname = \"check\"\ncron = \"@daily\"\ntask = \"verify\"\nshare = 0.5\n";
    let fixture = Fixture::new("2026-11-01T12:00:00Z", schedules);
    fixture.volume("ann", "db", &[]);
    let ann = Who("ann".to_owned());
    let id = fixture.scheduler.service.disks.volumes(&ann).unwrap()[0].id().to_string();
    let take =
        |name: &str| fixture.scheduler.service.volume_snapshots.take(&ann, &id, name, &[]).map(drop).unwrap();
    take("first");
    assert_eq!(fixture.at("2026-11-02T00:00:00Z"), ["old", "space", "check"]);
    take("second");
    assert_eq!(fixture.at("2026-11-03T00:00:00Z").len(), 3);
    assert_eq!(fixture.snapshots("ann"), ["db first", "db second"]);
    assert_eq!(fixture.at("2026-11-03T13:00:00Z").len(), 0);
    assert_eq!(fixture.at("2026-11-04T00:00:00Z").len(), 3);
    assert!(fixture.snapshots("ann").is_empty(), "both are older than a day and a half");
    let place_of = fixture.dir.path().join("here/config");
    std::fs::remove_file(place_of).unwrap();
    // A region that fails affects only its own schedules; each waits for its next time.
    assert_eq!(fixture.at("2026-11-05T00:00:00Z").len(), 3);
    assert!(fixture.at("2026-11-05T00:01:00Z").is_empty());
}

#[test]
fn the_thread_runs_what_is_due_and_ends() {
    let fixture = Fixture::new(
        "2026-11-01T12:00:00Z",
        "[[schedule]]\nname = \"a\"\ncron = \"@hourly\"\ntask = \"gc\"\n",
    );
    fixture.clock.0.store(ms("2026-11-01T13:00:00Z"), Ordering::SeqCst);
    let wait = fixture.scheduler.begin_what_is_due();
    assert_eq!(
        wait,
        Duration::from_millis(LOOK_MS),
        "the next full hour is further away than a look at the clock"
    );
    let thread = fixture.scheduler.start().unwrap();
    fixture.scheduler.stop();
    thread.join().unwrap();
    let done = fixture.scheduler.service.db.schedule_done("a").unwrap();
    let times = ["2026-11-01T12:00:00Z", "2026-11-01T13:00:00Z"].map(|time| Some(ms(time)));
    assert!(times.contains(&done), "it was done, or is left to the next server: {done:?}");
    assert!(fixture.scheduler.lock().is_empty());
}

#[test]
fn the_hour_that_comes_twice_has_snapshots_of_its_own() {
    let half = "[[schedule]]\nname = \"half\"\ncron = \"30 * * * *\"\ntimezone = \"Europe/Berlin\"\ntask = \"snapshot\"\n";
    let fixture = Fixture::new("2026-10-24T23:45:00Z", half);
    fixture.volume("ann", "db", &[]);
    // Both are half past two in Berlin.
    assert_eq!(fixture.at("2026-10-25T00:30:00Z"), ["half"]);
    assert_eq!(fixture.at("2026-10-25T01:30:00Z"), ["half"]);
    assert_eq!(fixture.snapshots("ann"), ["db half-20261025-003000", "db half-20261025-013000"]);
}

#[test]
fn what_ran_when_it_was_looked_at_is_not_due() {
    let fixture = Fixture::new(
        "2026-11-01T12:00:00Z",
        "[[schedule]]\nname = \"a\"\ncron = \"@hourly\"\ntask = \"gc\"\n",
    );
    let due = || {
        let due = fixture.scheduler.due(ms("2026-11-01T13:00:00Z")).unwrap();
        due.iter().filter(|entry| entry.name == "a").count()
    };
    fixture.scheduler.lock().insert("a".to_owned());
    // A run that ends between the check and the start would start again.
    assert_eq!(due(), 0);
    fixture.scheduler.lock().clear();
    assert_eq!(due(), 1);
}

#[test]
fn what_cannot_be_noted_is_remembered() {
    let hourly = "[[schedule]]\nname = \"a\"\ncron = \"@hourly\"\ntask = \"gc\"\n";
    let fixture = Fixture::new("2026-11-01T12:00:00Z", hourly);
    let other = rusqlite::Connection::open(fixture.dir.path().join("state/icecore.sqlite")).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON schedule BEGIN SELECT RAISE(FAIL, 'disk full'); END";
    other.execute_batch(full).unwrap();
    assert_eq!(fixture.at("2026-11-01T13:00:00Z"), ["a"]);
    assert!(fixture.at("2026-11-01T13:00:01Z").is_empty(), "it has run");
    assert_eq!(fixture.at("2026-11-01T14:00:00Z"), ["a"]);
    let done = || fixture.scheduler.service.db.schedule_done("a").unwrap();
    assert_eq!(done(), Some(ms("2026-11-01T12:00:00Z")));
    other.execute_batch("DROP TRIGGER full").unwrap();
    assert!(fixture.at("2026-11-01T14:00:01Z").is_empty());
    assert_eq!(done(), Some(ms("2026-11-01T14:00:00Z")), "it is noted when that is possible again");
}

#[test]
fn volumes_that_cannot_be_listed_keep_nothing_else_from_its_time() {
    let schedules = "[[schedule]]\nname = \"take\"\ncron = \"@daily\"\ntask = \"snapshot\"\n\
                     [[schedule]]\nname = \"space\"\ncron = \"@daily\"\ntask = \"gc\"\n";
    let fixture = Fixture::new("2026-11-01T12:00:00Z", schedules);
    fixture.volume("ann", "db", &[]);
    let backup = "/backup/019a0000-0000-7000-8000-000000000000";
    let db = &fixture.scheduler.service.db;
    db.set_schedule_done(backup, ms("2026-11-01T00:00:00Z")).unwrap();
    let volumes = fixture.dir.path().join("here/local/volumes");
    let away = fixture.dir.path().join("away");
    std::fs::rename(&volumes, &away).unwrap();
    std::fs::write(&volumes, b"no directory").unwrap();
    assert_eq!(fixture.at("2026-11-02T00:00:00Z"), ["take", "space"]);
    assert!(db.schedule_done(backup).unwrap().is_some(), "its Droplet may be there still");
    std::fs::remove_file(&volumes).unwrap();
    std::fs::rename(&away, &volumes).unwrap();
    assert_eq!(fixture.at("2026-11-03T00:00:00Z"), ["take", "space"]);
    assert_eq!(fixture.snapshots("ann"), ["db take-20261103-000000"]);
    assert_eq!(db.schedule_done(backup).unwrap(), None, "there is no such Droplet");
}

#[test]
fn what_found_no_room_is_taken_at_its_next_time_and_the_volume_works_on() {
    let Some(full) = disk::Disk::get(disk::Kind { mib: 24, ..disk::EXT4 }) else { return };
    let nightly =
        "[[schedule]]\nname = \"nightly\"\ncron = \"@daily\"\ntask = \"snapshot\"\nkeep = { last = 2 }\n";
    let fixture = Fixture::with_region("2026-11-01T12:00:00Z", &full.path("here"), nightly);
    fixture.volume("ann", "db", &[]);
    let open = fixture.scheduler.service.pools["here"].disks().open("db").unwrap();
    let write = |byte: u8| {
        open.with(|volume| volume.write_at(0, &vec![byte; 4 << 20]).and_then(|()| volume.sync()))
            .unwrap()
            .unwrap();
    };
    let there = |byte: u8| {
        let mut found = vec![0; 4 << 20];
        open.with(|volume| volume.read_at(0, &mut found)).unwrap().unwrap();
        found.iter().all(|it| *it == byte)
    };
    write(1);
    assert_eq!(fixture.at("2026-11-02T00:00:00Z"), ["nightly"]);
    let first = "db nightly-20261102-000000";
    assert_eq!(fixture.snapshots("ann"), [first]);
    for (day, byte) in [(3, 2), (4, 3)] {
        write(byte);
        full.fill(0);
        assert_eq!(fixture.at(&format!("2026-11-{day:02}T00:00:00Z")), ["nightly"]);
        assert_eq!(
            fixture.at(&format!("2026-11-{day:02}T00:00:01Z")),
            [""; 0],
            "its next time is soon enough"
        );
        assert_eq!(fixture.snapshots("ann"), [first], "the old one stays");
        // What it wrote took the rest.
        full.fill(0);
        write(byte + 10);
        assert!(there(byte + 10));
        full.drain();
    }
    assert_eq!(fixture.at("2026-11-05T00:00:00Z"), ["nightly"]);
    let second = "db nightly-20261105-000000";
    assert_eq!(fixture.snapshots("ann"), [first, second]);
    assert!(there(13));
    // It runs on by its policy.
    write(20);
    assert_eq!(fixture.at("2026-11-06T00:00:00Z"), ["nightly"]);
    assert_eq!(fixture.snapshots("ann"), [second, "db nightly-20261106-000000"]);
}
