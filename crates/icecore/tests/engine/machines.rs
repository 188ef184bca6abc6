//! Machines that share a bucket. They know nothing of each other but what is in the bucket: whatever
//! they do at once, no snapshot loses a byte, and what nobody needs goes after a while.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::Result;
use icecore::image::WriteAt;
use icecore::maintenance::gc;
use icecore::maintenance::gc::GRACE_MS;
use icecore::maintenance::gc::GcOptions;
use icecore::maintenance::gc::GcTotals;
use icecore::repository::InitOptions;
use icecore::repository::Repository;
use icecore::repository::Secrets;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use icecore_testing::bucket::Bucket;
use icecore_testing::bucket::Decide;
use icecore_testing::bucket::Fate;
use icecore_testing::random::Random;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::init_options;
use icecore_testing::repository::meanwhile;
use icecore_testing::repository::options;
use icecore_testing::repository::restores;
use icecore_testing::repository::sealed;
use icecore_testing::repository::session;
use icecore_testing::repository::with_small_packs;

use crate::volumes::support::open as open_volume;
use crate::volumes::support::snapshot;
use crate::volumes::support::volume_options;

fn repository(bucket: &Bucket) -> Repository {
    let place = bucket.seen_from(&MemoryStorage::new());
    with_small_packs(Repository::init(place, session(), &init_options())).unwrap()
}

/// Opens a bucket on a machine that has done nothing yet.
fn machine(bucket: &Bucket) -> Repository {
    with_small_packs(Repository::open(bucket.seen_from(&MemoryStorage::new()), session())).unwrap()
}

fn machine_that(bucket: &Bucket, decide: Arc<Decide>) -> Repository {
    let place = bucket.reached_from(&MemoryStorage::new(), decide);
    with_small_packs(Repository::open(place, session())).unwrap()
}

fn capture(repo: &Repository, image: &[u8]) -> Result<SnapshotId> {
    let captured = icecore::snapshot::capture(repo, &image.to_vec(), &options("disk"), &NoProgress)?;
    Ok(captured.snapshot.id)
}

fn delete(repo: &Repository, id: SnapshotId) {
    icecore::snapshot::delete(repo, id, DeleteOptions::default()).unwrap();
}

fn collect(repo: &Repository, grace_ms: u64) -> Result<GcTotals> {
    let options = GcOptions { grace_ms, ..GcOptions::new(0.0) };
    gc::apply(repo, gc::plan(repo, &options, &NoProgress)?, &NoProgress)
}

fn count(bucket: &Bucket, dir: &str) -> usize {
    bucket.content().keys().filter(|name| name.starts_with(dir)).count()
}

#[test]
fn what_nobody_needs_is_condemned_when_it_is_old_and_removed_when_that_is_long_ago() {
    let bucket = Bucket::default();
    let repo = repository(&bucket);
    let [kept, gone] = [1, 2].map(|seed| Random::new(seed).bytes(400_000));
    let id = capture(&repo, &kept).unwrap();
    delete(&repo, capture(&repo, &gone).unwrap());
    let all = count(&bucket, "packs/");
    // It could be of a capture that has not ended.
    assert_eq!(collect(&machine(&bucket), GRACE_MS).unwrap().packs_condemned, 0);
    bucket.wait_ms(GRACE_MS);
    let other = machine(&bucket);
    let condemned = collect(&other, GRACE_MS).unwrap();
    assert!(condemned.packs_condemned > 0 && condemned.packs_removed == 0, "{condemned:?}");
    assert_eq!((count(&bucket, "packs/"), condemned.freed_bytes), (all, 0));
    bucket.wait_ms(GRACE_MS - 1);
    let early = collect(&machine(&bucket), GRACE_MS).unwrap();
    assert_eq!((early.packs_condemned, early.freed_bytes, count(&bucket, "packs/")), (0, 0, all));
    bucket.wait_ms(1);
    let late = collect(&machine(&bucket), GRACE_MS).unwrap();
    assert!(late.freed_bytes > 390_000, "{late:?}");
    assert_eq!(count(&bucket, "packs/"), all - usize::try_from(condemned.packs_condemned).unwrap());
    for (repo, what) in [(&repo, "the first machine"), (&other, "another"), (&machine(&bucket), "a new one")]
    {
        restores(repo, id, &kept).unwrap();
        assert_sound(repo, what);
    }
    // Without a grace, it goes at once.
    delete(&repo, id);
    collect(&machine(&bucket), 0).unwrap();
    assert_eq!(count(&bucket, "packs/"), 0);
    assert_eq!(count(&bucket, "sessions/"), 0);
}

