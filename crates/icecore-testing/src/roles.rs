//! What each place of a repository must keep, in a directory, a bucket or a test.

use std::io;
use std::thread;

use icecore::snapshot::SnapshotId;
use icecore::storage::Claim;
use icecore::storage::LockGuard;
use icecore::storage::LockMode;
use icecore::storage::Objects;
use icecore::storage::Put;
use icecore::storage::Sessions;
use icecore::storage::StoredFile;
use icecore::storage::Told;
use icecore::storage::Wait;
use icecore::storage::Work;
use uuid::Uuid;

const SPOOL: &str = "local/tmp/session-0";

fn bytes_of(file: &dyn StoredFile) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

/// Fails unless these objects, of which there are none yet, are such as the engine needs.
pub fn assert_objects(objects: &dyn Objects, what: &str) {
    let tried = Tried { objects, what };
    tried.a_name_is_given_once();
    tried.what_is_written_piece_by_piece_appears_whole();
    tried.what_is_deleted_is_gone_and_what_is_open_stays();
    tried.a_rename_replaces_nothing();
}

struct Tried<'a> {
    objects: &'a dyn Objects,
    what: &'a str,
}

impl Tried<'_> {
    fn content(&self, name: &str) -> Vec<u8> {
        bytes_of(&*self.objects.open(name).unwrap())
    }

    fn is_missing(&self, name: &str) -> bool {
        self.objects.open(name).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    fn names(&self, dir: &str) -> Vec<String> {
        let mut names = self.objects.list(dir).unwrap();
        names.sort();
        names
    }

    fn a_name_is_given_once(&self) {
        let Self { objects, what } = self;
        ["", "journal", "packs"].iter().for_each(|dir| objects.prepare(dir).unwrap());
        objects.sync("").unwrap();
        assert!(self.names("packs").is_empty() && self.names("nowhere").is_empty(), "{what}");
        assert!(self.is_missing("journal/1"), "{what}");
        assert_eq!(objects.put_new("journal/1", b"first", SPOOL).unwrap(), Put::Made, "{what}");
        assert_eq!(objects.put_new("journal/1", b"second", SPOOL).unwrap(), Put::Exists, "{what}");
        assert_eq!(self.content("journal/1"), b"first", "{what}");
        let made = thread::scope(|threads| {
            let puts: Vec<_> = (0..8_u8)
                .map(|number| {
                    let spool = format!("local/tmp/thread-{number}");
                    threads.spawn(move || (number, objects.put_new("journal/2", &[number], &spool).unwrap()))
                })
                .collect();
            let mut puts: Vec<_> = puts.into_iter().map(|put| put.join().unwrap()).collect();
            puts.retain(|(_, put)| *put == Put::Made);
            puts
        });
        assert!(
            matches!(made[..], [(number, _)] if self.content("journal/2") == [number]),
            "{what}: {made:?}"
        );
        // Hints replace each other.
        objects.put_hint("copies/1", b"a").unwrap();
        objects.put_hint("copies/1", b"b").unwrap();
        assert_eq!(self.content("copies/1"), b"b", "{what}");
        let told = objects.list_told("copies").unwrap();
        assert!(matches!(&told[..], [Told { name, bytes: 1, .. }] if name == "1"), "{what}: {told:?}");
    }

    /// Also in a directory that is not there yet.
    fn what_is_written_piece_by_piece_appears_whole(&self) {
        let Self { objects, what } = self;
        let mut object = objects.begin(SPOOL).unwrap();
        object.append(b"one, ").unwrap();
        object.sync().unwrap();
        object.append(b"two").unwrap();
        let opened = object.open().unwrap();
        assert!(self.is_missing("parity/x"), "{what}");
        assert_eq!(object.publish("parity/x").unwrap(), Put::Made, "{what}");
        assert_eq!(self.content("parity/x"), b"one, two", "{what}");
        let mut part = [0; 3];
        let stored = objects.open("parity/x").unwrap();
        stored.read_at(5, &mut part).unwrap();
        assert_eq!((&part, &stored.map(1..4).unwrap()[..]), (b"two", &b"ne,"[..]), "{what}");
        assert!(stored.read_at(7, &mut part).is_err(), "{what}: beyond the end");

        // A taken name changes nothing; a repair takes it all the same.
        let mut whole = objects.begin(SPOOL).unwrap();
        whole.append(b"whole").unwrap();
        assert_eq!(whole.publish("parity/x").unwrap(), Put::Exists, "{what}");
        assert_eq!(bytes_of(&*whole.open().unwrap()), b"whole", "{what}");
        assert_eq!(self.content("parity/x"), b"one, two", "{what}");
        whole.mend("parity/x").unwrap();
        drop(whole);
        assert_eq!(self.content("parity/x"), b"whole", "{what}");
        assert_eq!(bytes_of(&*opened), b"one, two", "{what}: what is open stays");

        // Without a name nothing is left.
        let mut object = objects.begin(SPOOL).unwrap();
        object.append(b"lost").unwrap();
        drop(object);
        assert_eq!(self.names("parity"), ["x"], "{what}");
    }

    fn what_is_deleted_is_gone_and_what_is_open_stays(&self) {
        let Self { objects, what } = self;
        for (name, is_fast) in [("packs/a", false), ("packs/b", true)] {
            objects.put_new(name, b"pack", SPOOL).unwrap();
            let opened = objects.open(name).unwrap();
            for _ in 0..2 {
                if is_fast {
                    let free = objects.delete_fast(name, SPOOL).unwrap();
                    assert!(self.is_missing(name), "{what}");
                    free().unwrap();
                } else {
                    objects.delete(name).unwrap();
                }
            }
            assert!(self.is_missing(name) && self.names("packs").is_empty(), "{what}");
            assert_eq!(bytes_of(&*opened), b"pack", "{what}");
            objects.sync("packs").unwrap();
        }
    }

    fn a_rename_replaces_nothing(&self) {
        let Self { objects, what } = self;
        let failed = |from: &str, to: &str| objects.rename(from, to).unwrap_err().kind();
        assert_eq!(failed("journal/1", "journal/2"), io::ErrorKind::AlreadyExists, "{what}");
        objects.rename("journal/1", "damaged/1").unwrap();
        assert_eq!(
            (self.content("damaged/1"), self.names("journal").len()),
            (b"first".to_vec(), 1),
            "{what}"
        );
        assert_eq!(failed("journal/1", "damaged/2"), io::ErrorKind::NotFound, "{what}");
    }
}

