//! Connects the stages: scan on all cores, choose on this thread, compress on all cores, append on
//! another thread.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::format::pack::PackKind;
use crate::format::page::Page;
use crate::format::page::PageRef;
use crate::format::record::Record;
use crate::stores::chunks::Store;
use crate::stores::manifest::builder::ParentTree;
use crate::stores::manifest::builder::TreeBuilder;
use crate::stores::manifest::builder::emit_page;
use crate::stores::manifest::cursor::Cursor;
use crate::stores::manifest::cursor::Node;
use crate::stores::manifest::cursor::RecentPages;
use crate::stores::notes::Damage;
use crate::stores::pack::writer::Item;
use crate::verbs::capture::buffers::BufferPool;
use crate::verbs::capture::changed::Changed;
use crate::verbs::capture::choose::Chooser;
use crate::verbs::capture::draft::BlockPlace;
use crate::verbs::capture::draft::Draft;
use crate::verbs::capture::packing::ChunkJob;
use crate::verbs::capture::packing::Compression;
use crate::verbs::capture::packing::Published;
use crate::verbs::capture::packing::Publisher;
use crate::verbs::capture::packing::Stored;
use crate::verbs::capture::packing::pack_in_order;
use crate::verbs::capture::packing::publish_few;
use crate::verbs::capture::pages::PageStore;
use crate::verbs::capture::parent::ParentLeaf;
use crate::verbs::capture::parent::ParentReader;
use crate::verbs::capture::regions::ChangedRegions;
use crate::verbs::capture::regions::DataRegions;
use crate::verbs::capture::regions::Regions;
use crate::verbs::capture::scan::Scan;
use crate::verbs::capture::scan::ScannedLeaf;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::Digest;
use crate::words::ids::NodeDigest;
use crate::words::pool::start;
use crate::words::progress::Progress;
use crate::words::sizes::LEAF_SPANS;
use crate::words::sizes::SPAN_BLOCKS;
use crate::words::sizes::to_u64;
use crate::words::sync::mpsc;
use crate::words::sync::thread;
use crate::words::units::block_bytes;
use crate::world::io::ReadAt;

/// Buffers of 4 MiB that an image is read into: most of the memory that a capture needs.
const BUFFERS: usize = 14;
/// Chunks that are handed from thread to thread together, since each handover may wake a thread.
const CHUNKS_AT_ONCE: usize = 4;
/// Chunks that may wait to be appended.
const CHUNKS_UNDER_WAY: usize = 256;
/// Leaves that may wait for the chunk of their last new blocks. Beyond this, the chunk is closed
/// before it is full.
const DRAFTS_MAX: usize = 64;
/// Inner pages of the parent that are kept in memory, about 6 KiB each: more than the scan is ahead
/// of the tree.
const PAGES_KEPT: usize = 512;

/// What to capture, and how.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) store: &'a Store,
    /// The known damage.
    pub(crate) damage: &'a Damage,
    pub(crate) image: &'a dyn ReadAt,
    pub(crate) parent: Option<&'a Record>,
    /// The ranges where the image may differ from the parent, or from zeros if there is no parent;
    /// none if they are unknown.
    pub(crate) changed: Option<&'a Changed>,
    /// None if nothing is to be written.
    pub(crate) publisher: Option<&'a Publisher<'a>>,
    pub(crate) compression: Compression,
    pub(crate) progress: &'a dyn Progress,
}