#[test]
fn who_captures_needs_no_right_to_delete_or_to_replace() {
    for secrets in [Secrets::Plain([3; 32]), sealed()] {
        let bucket = Bucket::default();
        let place = bucket.seen_from(&MemoryStorage::new());
        Repository::init(place, session(), &InitOptions { secrets, ..init_options() }).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let decide = {
            let asked = Arc::clone(&asked);
            move |what: &str, name: &str| match what {
                "delete" | "replace" => {
                    asked.lock().unwrap().push(format!("{what} {name}"));
                    Fate::Denied
                }
                _ => Fate::Done,
            }
        };
        let repo = Arc::new(machine_that(&bucket, Arc::new(decide)));
        let mut random = Random::new(5);
        let mut image = random.bytes(300_000);
        let mut taken = Vec::new();
        // As many as make checkpoints, merges and joinings due.
        for _ in 0..100 {
            image[random.below(280_000)..][..4000].fill(random.bytes(1)[0]);
            taken.push((capture(&repo, &image).unwrap(), image.clone()));
        }
        let last = taken.last().unwrap().0;
        icecore::volume::create_volume(&repo, &volume_options("vol", Some(last), None)).unwrap();
        let volume = open_volume(&repo, "vol").unwrap();
        volume.write_at(5000, &[7; 9000]).unwrap();
        image[5000..14_000].fill(7);
        taken.push((snapshot(&volume).unwrap(), image));
        asked.lock().unwrap().retain(|what| !what.starts_with("replace journal-copies/"));
        assert_eq!(*asked.lock().unwrap(), Vec::<String>::new());
        let other = machine(&bucket);
        taken.iter().for_each(|(id, image)| restores(&other, *id, image).unwrap());
        // Who has the right puts in order what the others leave.
        let (packs, runs) = (count(&bucket, "packs/"), count(&bucket, "index/"));
        bucket.wait_ms(GRACE_MS);
        collect(&other, GRACE_MS).unwrap();
        bucket.wait_ms(GRACE_MS);
        collect(&other, GRACE_MS).unwrap();
        let left = (count(&bucket, "packs/"), count(&bucket, "index/"));
        assert!(left.0 < packs / 4 && left.1 < runs / 4, "{left:?} of {packs} packs, {runs} runs");
        taken.iter().for_each(|(id, image)| restores(&repo, *id, image).unwrap());
        assert_sound(&machine(&bucket), "afterwards");
    }
}

