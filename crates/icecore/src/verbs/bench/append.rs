//! Packs written to a repository that is not used for anything else.

use crate::format::pack::PackKind;
use crate::repository::Repository;
use crate::stores::files::RepositoryFiles;
use crate::stores::locks::Writer;
use crate::stores::pack::writer::Item;
use crate::stores::pack::writer::PackWriter;
use crate::verbs::bench::place::Watch;
use crate::words::error::Result;

/// Appends to packs and publishes them, each measured for itself.
pub(crate) struct Appender<'a> {
    files: &'a RepositoryFiles,
    writer: Writer,
    open: Option<PackWriter<'a>>,
    /// Bytes that were appended.
    pub(crate) bytes: u64,
    /// How long it took to append them, in seconds.
    pub(crate) append_seconds: f64,
    /// How long it took to publish them, in seconds.
    pub(crate) sync_seconds: f64,
}

impl<'a> Appender<'a> {
    pub(crate) fn new(repo: &'a Repository) -> Result<Self> {
        let (files, writer) = (repo.files(), Writer::begin(repo.files())?);
        Ok(Self { files, writer, open: None, bytes: 0, append_seconds: 0.0, sync_seconds: 0.0 })
    }

    /// Appends items, and publishes packs that are full.
    pub(crate) fn append(&mut self, watch: &Watch<'_>, items: &[Item]) -> Result<()> {
        let mut rest = items;
        while !rest.is_empty() {
            let mut pack = match self.open.take() {
                Some(pack) => pack,
                None => PackWriter::begin(self.files, PackKind::Data)?,
            };
            let (appended, time) = watch.once(|| {
                let mut appended = 0;
                while let Some(item) = rest.get(appended).filter(|_| !pack.is_full()) {
                    pack.append(item)?;
                    appended += 1;
                }
                Ok(appended)
            })?;
            self.bytes += rest[..appended].iter().map(Item::packed_bytes).sum::<u64>();
            rest = &rest[appended..];
            self.append_seconds += time;
            let full = pack.is_full();
            self.open = Some(pack);
            if full {
                self.publish(watch)?;
            }
        }
        Ok(())
    }

    /// Publishes the pack that is open.
    pub(crate) fn publish(&mut self, watch: &Watch<'_>) -> Result<()> {
        if let Some(pack) = self.open.take() {
            self.sync_seconds += watch.once(|| pack.finish(&self.writer))?.1;
        }
        Ok(())
    }
}
