//! What clients of a volume read of its snapshot is recorded, and fetched first for the next volume,
//! on any machine. A record is a hint: nothing depends on one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use icecore::Meter;
use icecore::NoProgress;
use icecore::Progress;
use icecore::SPAN_BYTES;
use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::maintenance::gc;
use icecore::maintenance::gc::GRACE_MS;
use icecore::maintenance::gc::GcOptions;
use icecore::repository::InitOptions;
use icecore::repository::Repository;
use icecore::repository::Secrets;
use icecore::snapshot::BlockCache;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::RenameOptions;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore::volume::Prefetch;
use icecore::volume::PrefetchEnd;
use icecore::volume::PrefetchExtent;
use icecore::volume::PrefetchReport;
use icecore::volume::StoredReads;
use icecore::volume::Volume;
use icecore::volume::store_reads;
use icecore_testing::bucket::Bucket;
use icecore_testing::bucket::Decide;
use icecore_testing::bucket::Fate;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::init_options;
use icecore_testing::repository::options;
use icecore_testing::repository::sealed;
use icecore_testing::repository::session;
use icecore_testing::repository::with_small_packs;

use crate::volumes::support::open as open_volume;
use crate::volumes::support::snapshot;
use crate::volumes::support::volume_options;

/// Each span is a chunk of its own, and each chunk fills a pack of its own.
const SPANS: usize = 40;
/// The spans that a client reads.
const READ: [usize; 4] = [7, 3, 4, 20];

/// What is asked of a bucket: the requests and the names.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

fn image(seed: u64) -> Vec<u8> {
    Random::new(seed).bytes(SPANS * SPAN_BYTES)
}

fn bucket(secrets: Secrets) -> (Bucket, SnapshotId) {
    let bucket = Bucket::default();
    let place = bucket.seen_from(&MemoryStorage::new());
    Repository::init(place, session(), &InitOptions { secrets, ..init_options() }).unwrap();
    let id = capture(&machine(&bucket), "disk", 1);
    (bucket, id)
}

fn plain() -> (Bucket, SnapshotId) {
    bucket(Secrets::Plain([3; 32]))
}

fn capture(repo: &Repository, resource: &str, seed: u64) -> SnapshotId {
    icecore::snapshot::capture(repo, &image(seed), &options(resource), &NoProgress).unwrap().snapshot.id
}

/// Opens the repository on a machine that has done nothing yet.
fn machine(bucket: &Bucket) -> Arc<Repository> {
    machine_that(bucket, Arc::new(|_, _| Fate::Done))
}

fn machine_that(bucket: &Bucket, decide: Arc<Decide>) -> Arc<Repository> {
    let place = bucket.reached_from(&MemoryStorage::new(), decide);
    Arc::new(with_small_packs(Repository::open(place, session())).unwrap())
}

/// The same, and what it asks for.
fn watched(bucket: &Bucket) -> (Arc<Repository>, Asked) {
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    let decide = move |what: &str, name: &str| {
        noted.lock().unwrap().push((what.to_owned(), name.to_owned()));
        Fate::Done
    };
    (machine_that(bucket, Arc::new(decide)), asked)
}

/// Returns the packs that were asked for so, in order.
fn packs(asked: &Asked, what: &str) -> Vec<String> {
    let asked = asked.lock().unwrap();
    let of_packs = asked.iter().filter(|(did, name)| did == what && name.starts_with("packs/"));
    of_packs.map(|(_, name)| name.split(' ').next().unwrap().to_owned()).collect()
}

fn names(bucket: &Bucket) -> Vec<String> {
    bucket.content().keys().filter(|name| name.starts_with("reads/")).cloned().collect()
}

fn volume(repo: &Arc<Repository>, name: &str, id: SnapshotId) -> Volume {
    icecore::volume::create_volume(repo, &volume_options(name, Some(id), None)).unwrap();
    open_volume(repo, name).unwrap()
}

fn read(volume: &Volume, spans: &[usize]) {
    let mut bytes = vec![0; 1000];
    for span in spans {
        volume.read_at((span * SPAN_BYTES + 500) as u64, &mut bytes).unwrap();
    }
}