#[test]
fn what_the_bucket_keeps_for_a_time_is_told_and_goes_after_that() {
    let bucket = Bucket::default();
    let is_kept = Arc::new(AtomicBool::new(true));
    let decide = {
        let is_kept = Arc::clone(&is_kept);
        move |what: &str, _: &str| match what {
            "delete" if is_kept.load(Ordering::SeqCst) => Fate::Retained,
            _ => Fate::Done,
        }
    };
    let parity = InitOptions { parity: "2+1".parse().ok(), ..init_options() };
    Repository::init(bucket.seen_from(&MemoryStorage::new()), session(), &parity).unwrap();
    let collector = || machine_that(&bucket, Arc::new(decide.clone()));
    let [kept, gone] = [11, 12].map(|seed| Random::new(seed).bytes(400_000));
    let repo = machine(&bucket);
    let id = capture(&repo, &[&kept[..], &gone[..100_000]].concat()).unwrap();
    delete(&repo, capture(&repo, &gone).unwrap());
    let before = count(&bucket, "packs/");
    for round in 0..3 {
        bucket.wait_ms(GRACE_MS);
        let told = collect(&collector(), 0).unwrap();
        assert!(told.packs_retained > 0 && told.retained_bytes > 290_000, "{told:?}");
        assert_eq!((told.packs_removed, told.packs_condemned, told.freed_bytes), (0, 0, 0), "{round}");
        assert_sound(&machine(&bucket), "while it is kept");
        restores(&machine(&bucket), id, &[&kept[..], &gone[..100_000]].concat()).unwrap();
    }
    assert!(count(&bucket, "packs/") >= before);
    assert_eq!(count(&bucket, "sessions/"), 3);
    // The content comes back: nobody refers to what goes.
    let again = capture(&repo, &gone).unwrap();
    is_kept.store(false, Ordering::SeqCst);
    bucket.wait_ms(GRACE_MS);
    let told = collect(&collector(), 0).unwrap();
    assert!(told.freed_bytes > 290_000 && told.packs_retained == 0, "{told:?}");
    assert_eq!(count(&bucket, "sessions/"), 0);
    let other = machine(&bucket);
    restores(&other, again, &gone).unwrap();
    restores(&other, id, &[&kept[..], &gone[..100_000]].concat()).unwrap();
    assert_sound(&other, "afterwards");
    [id, again].into_iter().for_each(|id| delete(&other, id));
    collect(&collector(), 0).unwrap();
    for dir in ["packs/", "index/", "parity/"] {
        assert_eq!(count(&bucket, dir), 0, "{dir}");
    }
}

/// Has a page in the bucket that is left behind by the page that it is made from: nothing condemned
/// it, for it is young. All that it names stays, for the sake of another snapshot. Returns the image
/// that has it.
fn page_left_behind(bucket: &Bucket, repo: &Repository) -> Vec<u8> {
    let mut random = Random::new(13);
    // So large that its pages are worth deltas.
    let mut image = random.bytes(5 << 20);
    let full = capture(repo, &image).unwrap();
    let longer = [&random.bytes(4096)[..], &image].concat();
    icecore::snapshot::capture(repo, &longer, &options("other"), &NoProgress).unwrap();
    bucket.wait_ms(GRACE_MS);
    image[4096..8192].copy_from_slice(&random.bytes(4096));
    let changed = capture(repo, &image).unwrap();
    [full, changed].into_iter().for_each(|id| delete(repo, id));
    let told = collect(&machine(bucket), GRACE_MS).unwrap();
    assert!(told.packs_condemned > 0, "{told:?}");
    image
}

#[test]
fn a_page_that_is_left_behind_by_what_it_is_made_from_is_not_taken_for_known() {
    // A capture found a page in the index, and a snapshot was made of it that could not be restored.
    let bucket = Bucket::default();
    let repo = repository(&bucket);
    let image = page_left_behind(&bucket, &repo);
    let mut taken = Vec::new();
    for other in [&repo, &machine(&bucket)] {
        let id = capture(other, &image).unwrap();
        taken.push(id);
        restores(&machine(&bucket), id, &image).unwrap();
        assert_sound(&machine(&bucket), "afterwards");
    }
    for _ in 0..2 {
        bucket.wait_ms(GRACE_MS);
        collect(&machine(&bucket), GRACE_MS).unwrap();
    }
    for id in taken {
        restores(&machine(&bucket), id, &image).unwrap();
    }
    assert_sound(&machine(&bucket), "after gc");
}

