//! The index: which pack has which chunk, page or block. It holds hints; the packs hold the truth.

pub(crate) mod run_builder;
pub(crate) mod run_writer;
pub(crate) mod writer;

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use crate::format::bytes::DecodeError;
use crate::format::journal::Condemnation;
use crate::format::layout;
use crate::format::run::HEADER_BYTES;
use crate::format::run::Header;
use crate::format::run::PACK_ID_BYTES;
use crate::format::run::Run;
use crate::stores::files::RepositoryFiles;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::PackId;
use crate::words::ids::RunId;
use crate::words::next_step::NextStep;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::world::storage::Mapped;
use crate::world::storage::StoredFile;

/// A possible place of an object: an entry of a pack's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hint {
    pub(crate) pack: PackId,
    pub(crate) entry: u32,
    /// For a block, its slot; the larger it is for a chunk, the more of its slots have their data
    /// there.
    pub(crate) detail: u8,
}

/// One published run, mapped.
pub(crate) struct RunFile {
    pub(crate) id: RunId,
    pub(crate) header: Header,
    bytes: Mapped,
}

impl RunFile {
    pub(crate) fn open(files: &RepositoryFiles, id: RunId) -> Result<Self> {
        let file = files.open(&layout::run(id)).map_err(|error| cannot_open(id, error))?;
        Self::from_file(id, &*file)
    }

    /// Maps and checks a run that is open.
    pub(crate) fn from_file(id: RunId, file: &dyn StoredFile) -> Result<Self> {
        let read = |error| cannot_open(id, error);
        let damaged = |error: DecodeError| {
            Error::corrupt(format!("index run {id} is damaged: {error}")).with_hint(NextStep::RepairIndex)
        };
        // The header first: the file can have any length, and may not even fit into the address
        // space.
        let mut header = vec![0; to_usize(file.len()).min(HEADER_BYTES)];
        file.read_at(0, &mut header).map_err(read)?;
        let header = Header::decode(&header, file.len()).map_err(damaged)?;
        let bytes = file.map(0..file.len()).map_err(read)?;
        let run = Self { id, header, bytes };
        let fits = Run::new(&run.bytes, &run.header).map(drop);
        run.check()?;
        fits.map_err(damaged)?;
        Ok(run)
    }

    /// Returns the run, or none if it does not match its own header, which was checked when it was
    /// opened.
    pub(crate) fn run(&self) -> Option<Run<'_>> {
        Run::new(&self.bytes, &self.header).ok()
    }

    /// Checks that everything read from it so far was readable. Call it after each lookup: the
    /// reader saw zeros in the place of unreadable bytes.
    pub(crate) fn check(&self) -> Result<()> {
        match self.bytes.is_broken() {
            false => Ok(()),
            true => Err(Error::new(
                ErrorKind::Io,
                format!("a part of index run {} has become unreadable", self.id),
            )
            .with_hint(NextStep::RepairIndexOfBadMedium)),
        }
    }

    /// Returns whether it is still usable: it was readable so far, and its file has the same
    /// length.
    fn is_intact(&self, files: &RepositoryFiles) -> Result<bool> {
        let file = files.open(&layout::run(self.id)).map_err(|error| cannot_open(self.id, error))?;
        Ok(!self.bytes.is_broken() && file.len() == to_u64(self.bytes.len()))
    }

    /// Returns whether its content matches its checksum.
    pub(crate) fn is_sound(&self) -> bool {
        crc32fast::hash(&self.bytes[HEADER_BYTES..]) == self.header.crc
    }

    /// Returns whether its header and table of packs match the run's id.
    pub(crate) fn has_its_id(&self, files: &RepositoryFiles) -> bool {
        let table = PACK_ID_BYTES.saturating_mul(self.header.packs as usize);
        self.bytes.get(..HEADER_BYTES + table).is_some_and(|head| files.hasher.run(head) == self.id)
    }

    /// Returns the number of its chunks, pages and blocks.
    pub(crate) fn entries(&self) -> u64 {
        self.header.chunks + self.header.blocks
    }
}

fn cannot_open(id: RunId, error: io::Error) -> Error {
    Error::stored_io(format!("opening index run {id}"), error).or_hint(NextStep::RepairIndexWithoutFile)
}

/// All runs, as of the time they were listed.
#[derive(Default)]
pub(crate) struct Index {
    runs: Vec<Arc<RunFile>>,
    /// Packs that nothing new may refer to.
    condemned: Arc<Condemned>,
}