impl<'a> Plan<'a> {
    /// Returns the regions of the image to scan. Inner pages of the parent that are read on the way
    /// go to `recent`.
    fn regions(&self, recent: Arc<RecentPages<'a>>) -> Regions<'a> {
        let parent = self.parent.map(|parent| ParentReader::new(self.store, self.damage, parent, recent));
        match self.changed {
            Some(changed) => Regions::Changed(ChangedRegions::new(self.image, changed, parent)),
            None => Regions::All { data: DataRegions::new(self.image), parent },
        }
    }

    /// Starts the image's tree: from the parent's, if the changes since are known.
    fn tree(&self, recent: &Arc<RecentPages<'a>>) -> TreeBuilder<'a> {
        let parent = self.parent.and_then(|parent| {
            let pages = Arc::clone(recent);
            Some(ParentTree { root: parent.root?, size_bytes: parent.size_bytes, pages })
        });
        let start = if self.changed.is_some() { TreeBuilder::patch } else { TreeBuilder::new };
        start(&self.store.files.hasher, self.image.len(), parent)
    }
}

/// The result of the pipeline.
pub(crate) struct Captured {
    pub(crate) root: Option<PageRef>,
    pub(crate) content: Digest,
    pub(crate) read_bytes: u64,
    pub(crate) data_bytes: u64,
    pub(crate) new_bytes: u64,
    pub(crate) data: Stored,
    pub(crate) pages: Stored,
}

/// Runs the pipeline. When it returns, also with an error, packs and index are published, but no
/// record names them yet. `record_of` returns the record as far as it is known.
pub(crate) fn run(plan: Plan<'_>, record_of: &dyn Fn(&Captured) -> Record) -> Result<Captured> {
    let published = Published::default();
    let (to_packer, chunks) = mpsc::sync_channel(CHUNKS_UNDER_WAY / CHUNKS_AT_ONCE);
    thread::scope(|threads| {
        let packing =
            start(threads, || pack_in_order(plan.store, plan.publisher, chunks, &published, plan.progress))?;
        let chosen = rayon::in_place_scope(|scope| Chosen::run(plan, scope, to_packer, &published));
        // The packer ends when the sender is dropped. If the packer failed, its error caused the
        // other one.
        let (data, few) = packing.join().map_err(|_| Error::worker_lost())??;
        match chosen {
            Ok((chosen, pages)) => chosen.finish(data, few, pages, record_of),
            Err(error) => {
                // The next capture finds them. The first error is the one to report.
                if !few.is_empty() {
                    let _ = publish_few(plan.store, plan.publisher, PackKind::Data, &few);
                }
                Err(error)
            }
        }
    })
}

/// Returns the numbers of a span's blocks within the leaf.
fn blocks_of(span: usize) -> Range<usize> {
    span * SPAN_BLOCKS..(span + 1) * SPAN_BLOCKS
}

/// The stage that runs on the calling thread, with its counts.
struct Chosen<'a> {
    plan: Plan<'a>,
    chooser: Chooser<'a>,
    tree: TreeBuilder<'a>,
    drafts: VecDeque<Draft>,
    read_bytes: u64,
    data_blocks: u64,
    /// How many blocks of data the parent has in the scanned parts of the image; none if that
    /// cannot be known.
    replaced_blocks: Option<u64>,
}

impl<'a> Chosen<'a> {
    fn run<'s>(
        plan: Plan<'a>,
        scope: &'s rayon::Scope<'a>,
        to_packer: mpsc::SyncSender<mpsc::Receiver<Result<Vec<Item>>>>,
        published: &Published,
    ) -> Result<(Self, PageStore<'a>)> {
        let hasher = &plan.store.files.hasher;
        let recent = Arc::new(RecentPages::new(plan.store, PAGES_KEPT));
        let mut chosen = Chosen {
            plan,
            chooser: Chooser::new(plan.store, plan.damage),
            tree: plan.tree(&recent),
            drafts: VecDeque::new(),
            read_bytes: 0,
            data_blocks: 0,
            replaced_blocks: Some(0),
        };
        let submit = |jobs: Vec<ChunkJob>| {
            if jobs.is_empty() {
                return Ok(());
            }
            let (sender, receiver) = mpsc::sync_channel(1);
            scope.spawn(move |_| {
                // If packing has failed, nobody receives this.
                let _ = sender.send(jobs.into_iter().map(|job| job.run(plan.compression)).collect());
            });
            to_packer.send(receiver).map_err(|_| Error::worker_lost())
        };
        let mut pages =
            PageStore::new(plan.store, plan.publisher, plan.compression, !plan.damage.is_empty())?;
        let regions = plan.regions(recent);
        let mut scan = Scan::new(scope, plan.image, hasher, plan.progress, regions, BufferPool::new(BUFFERS));
        while let Some(leaf) = scan.next()? {
            if plan.progress.cancelled() {
                return Err(Error::interrupted());
            }
            pages.distrusts |= scan.met_damage();
            chosen.chooser.forget_published(published.chunks.load(Ordering::Acquire));
            chosen.add_leaf(&leaf, &mut pages, &submit)?;
        }
        pages.distrusts |= scan.met_damage();
        if let Some(job) = chosen.chooser.close() {
            chosen.resolve(&job);
            submit(vec![job])?;
        }
        chosen.emit_resolved(&mut pages)?;
        Ok((chosen, pages))
    }

