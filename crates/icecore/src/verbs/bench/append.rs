//! Writes packs to a repository that serves no other purpose.

use crate::format::pack::PackKind;
use crate::repository::Repository;
use crate::stores::files::RepositoryFiles;
use crate::stores::locks::Writer;
use crate::stores::pack::writer::Item;
use crate::stores::pack::writer::PackWriter;
use crate::verbs::bench::place::Watch;
use crate::words::error::Result;

/// An appender that measures appending to packs and publishing them separately.
pub(crate) struct Appender<'a> {
    files: &'a RepositoryFiles,
    writer: Writer,
    open: Option<PackWriter<'a>>,
    /// The number of bytes appended.
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

    /// Appends items, and publishes full packs.
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
            self.bytes +=
                rest[..appended].iter().map(|item| item.packed_bytes(&self.files.seals)).sum::<u64>();
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

    /// Publishes the open pack.
    pub(crate) fn publish(&mut self, watch: &Watch<'_>) -> Result<()> {
        if let Some(pack) = self.open.take() {
            self.sync_seconds += watch.once(|| pack.finish(&self.writer))?.1;
        }
        Ok(())
    }
}