#[test]
fn a_page_that_is_left_behind_and_that_nobody_needs_is_no_damage() {
    let bucket = Bucket::default();
    let repo = repository(&bucket);
    page_left_behind(&bucket, &repo);
    assert_sound(&machine(&bucket), "while its base is condemned");
    bucket.wait_ms(GRACE_MS - 1);
    collect(&machine(&bucket), GRACE_MS).unwrap();
    assert_sound(&machine(&bucket), "later");
    bucket.wait_ms(1);
    let told = collect(&machine(&bucket), GRACE_MS).unwrap();
    assert!(told.freed_bytes > 0, "{told:?}");
    assert_sound(&machine(&bucket), "without its base");
}

#[test]
fn a_pack_that_another_gc_removes_does_not_stop_a_gc() {
    // It was listed, and could not be opened any more.
    let bucket = Bucket::default();
    let repo = repository(&bucket);
    let [kept, gone] = [14, 15].map(|seed| Random::new(seed).bytes(300_000));
    let id = capture(&repo, &kept).unwrap();
    delete(&repo, capture(&repo, &gone).unwrap());
    let is_overtaken = Arc::new(AtomicBool::new(false));
    let decide = {
        let (bucket, is_overtaken) = (bucket.clone(), Arc::clone(&is_overtaken));
        move |what: &str, name: &str| {
            if what == "get" && name.starts_with("packs/") && !is_overtaken.swap(true, Ordering::SeqCst) {
                meanwhile(|| assert!(collect(&machine(&bucket), 0).unwrap().freed_bytes > 0));
            }
            Fate::Done
        }
    };
    match collect(&machine_that(&bucket, Arc::new(decide)), 0) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::InUse, "{error}"),
        Ok(told) => assert_eq!((told.packs_removed, told.packs_rewritten), (0, 0), "{told:?}"),
    }
    assert!(is_overtaken.load(Ordering::SeqCst));
    restores(&machine(&bucket), id, &kept).unwrap();
    assert_sound(&machine(&bucket), "afterwards");
}

#[test]
fn a_volume_whose_creation_or_deletion_was_cut_off_is_forgotten_by_its_own_machine() {
    // Nobody could tell whether it was on another machine: what it stood on stayed for ever.
    let bucket = Bucket::default();
    let image = Random::new(16).bytes(300_000);
    let first = Arc::new(repository(&bucket));
    // The record of the volume cannot be written, or the entry after its removal.
    for cut_in_deletion in [false, true] {
        let id = capture(&first, &image).unwrap();
        let local = MemoryStorage::new();
        let denies = Arc::new(AtomicBool::new(false));
        let decide = {
            let denies = Arc::clone(&denies);
            move |what: &str, _: &str| match what {
                "put" if denies.load(Ordering::SeqCst) => Fate::Denied,
                _ => Fate::Done,
            }
        };
        let place = bucket.reached_from(&local, Arc::new(decide));
        let repo = Arc::new(with_small_packs(Repository::open(place, session())).unwrap());
        icecore::volume::create_volume(&repo, &volume_options("vol", Some(id), None)).unwrap();
        if cut_in_deletion {
            denies.store(true, Ordering::SeqCst);
            icecore::volume::delete_volume(&repo, "vol").unwrap();
            denies.store(false, Ordering::SeqCst);
        } else {
            local.remove("local/volumes/vol/record").unwrap();
        }
        // No other machine can know.
        collect(&machine(&bucket), 0).unwrap();
        let kept = icecore::snapshot::delete(&first, id, DeleteOptions::default()).map(|_| ());
        assert_eq!(kept.unwrap_err().kind(), ErrorKind::InUse, "{cut_in_deletion}");
        collect(&repo, 0).unwrap();
        delete(&first, id);
        assert_eq!(local.list("local/own-volumes").unwrap(), [""; 0]);
    }
    collect(&machine(&bucket), 0).unwrap();
    assert_eq!(count(&bucket, "packs/"), 0);
}

