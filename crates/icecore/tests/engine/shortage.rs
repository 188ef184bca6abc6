//! This process may not read something, or has too few descriptors or too little memory: that ends
//! a command, and nothing is taken for damaged by it.

use std::io;

use icecore::Error;
use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::maintenance::Depth;
use icecore::repository::ParityScheme;
use icecore::repository::Repository;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore_testing::fault::Calls;
use icecore_testing::fault::Fault;
use icecore_testing::fault_storage::FaultStorage;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::collect;
use icecore_testing::repository::open_with_small_packs;

use crate::volumes::support::volume_options;

/// EMFILE, ENFILE, ENOMEM, EACCES, whether it lasts, and what it is told as.
const SHORTAGES: [(i32, bool, ErrorKind); 5] = [
    (24, true, ErrorKind::OutOfResources),
    (23, false, ErrorKind::OutOfResources),
    (12, false, ErrorKind::OutOfResources),
    (13, true, ErrorKind::PermissionDenied),
    (13, false, ErrorKind::PermissionDenied),
];

/// Returns whether anything was told to be wrong.
type Verb = fn(&Repository, SnapshotId) -> Result<bool, Error>;

const VERBS: [(&str, Verb); 9] = [
    ("list", |repo, _| icecore::snapshot::list(repo).map(|listing| listing.is_empty())),
    ("list volumes", |repo, _| {
        icecore::volume::list_volumes(repo).map(|listing| !listing.unreadable.is_empty())
    }),
    ("verify", |repo, _| {
        let verified = icecore::maintenance::verify_and_note(repo, None, Depth::ReadData, 5, &NoProgress);
        verified.map(|report| !report.findings.is_empty())
    }),
    ("verify of one", |repo, id| {
        icecore::maintenance::verify(repo, Some(&[id]), Depth::Structure, &NoProgress)
            .map(|report| !report.findings.is_empty())
    }),
    ("restore", |repo, id| {
        icecore::snapshot::restore(repo, id, RestoreTo::Stream(&mut io::sink()), OnDamage::GoOn, &NoProgress)
            .map(|report| report.bad.bytes > 0)
    }),
    ("gc", |repo, _| collect(repo).map(|_| false)),
    ("repair index", |repo, _| {
        icecore::maintenance::repair_index(repo, &NoProgress).map(|report| !report.damaged_packs.is_empty())
    }),
    ("repair packs", |repo, _| {
        let repaired = icecore::maintenance::repair_packs(repo, false, &NoProgress);
        repaired.map(|report| {
            !report.damaged_packs.is_empty() || !report.unopened.is_empty() || !report.lost.is_empty()
        })
    }),
    ("repair snapshots", |repo, _| {
        icecore::maintenance::repair_snapshots(repo, &NoProgress).map(|report| !report.lost.is_empty())
    }),
];

#[test]
fn a_shortage_is_an_error_and_never_a_finding() {
    let bench = TestRepository::new();
    icecore::maintenance::set_parity(&bench.repo, ParityScheme::new(2, 1).ok(), &NoProgress).unwrap();
    let repo = open_with_small_packs(bench.storage.clone()).unwrap();
    let options = icecore_testing::repository::options;
    let capture = |image: &Vec<u8>| {
        icecore::snapshot::capture(&repo, image, &options("disk"), &NoProgress).unwrap().snapshot.id
    };
    let id = capture(&Random::new(1).bytes(150_000));
    let gone = capture(&Random::new(2).bytes(100_000));
    icecore::volume::create_volume(&repo, &volume_options("vol", Some(id), None)).unwrap();
    icecore::snapshot::delete(&repo, gone, DeleteOptions::default()).unwrap();
    let files = bench.storage.files();
    for (name, verb) in VERBS {
        for (code, lasting, kind) in SHORTAGES {
            let mut refused = 0;
            for at in 0.. {
                let storage = MemoryStorage::new();
                files.iter().for_each(|(name, bytes)| storage.put(name, bytes.clone()));
                // Opening the repository may succeed: the fault begins after it.
                let counting = Fault::new(Calls::Reads, 0..0, || io::ErrorKind::Other.into());
                drop(open_with_small_packs(FaultStorage::new(storage.clone(), counting.clone())));
                let from = counting.calls() + at;
                let failing = if lasting { from..u64::MAX } else { from..from + 1 };
                let fault = Fault::new(Calls::Reads, failing, move || io::Error::from_raw_os_error(code));
                let repo = open_with_small_packs(FaultStorage::new(storage.clone(), fault.clone())).unwrap();
                let result = verb(&repo, id);
                let Some(failed) = fault.first() else { break };
                match result {
                    Ok(wrong) => assert!(!wrong, "{name}: {failed:?} with {code} is told as damage"),
                    Err(error) => {
                        assert_eq!(error.kind(), kind, "{name}: {failed:?}: {error}");
                        assert!(error.next_step().is_some(), "{error}");
                        refused += 1;
                    }
                }
                drop(repo);
                assert!(!storage.files().keys().any(|name| name.starts_with("damaged/")), "{failed:?}");
                if storage.files() == files {
                    continue;
                }
                let report = icecore::maintenance::verify(
                    &open_with_small_packs(storage.clone()).unwrap(),
                    None,
                    Depth::ReadData,
                    &NoProgress,
                );
                assert_eq!(report.unwrap().findings, [], "{name}: {failed:?}");
            }
            assert!(refused > 0, "{name}");
        }
    }
}