    fn add_leaf(
        &mut self,
        leaf: &ScannedLeaf,
        pages: &mut PageStore<'_>,
        submit: &impl Fn(Vec<ChunkJob>) -> Result<()>,
    ) -> Result<()> {
        self.read_bytes += leaf.read_bytes;
        self.data_blocks += to_u64(leaf.blocks.iter().flatten().count());
        self.replaced_blocks = self.replaced_blocks.zip(leaf.replaced_blocks).map(|(all, more)| all + more);
        if self.plan.changed.is_none() && leaf.spans.iter().all(|digest| *digest == NodeDigest::ZERO) {
            return Ok(());
        }
        if let Some(same) = leaf.parent.as_ref().filter(|same| same.spans == leaf.spans) {
            if self.plan.changed.is_some() {
                return Ok(());
            }
            // A waiting leaf must go into the tree before this one.
            if self.drafts.is_empty() {
                let sink = &mut |page: &PageRef, bytes: Vec<u8>, before| pages.put(page, &bytes, before);
                return self.tree.put(leaf.number, Some(same.page), sink);
            }
        }
        let places = leaf.parent.as_ref().map(ParentLeaf::places);
        let is_same =
            |span: usize| leaf.parent.as_ref().is_some_and(|parent| parent.spans[span] == leaf.spans[span]);
        let other = (0..LEAF_SPANS).filter(|span| !is_same(*span));
        self.chooser.look_up(leaf, other.flat_map(blocks_of))?;
        let before = leaf.parent.as_ref().map(|parent| parent.page.id);
        self.drafts.push_back(Draft::new(leaf.number, before, leaf.spans));
        let mut jobs = Vec::new();
        for span in 0..LEAF_SPANS {
            let same = places.as_ref().filter(|_| is_same(span));
            for block in blocks_of(span) {
                let (place, job) = match same {
                    Some(places) => (places.get(block).copied().unwrap_or(BlockPlace::Zero), None),
                    None => self.chooser.choose(leaf, block)?,
                };
                if let Some(draft) = self.drafts.back_mut() {
                    draft.push(place);
                }
                if let Some(job) = job {
                    self.resolve(&job);
                    jobs.push(job);
                }
                if jobs.len() >= CHUNKS_AT_ONCE {
                    submit(std::mem::take(&mut jobs))?;
                }
            }
        }
        self.chooser.detach();
        if self.drafts.len() > DRAFTS_MAX
            && let Some(job) = self.chooser.close()
        {
            self.resolve(&job);
            jobs.push(job);
        }
        submit(jobs)?;
        self.emit_resolved(pages)
    }

    fn resolve(&mut self, job: &ChunkJob) {
        self.drafts.iter_mut().for_each(|draft| draft.resolve(job.id));
    }

    /// Puts the leaves whose chunks all have ids into the tree, in order.
    fn emit_resolved(&mut self, pages: &mut PageStore<'_>) -> Result<()> {
        let sink = &mut |page: &PageRef, bytes: Vec<u8>, before| pages.put(page, &bytes, before);
        while let Some(draft) = self.drafts.pop_front_if(|draft| !draft.is_open()) {
            let page = if draft.is_zero() {
                None
            } else {
                let leaf = Page::Leaf(draft.finish()?);
                Some(emit_page(&self.plan.store.files.hasher, &leaf, draft.before, sink)?)
            };
            self.tree.put(draft.number, page, sink)?;
        }
        Ok(())
    }

    /// Finishes the manifest, once the data that it refers to is published, or is `few` chunks that
    /// are published with it.
    fn finish(
        self,
        data: Stored,
        few: Vec<Item>,
        mut pages: PageStore<'_>,
        record_of: &dyn Fn(&Captured) -> Record,
    ) -> Result<Captured> {
        let root = self.tree.finish(&mut |page, bytes, before| pages.put(page, &bytes, before))?;
        let content = root.map_or(NodeDigest::ZERO, |root| root.content);
        let data_bytes = match (self.plan.changed, self.replaced_blocks) {
            (None, _) => block_bytes(self.data_blocks),
            (Some(_), Some(replaced)) => {
                let before = self.plan.parent.map_or(0, |parent| parent.stats.data_bytes);
                (before + block_bytes(self.data_blocks)).saturating_sub(block_bytes(replaced))
            }
            (Some(_), None) => 0,
        };
        let mut captured = Captured {
            root,
            content: self.plan.store.files.hasher.image(self.plan.image.len(), content),
            read_bytes: self.read_bytes,
            data_bytes,
            new_bytes: block_bytes(self.chooser.new_blocks),
            data,
            pages: pages.stored(),
        };
        pages.finish(data, few, &record_of(&captured))?;
        if self.plan.changed.is_some() && self.replaced_blocks.is_none() {
            let root = root.map(|root| Node::root_of(root, self.plan.image.len()));
            captured.data_bytes = block_bytes(count_data_blocks(self.plan.store, root));
        }
        Ok(captured)
    }
}

/// Returns how many blocks of a tree are not zero. Blocks below unreadable pages are not counted.
fn count_data_blocks(store: &Store, root: Option<Node>) -> u64 {
    let mut pages = Cursor::new(store, root);
    let mut blocks = 0;
    while let Some(node) = pages.next() {
        if let Ok(Some(leaf)) = pages.read(&node) {
            blocks += to_u64(leaf.places().flatten().count());
        }
    }
    blocks
}