#[test]
fn a_machine_that_sleeps_while_another_collects_what_it_has_stored_stores_it_again() {
    let bucket = Bucket::default();
    let repo = repository(&bucket);
    let image = Random::new(7).bytes(500_000);
    // The blocks of a deleted snapshot, and new ones, are gone when the machine wakes up.
    delete(&repo, capture(&repo, &image[..200_000]).unwrap());
    let slept = Arc::new(AtomicBool::new(false));
    let decide = {
        let (bucket, slept) = (bucket.clone(), Arc::clone(&slept));
        move |what: &str, name: &str| {
            if what == "put" && name.starts_with("journal/") && !slept.swap(true, Ordering::SeqCst) {
                meanwhile(|| assert!(collect(&machine(&bucket), 0).unwrap().freed_bytes > 0));
            }
            Fate::Done
        }
    };
    let sleeper = machine_that(&bucket, Arc::new(decide));
    let id = capture(&sleeper, &image).unwrap();
    assert!(slept.load(Ordering::SeqCst));
    for repo in [&sleeper, &machine(&bucket)] {
        restores(repo, id, &image).unwrap();
        assert_sound(repo, "afterwards");
    }
}

#[test]
fn of_two_machines_that_collect_at_once_the_second_begins_again() {
    let bucket = Bucket::default();
    let repo = repository(&bucket);
    let image = Random::new(8).bytes(300_000);
    // The same chunks are there twice, and each gc could keep the other copy.
    let twin = machine(&bucket);
    let at_once = Arc::new(AtomicBool::new(false));
    let decide = {
        let (bucket, image, at_once) = (bucket.clone(), image.clone(), Arc::clone(&at_once));
        move |what: &str, name: &str| {
            if what == "put" && name.starts_with("packs/") && !at_once.swap(true, Ordering::SeqCst) {
                meanwhile(|| assert!(capture(&machine(&bucket), &image).is_ok()));
            }
            Fate::Done
        }
    };
    let id = capture(&machine_that(&bucket, Arc::new(decide)), &image).unwrap();
    let options = GcOptions { grace_ms: 0, ..GcOptions::new(0.0) };
    let plan = gc::plan(&repo, &options, &NoProgress).unwrap();
    assert!(collect(&twin, 0).unwrap().freed_bytes > 0);
    let refused = gc::apply(&repo, plan, &NoProgress).map(|_| ());
    assert!(refused.is_err_and(|error| error.kind() == ErrorKind::InUse));
    restores(&repo, id, &image).unwrap();
    collect(&repo, 0).unwrap();
    restores(&machine(&bucket), id, &image).unwrap();
    assert_sound(&machine(&bucket), "afterwards");
}

#[test]
fn what_a_volume_of_another_machine_stands_on_stays() {
    let bucket = Bucket::default();
    let repo = Arc::new(repository(&bucket));
    let image = Random::new(9).bytes(300_000);
    let id = capture(&repo, &image).unwrap();
    icecore::volume::create_volume(&repo, &volume_options("vol", Some(id), None)).unwrap();
    let other = machine(&bucket);
    let refused = icecore::snapshot::delete(&other, id, DeleteOptions::default()).map(|_| ());
    assert!(refused.is_err_and(|error| error.kind() == ErrorKind::InUse));
    icecore::snapshot::delete(&other, id, DeleteOptions { clones_keep_it: true }).unwrap();
    collect(&other, 0).unwrap();
    let volume = open_volume(&repo, "vol").unwrap();
    let mut bytes = vec![0; image.len()];
    icecore::image::ReadAt::read_at(&volume, 0, &mut bytes).unwrap();
    assert!(bytes == image);
    drop(volume);
    icecore::volume::delete_volume(&repo, "vol").unwrap();
    collect(&other, 0).unwrap();
    assert_eq!(count(&bucket, "packs/"), 0);
}

#[test]
fn a_repository_that_is_gone_is_noticed() {
    let bucket = Bucket::default();
    let repo = repository(&bucket);
    let image = Random::new(10).bytes(100_000);
    capture(&repo, &image).unwrap();
    bucket.content().clear();
    assert_eq!(capture(&repo, &image).unwrap_err().kind(), ErrorKind::NotFound);
}

