//! Files that belong to somebody else lie in a repository: every verb goes on, and verify alone
//! tells of them.

use icecore::NoProgress;
use icecore::maintenance::Depth;
use icecore::repository::ParityScheme;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::SnapshotId;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::collect;
use icecore_testing::repository::open;
use icecore_testing::repository::options;
use icecore_testing::repository::restores;
use uuid::Uuid;

use crate::volumes::support::volume_options;

/// Returns names that editors, network file systems and people leave, in each place where icecore
/// keeps files.
fn strays(bench: &TestRepository) -> Vec<String> {
    let files = bench.storage.files();
    let first = |dir: &str| files.keys().find(|name| name.starts_with(dir)).unwrap().clone();
    let upper = |name: String| {
        let (dir, file) = name.rsplit_once('/').unwrap();
        format!("{dir}/{}", file.to_uppercase())
    };
    let mut strays = Vec::new();
    for dir in ["journal", "checkpoint", "index", "parity", "local/volumes", "packs"] {
        for name in [".nfs000000001a2b", "x.bak", "empty", ".x.swp", "x~"] {
            strays.push(format!("{dir}/{name}"));
        }
    }
    let pack = first("packs/");
    // What would be an id if it were spelled as ids are.
    strays.push(upper(first("index/")));
    strays.extend(
        ["journal/000000000000000A", "checkpoint/1", "journal-copies/+000000000000001"].map(str::to_owned),
    );
    strays.push(upper(pack.clone()));
    strays.extend(["journal/", "checkpoint/", "index/", "parity/"].map(|dir| format!("{}~", first(dir))));
    strays.push(format!("{pack}.bak"));
    strays.sort();
    strays.dedup();
    strays
}

fn bench() -> TestRepository {
    let TestRepository { storage, repo } = TestRepository::new();
    icecore::maintenance::set_parity(&repo, ParityScheme::new(3, 1).ok(), &NoProgress).unwrap();
    // What is made with the handle has parity from now on.
    let repo = open(storage.clone());
    TestRepository { storage, repo }
}

#[test]
fn a_file_of_somebody_else_stops_nothing_and_is_told_by_verify() {
    let bench = bench();
    let image = Random::new(1).bytes(300_000);
    // Ids with letters in them, which can be spelled in two ways.
    let take = |id: u128, image: &Vec<u8>| {
        let how = CaptureOptions { id: SnapshotId(Uuid::from_u128(id << 96)), ..options("disk") };
        icecore::snapshot::capture(&bench.repo, image, &how, &NoProgress).unwrap().snapshot.id
    };
    let kept = take(0xabcd_ef01, &image);
    let gone = take(0xabcd_ef02, &Random::new(2).bytes(200_000));
    icecore::volume::create_volume(&bench.repo, &volume_options("vol", Some(kept), None)).unwrap();
    let strays = strays(&bench);
    for (number, name) in strays.iter().enumerate() {
        let bytes = if number % 2 == 0 { Vec::new() } else { b"somebody else's".to_vec() };
        bench.storage.put(name, bytes);
    }
    let repo = bench.another();
    assert_eq!(icecore::snapshot::list(&repo).unwrap().len(), 2);
    assert_eq!(icecore::volume::list_volumes(&repo).unwrap().unreadable.len(), 0);
    icecore::snapshot::delete(&repo, gone, DeleteOptions::default()).unwrap();
    assert!(collect(&repo).unwrap().packs_removed > 0);
    icecore::maintenance::stats(&repo, &NoProgress).unwrap();
    icecore::maintenance::parity_report(&repo).unwrap();
    icecore::snapshot::capture(&repo, &image, &options("again"), &NoProgress).unwrap();
    icecore::maintenance::repair_index(&repo, &NoProgress).unwrap();
    icecore::maintenance::repair_packs(&repo, false, &NoProgress).unwrap();
    assert_eq!(icecore::maintenance::repair_snapshots(&repo, &NoProgress).unwrap().lost, []);
    restores(&repo, kept, &image).unwrap();
    let report = icecore::maintenance::verify(&bench.another(), None, Depth::ReadData, &NoProgress).unwrap();
    let mut told: Vec<String> = report.findings.iter().map(|finding| finding.object.clone()).collect();
    told.sort();
    assert_eq!(told, strays.iter().map(|name| format!("file {name}")).collect::<Vec<_>>());
    assert!(report.findings.iter().all(|finding| finding.problem.contains("move it out")));
    let files = bench.storage.files();
    assert!(strays.iter().all(|name| files.contains_key(name)), "they are not ours to remove");
}