/// The condemned packs.
pub(crate) type Condemned = BTreeMap<PackId, Condemnation>;

impl Index {
    /// Opens all runs, reusing the open ones in `known`. Leaves out damaged ones.
    pub(crate) fn load(files: &RepositoryFiles, known: &Self) -> Result<Self> {
        // A listed run that is gone was merged into another meanwhile; a few rounds always suffice
        // in practice.
        for _ in 0..64 {
            match Self::load_listed(files, known) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                loaded => return loaded,
            }
        }
        Err(Error::new(ErrorKind::InUse, "the index changes faster than this process can read it"))
    }

    fn load_listed(files: &RepositoryFiles, known: &Self) -> Result<Self> {
        let mut runs = Vec::new();
        let mut names = files.list(layout::INDEX)?;
        names.sort();
        for id in names.iter().filter_map(|name| layout::id_of(name)) {
            let known = known.runs.iter().find(|run| run.id == id);
            // Of a file that became shorter, the end of its last page reads as zeros.
            let known = known.map(|run| Ok((run, run.is_intact(files)?))).transpose()?;
            match known {
                Some((run, true)) => runs.push(Arc::clone(run)),
                _ => match RunFile::open(files, id) {
                    // The packs have its content. `verify` reports it, and `repair index` rebuilds
                    // it.
                    Err(error) if error.kind() == ErrorKind::Corrupt => {}
                    opened => runs.push(Arc::new(opened?)),
                },
            }
        }
        Ok(Self { runs, condemned: Arc::clone(&known.condemned) })
    }

    /// Returns this index without the places in condemned packs.
    pub(crate) fn without(self, condemned: Arc<Condemned>) -> Self {
        Self { condemned, ..self }
    }

    pub(crate) fn runs(&self) -> &[Arc<RunFile>] {
        &self.runs
    }

    /// Returns this index with some runs replaced by others.
    pub(crate) fn with(&self, added: Arc<RunFile>, removed: &[RunId]) -> Self {
        let kept = self.runs.iter().filter(|run| !removed.contains(&run.id) && run.id != added.id);
        let mut runs: Vec<_> = kept.cloned().collect();
        runs.push(added);
        Self { runs, condemned: Arc::clone(&self.condemned) }
    }

    /// Returns where a chunk or a page may be.
    ///
    /// # Errors
    /// `Io` if a part of a run is unreadable: then the answer is unknown.
    pub(crate) fn find_chunk(&self, id: &[u8; 16]) -> Result<Vec<Hint>> {
        let mut hints = Vec::new();
        for file in &self.runs {
            if let Some(run) = file.run() {
                hints.extend(run.find_chunk(id).filter_map(|found| {
                    let pack = self.pack_of(&run, found.pack)?;
                    Some(Hint { pack, entry: u32::from(found.entry), detail: found.detail })
                }));
            }
            file.check()?;
        }
        Ok(hints)
    }

    /// Returns a pack that a run names, unless it is condemned.
    fn pack_of(&self, run: &Run<'_>, number: u32) -> Option<PackId> {
        run.pack(number).filter(|pack| !self.is_condemned(pack))
    }

    /// Tells whether nothing new may refer to a pack.
    pub(crate) fn is_condemned(&self, pack: &PackId) -> bool {
        !self.condemned.is_empty() && self.condemned.contains_key(pack)
    }

    /// Returns the packs that nothing new may refer to.
    pub(crate) fn condemned(&self) -> &Condemned {
        &self.condemned
    }

    /// Returns the packs that its runs name.
    pub(crate) fn packs(&self) -> HashSet<PackId> {
        self.runs.iter().filter_map(|file| file.run()).flat_map(|run| run.packs()).collect()
    }

    /// Returns where blocks may be, each hint with the number of its block in `ids`, in the order
    /// of these.
    ///
    /// # Errors
    /// As for [`find_chunk`](Self::find_chunk).
    pub(crate) fn find_blocks(&self, ids: &[BlockId]) -> Result<Vec<(usize, Hint)>> {
        let mut hints = Vec::new();
        for file in &self.runs {
            if let Some(run) = file.run() {
                run.find_blocks(ids, |at, found| {
                    if let Some(pack) = self.pack_of(&run, found.pack) {
                        hints.push((at, Hint { pack, entry: u32::from(found.entry), detail: found.detail }));
                    }
                });
            }
            file.check()?;
        }
        hints.sort_by_key(|(at, _)| *at);
        Ok(hints)
    }
}