/// Machines, each of whose requests may fail, be done without an answer, or come late: after other
/// machines have done whole operations.
struct Fleet {
    bucket: Bucket,
    random: Mutex<Random>,
    /// What was reported, with its content, and nobody has begun to delete.
    taken: Mutex<Vec<(SnapshotId, Arc<Vec<u8>>)>>,
    operations: AtomicUsize,
}

impl Fleet {
    fn new(seed: u64) -> Arc<Self> {
        let bucket = Bucket::default();
        repository(&bucket);
        let random = Mutex::new(Random::new(seed));
        Arc::new(Self { bucket, random, taken: Mutex::default(), operations: AtomicUsize::new(0) })
    }

    fn below(&self, bound: usize) -> usize {
        self.random.lock().unwrap().below(bound)
    }

    /// Returns a machine that operates inside of so many other operations.
    fn machine(self: &Arc<Self>, depth: usize) -> Option<Repository> {
        let fleet = Arc::clone(self);
        let decide = move |_: &str, _: &str| {
            let chance = fleet.below(100);
            if chance < 4 && depth < 3 && fleet.operations.load(Ordering::Relaxed) > 0 {
                meanwhile(|| fleet.operate(depth + 1));
            }
            match fleet.below(100) {
                0 => Fate::Lost,
                1 => Fate::Unanswered,
                _ => Fate::Done,
            }
        };
        let place = self.bucket.reached_from(&MemoryStorage::new(), Arc::new(decide));
        with_small_packs(Repository::open(place, session())).ok()
    }

    /// Does something on some machine. It may fail, as long as it then says so.
    fn operate(self: &Arc<Self>, depth: usize) {
        let left =
            self.operations.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_err() {
            return;
        }
        let Some(repo) = self.machine(depth) else { return };
        match self.below(10) {
            0..5 => {
                // Few contents, so that machines share blocks.
                let mut image = Random::new(self.below(3) as u64).bytes(200_000);
                let at = self.below(180_000);
                image[at..at + 10_000].fill([1, 2, 3, 4][self.below(4)]);
                let options = CaptureOptions { name_may_repeat: true, ..options("disk") };
                if let Ok(captured) = icecore::snapshot::capture(&repo, &image, &options, &NoProgress) {
                    self.taken.lock().unwrap().push((captured.snapshot.id, Arc::new(image)));
                }
            }
            5..7 => {
                let chosen = {
                    let mut taken = self.taken.lock().unwrap();
                    let number = taken.len();
                    (number > 0).then(|| taken.swap_remove(self.below(number)))
                };
                if let Some((id, _)) = chosen {
                    let _ = icecore::snapshot::delete(&repo, id, DeleteOptions::default());
                }
            }
            _ => drop(collect(&repo, 0)),
        }
    }
}

#[test]
fn whatever_happens_to_requests_in_whatever_order_no_snapshot_loses_a_byte() {
    let fleets = std::env::var("ICECORE_FLEETS").ok().and_then(|number| number.parse().ok());
    for seed in 0..fleets.unwrap_or(24) {
        let fleet = Fleet::new(seed);
        fleet.operations.store(40, Ordering::Relaxed);
        while fleet.operations.load(Ordering::Relaxed) > 0 {
            fleet.operate(0);
        }
        let after = machine(&fleet.bucket);
        for (id, image) in fleet.taken.lock().unwrap().iter() {
            restores(&after, *id, image).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        assert_sound(&after, &format!("seed {seed}"));
        // Nothing unused stays.
        for snapshot in icecore::snapshot::list(&after).unwrap() {
            let _ = icecore::snapshot::delete(&after, snapshot.id, DeleteOptions::default());
        }
        collect(&after, 0).unwrap();
        assert_eq!(count(&fleet.bucket, "packs/"), 0, "seed {seed}");
    }
}