/// Fails unless these sessions, of which there are none yet, are such as the engine needs.
pub fn assert_sessions(sessions: &dyn Sessions, what: &str) {
    let claim =
        |claim, mode| -> Option<Box<dyn LockGuard>> { sessions.claim(claim, mode, Wait::No).unwrap() };
    // Whoever is alone keeps others out, but not from something else.
    for work in Work::ALL {
        let alone = claim(Claim::Only(work), LockMode::Exclusive);
        assert!(
            alone.is_some() && claim(Claim::Only(work), LockMode::Exclusive).is_none(),
            "{what}: {work:?}"
        );
    }
    let held = Work::ALL.map(|work| claim(Claim::Only(work), LockMode::Exclusive));
    assert!(held.iter().all(Option::is_some), "{what}: they are free again, and each of its own");

    // Readers share.
    let snapshot = Claim::Snapshot(SnapshotId(Uuid::from_u128(1)));
    let readers = [(); 2].map(|()| claim(snapshot, LockMode::Shared));
    assert!(readers.iter().all(Option::is_some), "{what}");
    assert!(claim(snapshot, LockMode::Exclusive).is_none(), "{what}");
    drop(readers);
    claim(snapshot, LockMode::Exclusive).unwrap().dismiss().unwrap();
    let volume = claim(Claim::Volume("a"), LockMode::Exclusive);
    assert!(volume.is_some() && claim(Claim::VolumeRecord("a"), LockMode::Exclusive).is_some(), "{what}");

    // Writers announce, and leave a trace if they die.
    let [own, other, ended] = ["own", "other", "ended"].map(|session| {
        let mut writer = claim(Claim::Writer(session), LockMode::Exclusive).unwrap();
        writer.append(session.as_bytes()).unwrap();
        writer.append(b", twice").unwrap();
        writer
    });
    ended.dismiss().unwrap();
    let mut writers = sessions.writers().unwrap();
    writers.sort();
    assert_eq!(writers, ["other", "own"], "{what}");
    assert_eq!(sessions.announced("other").unwrap(), b"other, twice", "{what}");
    assert_eq!(sessions.announced("ended").unwrap_err().kind(), io::ErrorKind::NotFound, "{what}");
    let traces = || {
        let mut traces = sessions.traces("own").unwrap();
        traces.retain(|trace| trace.contains("writer"));
        traces
    };
    let [trace] = &traces()[..] else { panic!("{what}: {:?}", traces()) };
    assert!(!sessions.remove_trace(trace).unwrap(), "{what}: it lives");
    drop(other);
    assert!(sessions.remove_trace(trace).unwrap(), "{what}");
    assert_eq!((traces(), sessions.writers().unwrap()), (Vec::new(), vec!["own".to_owned()]), "{what}");
    drop(own);
}
