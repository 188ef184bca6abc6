//! A model checker runs threads that share state through many of their possible orders. The code is
//! the engine's own; the checker replaces only its locks, channels and threads. Each storage call
//! is also a point where another thread can take over. Run by `cargo test --manifest-path
//! tests/models/Cargo.toml model`.

use std::io;
use std::sync::Arc;

use shuttle::Config;
use shuttle::Runner;
use shuttle::scheduler::PctScheduler;
use shuttle::scheduler::RandomScheduler;
use shuttle::scheduler::Scheduler;
use shuttle::sync::atomic::AtomicUsize;
use shuttle::sync::atomic::Ordering;
use shuttle::thread;
use uuid::Uuid;

use crate::format::config;
use crate::format::journal::Change;
use crate::format::layout;
use crate::format::pack::PackKind;
use crate::format::page::Extent;
use crate::format::page::Leaf;
use crate::format::page::Page;
use crate::format::page::Place;
use crate::format::record::Record;
use crate::pure::hash::Hasher;
use crate::repository::InitOptions;
use crate::repository::Repository;
use crate::repository::Secrets;
use crate::stores::chunks::Store;
use crate::stores::files::RepositoryFiles;
use crate::stores::journal::Journal;
use crate::stores::locks::Writer;
use crate::stores::manifest::builder::emit_page;
use crate::stores::pack::writer::Item;
use crate::stores::pack::writer::PackWriter;
use crate::verbs::capture::buffers::BufferPool;
use crate::verbs::capture::commit::Commit;
use crate::verbs::capture::commit::Ending;
use crate::verbs::capture::commit::all_there;
use crate::verbs::capture::commit::commit;
use crate::verbs::capture::packing::BlockBytes;
use crate::verbs::capture::packing::ChunkJob;
use crate::verbs::capture::packing::Compression;
use crate::verbs::capture::packing::Published;
use crate::verbs::capture::packing::Publisher;
use crate::verbs::capture::packing::Stored;
use crate::verbs::capture::packing::merge_runs;
use crate::verbs::capture::packing::pack_in_order;
use crate::verbs::capture::packing::publish;
use crate::verbs::capture::pages::PageStore;
use crate::verbs::catalog;
use crate::verbs::gc;
use crate::words::error::ErrorKind;
use crate::words::ids::ChunkId;
use crate::words::ids::Digest;
use crate::words::ids::NodeDigest;
use crate::words::ids::RepositoryId;
use crate::words::ids::SnapshotId;
use crate::words::names::ResourceKind;
use crate::words::progress::NoProgress;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sync::mpsc;
use crate::world::memory::MemoryStorage;
use crate::world::storage::LockGuard;
use crate::world::storage::LockMode;
use crate::world::storage::Storage;
use crate::world::storage::Wait;
use crate::world::watched::Call;
use crate::world::watched::Op;
use crate::world::watched::Watch;
use crate::world::watched::Watched;

const COMPRESSION: Compression = Compression { level: 1, check: true };

/// The stack size that the standard library gives a thread. The checker's 60 KiB are too few for
/// unoptimised code.
const STACK_BYTES: usize = 2 << 20;

/// Tries many orders: of all kinds, and those in which threads rarely yield to each other.
fn explore(what: impl Fn() + Clone + Send + Sync + 'static, count: usize) {
    check(RandomScheduler::new(orders(count)), what.clone());
    check(PctScheduler::new(3, orders(count)), what);
}

/// Tries the orders that a scheduler produces.
fn check(scheduler: impl Scheduler + 'static, what: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    Runner::new(scheduler, config).run(what);
}

/// Returns how many orders to try: the environment can multiply `count`.
fn orders(count: usize) -> usize {
    count * std::env::var("ICECORE_SCHEDULES").map_or(1, |times| times.parse().unwrap())
}

/// Lets other threads run before each call of a storage.
#[derive(Default)]
struct Yields(AtomicUsize);