/// Records reads of some spans of a snapshot, on a machine of its own.
fn record(bucket: &Bucket, id: SnapshotId, spans: &[usize]) -> Option<StoredReads> {
    let repo = machine(bucket);
    let volume = volume(&repo, "web", id);
    assert!(volume.record_reads());
    read(&volume, spans);
    store_reads(&volume).unwrap()
}

fn prefetch(repo: &Arc<Repository>, id: SnapshotId, extent: PrefetchExtent) -> PrefetchReport {
    prefetch_with(repo, id, extent, u64::MAX, &NoProgress)
}

fn prefetch_with(
    repo: &Arc<Repository>,
    id: SnapshotId,
    extent: PrefetchExtent,
    bytes_max: u64,
    progress: &dyn Progress,
) -> PrefetchReport {
    let found = Prefetch::of_snapshot(Arc::clone(repo), id, &BlockCache::usual()).unwrap();
    found.run(extent, bytes_max, progress).unwrap()
}

fn has_record(bucket: &Bucket, id: SnapshotId) -> bool {
    prefetch(&machine(bucket), id, PrefetchExtent::Recorded).has_record
}

/// Returns the packs that a reader of these spans opens, on a machine of its own.
fn packs_of(bucket: &Bucket, id: SnapshotId, spans: &[usize]) -> BTreeSet<String> {
    let (repo, asked) = watched(bucket);
    let volume = volume(&repo, "reader", id);
    asked.lock().unwrap().clear();
    read(&volume, spans);
    packs(&asked, "get").into_iter().collect()
}

#[test]
fn what_was_recorded_is_fetched_first_and_then_the_rest() {
    for secrets in [Secrets::Plain([3; 32]), sealed()] {
        let (bucket, id) = bucket(secrets);
        let stored = record(&bucket, id, &READ).unwrap();
        let bytes = (READ.len() * SPAN_BYTES) as u64;
        assert_eq!(stored, StoredReads { snapshot: id, ranges: 3, bytes, is_full: false });

        let (repo, asked) = watched(&bucket);
        let recorded = prefetch(&repo, id, PrefetchExtent::Recorded);
        let first: BTreeSet<String> = packs(&asked, "near").into_iter().collect();
        assert_eq!((first.len(), recorded.end), (READ.len(), PrefetchEnd::Complete));
        assert!(recorded.has_record && recorded.bytes >= bytes && recorded.recorded_bytes == recorded.bytes);
        // The others that its reader opens have pages.
        assert!(first.is_subset(&packs_of(&bucket, id, &READ)));

        let (repo, asked) = watched(&bucket);
        let volume = volume(&repo, "next", id);
        let found = Prefetch::of_volume(&volume).unwrap().unwrap();
        let all = found.run(PrefetchExtent::All, u64::MAX, &NoProgress).unwrap();
        let near = packs(&asked, "near");
        assert_eq!(all.recorded_bytes, recorded.bytes);
        assert!(all.bytes >= (SPANS * SPAN_BYTES) as u64);
        assert_eq!(near[..READ.len()].iter().cloned().collect::<BTreeSet<_>>(), first);
        assert_eq!((near.len(), near.iter().collect::<BTreeSet<_>>().len()), (SPANS, SPANS));
    }
}

#[test]
fn without_a_record_everything_is_fetched_and_an_empty_volume_needs_nothing() {
    let (bucket, id) = plain();
    let (repo, asked) = watched(&bucket);
    let all = prefetch(&repo, id, PrefetchExtent::All);
    assert_eq!((all.has_record, all.recorded_bytes, packs(&asked, "near").len()), (false, 0, SPANS));
    let nothing = prefetch(&repo, id, PrefetchExtent::Recorded);
    assert_eq!((nothing.bytes, nothing.end), (0, PrefetchEnd::Complete));
    icecore::volume::create_volume(&repo, &volume_options("empty", None, Some(1 << 20))).unwrap();
    let empty = open_volume(&repo, "empty").unwrap();
    assert!(Prefetch::of_volume(&empty).unwrap().is_none());
    assert!(!empty.record_reads());
    assert_eq!(store_reads(&empty).unwrap(), None);
}

/// Stops after the first part.
#[derive(Default)]
struct Once(AtomicBool);