impl Yields {
    /// Marks a point where the checker may switch to another thread.
    fn step(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Watch for Yields {
    fn before(&self, call: &Call<'_>) -> io::Result<()> {
        if !call.op.is_of_file() && ![Op::MakeDir, Op::Lock].contains(&call.op) {
            self.step();
        }
        Ok(())
    }

    fn lock<S: Storage + ?Sized>(
        &self,
        inner: &S,
        name: &str,
        mode: LockMode,
        wait: Wait,
    ) -> io::Result<Option<Box<dyn LockGuard>>> {
        loop {
            self.step();
            let taken = inner.lock(name, mode, Wait::No)?;
            if taken.is_some() || wait == Wait::No {
                return Ok(taken);
            }
            thread::yield_now();
        }
    }
}

/// Returns a storage with the config of an empty repository, which commits read under their lock.
fn storage() -> MemoryStorage {
    let config = config::Config {
        id: RepositoryId::from([0; 16]),
        created_unix_ms: 0,
        features: config::Features::default(),
        geometry: config::Geometry::V1,
        level: 1,
        secret: config::Secret::Plain([1; 32]),
        parity: None,
    };
    let storage = MemoryStorage::new();
    storage.put(layout::CONFIG, config.encode(None).unwrap());
    storage
}

fn files(storage: impl Storage + 'static) -> RepositoryFiles {
    let mut files = RepositoryFiles::new(
        Arc::new(Watched::new(storage, Yields::default())),
        Hasher::new(&[1; 32]),
        RepositoryId::from([0; 16]),
        "test".to_owned(),
    );
    files.pack_bytes = 1;
    files.mixed_bytes = 0;
    files
}

/// Returns a chunk that differs for each number.
fn item(files: &RepositoryFiles, number: u8) -> Item {
    let block = [number; BLOCK_BYTES];
    let ids: Vec<_> = files.hasher.blocks(&[&block]).iter().map(|digest| digest.block_id()).collect();
    let id = files.hasher.chunk(&ids);
    ChunkJob { id, blocks: ids, sources: vec![BlockBytes::Copy(Box::new(block))] }.run(COMPRESSION).unwrap()
}

fn publish_item(store: &Store, publisher: &Publisher<'_>, item: &Item) {
    let mut pack = PackWriter::begin(&store.files, PackKind::Data).unwrap();
    pack.append(item).unwrap();
    publish(store, Some(publisher), pack).unwrap();
}

fn has(store: &Store, item: &Item) -> bool {
    store.find_chunk(&ChunkId(item.id)).unwrap().is_some()
}

#[test]
fn a_pack_that_is_gone_is_noticed_after_a_reload() {
    // A thread that had opened the pack earlier added it to the open packs after these were
    // forgotten.
    explore(
        || {
            let storage = storage();
            let store = Store::new(files(storage.clone()), Journal::default());
            let publisher = Publisher::begin(&store.files, None).unwrap();
            let item = item(&store.files, 1);
            publish_item(&store, &publisher, &item);
            let pack = store.find_chunk(&ChunkId(item.id)).unwrap().unwrap().pack.id;
            store.reload().unwrap();
            thread::scope(|threads| {
                threads.spawn(|| drop(store.pack(pack)));
                threads.spawn(|| {
                    storage.remove(&layout::pack(pack)).unwrap();
                    store.reload().unwrap();
                    assert!(!has(&store, &item));
                });
            });
            assert!(!has(&store, &item), "it stayed among the open ones");
        },
        200,
    );
}

#[test]
fn what_is_published_stays_known_beside_merges_and_reloads() {
    explore(
        || {
            let store = Store::new(files(storage()), Journal::default());
            let publisher = Publisher::begin(&store.files, None).unwrap();
            let items: Vec<Item> = (1..=7).map(|number| item(&store.files, number)).collect();
            let (before, new) = items.split_at(4);
            before.iter().for_each(|item| publish_item(&store, &publisher, item));
            thread::scope(|threads| {
                threads.spawn(|| {
                    for item in new {
                        publish_item(&store, &publisher, item);
                        assert!(has(&store, item), "just published");
                    }
                });
                threads.spawn(|| (0..2).for_each(|_| merge_runs(&store).unwrap()));
                threads.spawn(|| store.reload().unwrap());
            });
            assert!(items.iter().all(|item| has(&store, item)), "this handle");
            let other = Store::new(base_of(&store), Journal::default());
            assert!(items.iter().all(|item| has(&other, item)), "another handle");
        },
        200,
    );
}

/// Returns the files of another handle of the same repository.
fn base_of(store: &Store) -> RepositoryFiles {
    RepositoryFiles::new(
        store.files.place.clone(),
        Hasher::new(&[1; 32]),
        store.files.repository,
        "other".to_owned(),
    )
}

#[test]
fn buffers_go_round() {
    explore(
        || {
            let pool = BufferPool::new(2);
            thread::scope(|threads| {
                for _ in 0..4 {
                    threads.spawn(|| {
                        for _ in 0..2 {
                            assert!(pool.take(true).unwrap().is_some());
                        }
                    });
                }
            });
            assert!(pool.take(false).unwrap().is_some());
        },
        300,
    );
}

#[test]
fn chunks_are_packed_published_and_known_by_then() {
    for packs_at_once in [1, 3] {
        explore(
            move || {
                let (stored, failed) = pack(storage(), packs_at_once, 5);
                assert_eq!((stored.unwrap().items, failed), (5, false));
            },
            100,
        );
    }
}

#[test]
fn a_failure_ends_all_threads_and_is_told() {
    for (call, packs_at_once) in (0..30).flat_map(|call| [(call, 1), (call, 3)]) {
        check(RandomScheduler::new(orders(8)), move || {
            let full = storage();
            full.fail_changes(call..u64::MAX, io::ErrorKind::StorageFull);
            let (stored, _) = pack(full.clone(), packs_at_once, 5);
            match stored {
                Ok(_) => assert!(full.changes() <= call),
                Err(kind) => assert_eq!(kind, ErrorKind::NoSpace),
            }
        });
    }
}

/// Packs some chunks with all the threads of the packing stage, of which some publish at once. Returns
/// the result, and whether the sender was told to stop.
fn pack(
    storage: impl Storage + 'static,
    packs_at_once: usize,
    count: u8,
) -> (Result<Stored, ErrorKind>, bool) {
    let mut files = files(storage);
    files.packs_at_once = packs_at_once;
    let store = Store::new(files, Journal::default());
    let publisher = match Publisher::begin(&store.files, None) {
        Ok(publisher) => publisher,
        Err(error) => return (Err(error.kind()), false),
    };
    let items: Vec<Item> = (1..=count).map(|number| item(&store.files, number)).collect();
    let published = Published::default();
    thread::scope(|threads| {
        let (to_packer, chunks) = mpsc::sync_channel(1);
        let packing =
            threads.spawn(|| pack_in_order(&store, Some(&publisher), chunks, &published, &NoProgress));
        let mut stopped = false;
        for number in 1..=count {
            let (sender, receiver) = mpsc::sync_channel(1);
            sender.send(Ok(vec![item(&store.files, number)])).unwrap();
            stopped |= to_packer.send(receiver).is_err();
            let known = published.chunks.load(Ordering::Acquire);
            assert!(
                items.iter().zip(0..known).all(|(item, _)| has(&store, item)),
                "the first {known} are published"
            );
        }
        drop(to_packer);
        let stored = packing.join().unwrap().map(|(stored, _)| stored).map_err(|error| error.kind());
        assert!(stored.is_err() || items.iter().all(|item| has(&store, item)));
        (stored, stopped)
    })
}

#[test]
fn a_snapshot_of_known_chunks_beside_gc_and_delete_is_whole_or_told_to_begin_again() {
    explore(
        || {
            let storage = Arc::new(Watched::new(MemoryStorage::new(), Yields::default()));
            let session = Uuid::from_u128;
            let init = InitOptions {
                id: RepositoryId::from([0; 16]),
                secrets: Secrets::Plain([1; 32]),
                created_unix_ms: 0,
                level: 1,
                parity: None,
            };
            let repo = Repository::init(storage.clone(), session(1), &init).unwrap();
            let [kept, mut again] = [1, 2].map(|number| record(&repo, number));
            repo.commit(|_| Ok((vec![Change::Made(Box::new(kept.clone()))], ()))).unwrap();
            let [capturing, collecting, deleting] =
                [2, 3, 4].map(|number| Repository::open(storage.clone(), session(number)).unwrap());
            let committed = thread::scope(|threads| {
                let capture = threads.spawn(|| {
                    // Like a capture that finds everything in the repository already.
                    let _writer = Writer::begin(capturing.files()).unwrap();
                    let begun = capturing.catalog().unwrap().number;
                    capturing.store.reload().unwrap();
                    whole(&capturing, &again)
                        && commit(&capturing, &mut again, &Ending::default(), false, begun).unwrap()
                            != Commit::Stale
                });
                threads.spawn(|| {
                    let options = gc::GcOptions::new(1.0);
                    let plan = gc::plan(&collecting, &options, &NoProgress).unwrap();
                    gc::apply(&collecting, plan, &NoProgress).unwrap();
                });
                threads.spawn(|| {
                    drop(catalog::delete(&deleting, kept.id, catalog::DeleteOptions::default()).unwrap())
                });
                capture.join().unwrap()
            });
            let after = Repository::open(storage.clone(), session(5)).unwrap();
            let there = catalog::list(&after).unwrap();
            assert_eq!(there.iter().any(|snapshot| snapshot.id == again.id), committed);
            assert!(!committed || whole(&after, &again), "something of it is gone");
        },
        300,
    );
}

/// Stores a leaf with one chunk, and returns a record that needs it.
fn record(repo: &Repository, number: u8) -> Record {
    let store = &repo.store;
    let publisher = Publisher::begin(&store.files, None).unwrap();
    let item = item(&store.files, number);
    publish_item(store, &publisher, &item);
    let leaf = Leaf {
        data_spans: 1,
        digests: vec![NodeDigest([number; 16])],
        chunks: vec![ChunkId(item.id)],
        extents: vec![
            Extent { blocks: 1, place: Place::Chunk { chunk: 0, slot: 0 } },
            Extent { blocks: 1023, place: Place::Zero },
        ],
    };
    let mut pages = PageStore::new(store, Some(&publisher), COMPRESSION, false).unwrap();
    let root = emit_page(&store.files.hasher, &Page::Leaf(leaf), None, &mut |page, bytes, before| {
        pages.put(page, &bytes, before)
    })
    .unwrap();
    let (id, name) = (SnapshotId(Uuid::from_u128(number.into())), format!("number {number}"));
    let record = Record {
        size_bytes: 4096,
        root: Some(root),
        content: Digest([number; 32]),
        ..Record::new(id, number.into(), ResourceKind::Volume, "disk", name)
    };
    pages.finish(Stored { items: 1, packed_bytes: 0 }, Vec::new(), &record).unwrap();
    record
}

/// Tells whether a record's page and chunk are both there.
fn whole(repo: &Repository, record: &Record) -> bool {
    all_there(&repo.store, record).unwrap()
}