impl Progress for Once {
    fn total(&self, _meter: Meter, _total: u64) {}

    fn advance(&self, meter: Meter, _amount: u64) {
        self.0.fetch_or(meter == Meter::Fetched, Ordering::SeqCst);
    }

    fn cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn no_more_is_fetched_than_fits_and_none_after_it_is_to_stop() {
    let (bucket, id) = plain();
    record(&bucket, id, &READ).unwrap();
    let bytes_max = 6 * 70_000;
    for (extent, count) in [(PrefetchExtent::Recorded, 4), (PrefetchExtent::All, 6)] {
        let (repo, asked) = watched(&bucket);
        let report = prefetch_with(&repo, id, extent, bytes_max, &NoProgress);
        let is_all = extent == PrefetchExtent::All;
        assert_eq!(report.end, if is_all { PrefetchEnd::Full } else { PrefetchEnd::Complete });
        assert!(report.bytes <= bytes_max && packs(&asked, "near").len() == count, "{report:?}");
    }
    let report = prefetch_with(&machine(&bucket), id, PrefetchExtent::All, 0, &NoProgress);
    assert_eq!((report.end, report.bytes), (PrefetchEnd::Full, 0));
    // In the middle of many: those that were on their way arrive.
    let (bucket, id) = plain();
    let (repo, asked) = watched(&bucket);
    let report = prefetch_with(&repo, id, PrefetchExtent::All, u64::MAX, &Once::default());
    assert_eq!(report.end, PrefetchEnd::Stopped);
    assert!(packs(&asked, "near").len() <= 8);
}

#[test]
fn what_cannot_be_fetched_is_told_unless_it_is_damaged() {
    let (bucket, id) = plain();
    let decide = |what: &str, _: &str| if what == "near" { Fate::Lost } else { Fate::Done };
    let found = Prefetch::of_snapshot(machine_that(&bucket, Arc::new(decide)), id, &BlockCache::usual());
    found.unwrap().run(PrefetchExtent::All, u64::MAX, &NoProgress).unwrap_err();
    let lost = packs_of(&bucket, id, &[9]).into_iter().find(|name| {
        let only_this = packs_of(&bucket, id, &[10]);
        !only_this.contains(name)
    });
    bucket.content().remove(&lost.unwrap()).unwrap();
    let (repo, asked) = watched(&bucket);
    assert_eq!(prefetch(&repo, id, PrefetchExtent::All).end, PrefetchEnd::Complete);
    assert_eq!(packs(&asked, "near").len(), SPANS - 1);
}

#[test]
fn only_what_comes_from_the_snapshot_is_recorded_until_another_takes_its_place() {
    let (bucket, id) = plain();
    let repo = machine(&bucket);
    let volume = volume(&repo, "web", id);
    read(&volume, &[1]);
    assert!(volume.record_reads());
    volume.write_at((5 * SPAN_BYTES) as u64, &vec![7; SPAN_BYTES]).unwrap();
    read(&volume, &[5, 2]);
    snapshot(&volume).unwrap();
    read(&volume, &[3, 5]);
    let stored = store_reads(&volume).unwrap().unwrap();
    assert_eq!((stored.snapshot, stored.ranges, stored.bytes), (id, 1, SPAN_BYTES as u64));
    assert_eq!(store_reads(&volume).unwrap(), None, "it is stored once");
    assert_eq!(names(&bucket), [format!("reads/{id}-0001")]);
}

#[test]
fn the_newest_record_counts_that_can_be_used_and_none_is_needed() {
    let (bucket, id) = plain();
    record(&bucket, id, &[1, 9]).unwrap();
    record(&bucket, id, &[2]).unwrap();
    let near = || {
        let (repo, asked) = watched(&bucket);
        prefetch(&repo, id, PrefetchExtent::Recorded);
        packs(&asked, "near").len()
    };
    assert_eq!(near(), 1);
    let damage = |name: String| {
        let mut content = bucket.content();
        let bytes = Arc::make_mut(content.get_mut(&name).unwrap());
        *bytes.last_mut().unwrap() ^= 1;
    };
    damage(format!("reads/{id}-0002"));
    assert_eq!(near(), 2);
    let put = |name: &str, bytes: Vec<u8>| bucket.content().insert(format!("reads/{name}"), Arc::new(bytes));
    put(&format!("{id}-0003"), Vec::new());
    put(&format!("{id}-0004"), vec![0; 3 << 20]);
    put(&format!("{id}-{}", u64::MAX), b"ICEREAD\n".to_vec());
    put("what is this", vec![1]);
    assert_eq!(near(), 2);
    // A record of another snapshot under this name.
    let other = capture(&machine(&bucket), "other", 2);
    record(&bucket, other, &[1, 2, 3]).unwrap();
    let misplaced = bucket.content()[&format!("reads/{other}-0001")].to_vec();
    put(&format!("{id}-0005"), misplaced);
    assert_eq!(near(), 2);
    damage(format!("reads/{id}-0001"));
    assert!(!has_record(&bucket, id));
    let repo = machine(&bucket);
    assert_sound(&repo, "with damaged records of reads");
    assert_eq!(prefetch(&repo, id, PrefetchExtent::All).end, PrefetchEnd::Complete);
}

#[test]
fn what_was_recorded_of_another_snapshot_of_the_resource_serves_as_well() {
    let (bucket, old) = plain();
    let repo = machine(&bucket);
    let [new, newest, other] =
        [("disk", 2), ("disk", 3), ("other", 4)].map(|(name, seed)| capture(&repo, name, seed));
    record(&bucket, old, &[1, 2, 3]).unwrap();
    record(&bucket, new, &[5]).unwrap();
    let near = |id| {
        let (repo, asked) = watched(&bucket);
        let report = prefetch(&repo, id, PrefetchExtent::Recorded);
        (report.has_record, packs(&asked, "near").into_iter().collect::<BTreeSet<_>>())
    };
    let (is_known, packs) = near(newest);
    assert!(is_known && packs.len() == 1 && packs.is_subset(&packs_of(&bucket, newest, &[5])));
    assert_eq!(near(other), (false, BTreeSet::new()));
}

#[test]
fn a_record_needs_no_right_to_delete_and_replaces_none() {
    let (bucket, id) = plain();
    record(&bucket, id, &[1]).unwrap();
    let before = bucket.content()[&format!("reads/{id}-0001")].to_vec();
    // Another machine takes the name a moment earlier.
    let meanwhile = Mutex::new(Some(bucket.clone()));
    let decide = move |what: &str, name: &str| match what {
        "delete" | "replace" => Fate::Denied,
        "put" if name.starts_with("reads/") => {
            if let Some(bucket) = meanwhile.lock().unwrap().take() {
                bucket.content().insert(name.to_owned(), Arc::new(b"of another machine".to_vec()));
            }
            Fate::Done
        }
        _ => Fate::Done,
    };
    let repo = machine_that(&bucket, Arc::new(decide));
    let volume = volume(&repo, "web", id);
    volume.record_reads();
    read(&volume, &[2]);
    assert!(store_reads(&volume).unwrap().is_some());
    assert_eq!(names(&bucket), [1, 2, 3].map(|number| format!("reads/{id}-000{number}")));
    let content = bucket.content();
    assert_eq!(*content[&format!("reads/{id}-0001")], before);
    assert_eq!(*content[&format!("reads/{id}-0002")], b"of another machine");
}

#[test]
fn a_record_of_a_sealed_repository_tells_nothing_and_is_bound_to_its_name() {
    let (bucket, id) = bucket(sealed());
    record(&bucket, id, &READ).unwrap();
    let [name] = names(&bucket).try_into().unwrap();
    let bytes = bucket.content()[&name].to_vec();
    let plain: [&[u8]; 3] = [b"ICEREAD\n", id.0.as_bytes(), &7_u64.to_le_bytes()];
    for secret in plain {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{secret:?}");
    }
    assert!(!name.contains(&id.to_string()) && !name.contains(&id.0.simple().to_string()), "{name}");
    assert!(has_record(&bucket, id));
    // Another number, and another snapshot.
    bucket.content().remove(&name).unwrap();
    bucket.content().insert(name.replace("-0001", "-0002"), Arc::new(bytes.clone()));
    assert!(!has_record(&bucket, id));
    let other = capture(&machine(&bucket), "other", 2);
    record(&bucket, other, &[1]).unwrap();
    let of_other = names(&bucket).into_iter().find(|name| name.ends_with("-0001")).unwrap();
    bucket.content().insert(of_other, Arc::new(bytes.clone()));
    assert!(!has_record(&bucket, other));
    bucket.content().insert(name, Arc::new(bytes));
    assert!(has_record(&bucket, id));
}

#[test]
fn gc_removes_records_that_are_of_no_use_any_more() {
    let repository = TestRepository::new();
    let repo = Arc::new(repository.another());
    let [kept, gone, below] =
        [("a", 1), ("b", 2), ("c", 3)].map(|(resource, seed)| capture(&repo, resource, seed));
    for (name, id, times) in [("kept", kept, 3), ("gone", gone, 1), ("below", below, 1)] {
        let volume = volume(&repo, name, id);
        for span in 0..times {
            volume.record_reads();
            read(&volume, &[span]);
            store_reads(&volume).unwrap().unwrap();
        }
    }
    let before = icecore::maintenance::stats(&repo, &NoProgress).unwrap().repository;
    let files = repository.storage.files();
    let records = files.iter().filter(|(name, _)| name.starts_with("reads/"));
    let bytes: u64 = records.map(|(_, bytes)| bytes.len() as u64).sum();
    assert_eq!(repository.count("reads/"), 5);
    assert_eq!(before.total_bytes, files.values().map(|bytes| bytes.len() as u64).sum::<u64>());
    icecore::volume::delete_volume(&repo, "gone").unwrap();
    for id in [gone, below] {
        let options = DeleteOptions { clones_keep_it: true };
        icecore::snapshot::delete(&repo, id, options).unwrap();
    }
    // A deletion can be undone as before.
    icecore::snapshot::undelete(&repo, &[gone], RenameOptions::default()).unwrap();
    icecore::snapshot::delete(&repo, gone, DeleteOptions::default()).unwrap();
    collect(&repo).unwrap();
    assert_eq!(repository.count("reads/"), 2);
    assert!(repository.storage.files().keys().any(|name| name.ends_with("-0003")));
    let after = icecore::maintenance::stats(&repo, &NoProgress).unwrap().repository;
    assert!(bytes > 0 && after.metadata_bytes < before.metadata_bytes + bytes, "{after:?}");
    assert_sound(&repo, "after a gc");
    assert!(prefetch(&repo, kept, PrefetchExtent::Recorded).has_record);
}

#[test]
fn where_other_machines_write_gc_leaves_young_records_alone() {
    let (bucket, id) = plain();
    record(&bucket, id, &[1]).unwrap();
    bucket.wait_ms(GRACE_MS);
    record(&bucket, id, &[2]).unwrap();
    bucket.wait_ms(GRACE_MS - 1);
    record(&bucket, id, &[3]).unwrap();
    let collect = |grace_ms| {
        let repo = machine(&bucket);
        let options = GcOptions { grace_ms, ..GcOptions::new(0.0) };
        gc::apply(&repo, gc::plan(&repo, &options, &NoProgress).unwrap(), &NoProgress).unwrap();
        names(&bucket).into_iter().map(|name| name.rsplit_once('-').unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(collect(GRACE_MS), ["0002", "0003"]);
    assert_eq!(collect(0), ["0003"]);
}

#[test]
fn a_record_that_the_bucket_keeps_for_a_time_goes_after_that() {
    let (bucket, id) = plain();
    record(&bucket, id, &[1]).unwrap();
    record(&bucket, id, &[2]).unwrap();
    let kept: Arc<Decide> = Arc::new(|what, _| if what == "delete" { Fate::Retained } else { Fate::Done });
    for (repo, removed, left) in [(machine_that(&bucket, kept), 0, 2), (machine(&bucket), 1, 1)] {
        let options = GcOptions { grace_ms: 0, ..GcOptions::new(0.0) };
        let plan = gc::plan(&repo, &options, &NoProgress).unwrap();
        let told = gc::apply(&repo, plan, &NoProgress).unwrap();
        assert_eq!((told.leftovers_removed, names(&bucket).len()), (removed, left));
    }
}
