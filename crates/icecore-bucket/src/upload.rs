//! An object that is written piece by piece: to a file of this machine first.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use icecore::storage::Mapped;
use icecore::storage::NewFile;
use icecore::storage::NewObject;
use icecore::storage::Put;
use icecore::storage::Storage;
use icecore::storage::StoredFile;

use crate::put;
use crate::remote::Remote;

/// The unfinished object. The file goes with it.
pub(crate) struct Upload {
    remote: Arc<Remote>,
    spool: Arc<dyn Storage>,
    name: String,
    /// None once all is written.
    file: Option<Box<dyn NewFile>>,
    /// Whether the file is gone: somebody else may use its name then.
    ended: bool,
}

impl Upload {
    /// Begins an object in the file `name`.
    pub(crate) fn begin(remote: &Arc<Remote>, spool: &Arc<dyn Storage>, name: &str) -> io::Result<Self> {
        let file = match spool.create(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_dirs_above(&**spool, name)?;
                spool.create(name)?
            }
            created => created?,
        };
        Ok(Self {
            remote: Arc::clone(remote),
            spool: Arc::clone(spool),
            name: name.to_owned(),
            file: Some(file),
            ended: false,
        })
    }

    /// Removes the file. What is open of it stays readable.
    fn end(&mut self) {
        self.file = None;
        if !std::mem::replace(&mut self.ended, true) {
            // There is nobody to report to; gc removes what is left.
            let _ = self.spool.remove(&self.name);
        }
    }

    /// Sends what was written, without a copy of it.
    fn send<T>(&mut self, send: impl Fn(&Remote, &Bytes) -> io::Result<T>) -> io::Result<T> {
        self.file = None;
        let file = self.spool.open(&self.name)?;
        let mapped = match file.len() {
            0 => Mapped::new([]),
            bytes => file.map(0..bytes)?,
        };
        let body = Bytes::from_owner(Body(mapped.clone()));
        let sent = send(&self.remote, &body);
        if mapped.is_broken() {
            // What was sent has zeros in it. Nobody refers to it yet.
            let text = format!("{} could not be read while it was sent", self.name);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        sent
    }
}

struct Body(Mapped);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Makes the directories above a local file. They need not survive a crash: the file does not.
fn make_dirs_above(spool: &dyn Storage, name: &str) -> io::Result<()> {
    for (end, _) in name.match_indices('/') {
        spool.make_dir(&name[..end])?;
    }
    Ok(())
}

impl NewObject for Upload {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.as_mut().ok_or(io::ErrorKind::InvalidInput)?.append(bytes)
    }

    /// The file need not survive a crash: nothing is safe before it is in the bucket.
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn open(&self) -> io::Result<Box<dyn StoredFile>> {
        self.spool.open(&self.name)
    }

    fn publish(&mut self, name: &str) -> io::Result<Put> {
        let put = self.send(|remote, body| put::put_new(remote, name, body, put::CUT))?;
        if put == Put::Made {
            self.end();
        }
        Ok(put)
    }

    fn mend(&mut self, name: &str) -> io::Result<()> {
        self.send(|remote, body| put::overwrite(remote, name, body, put::CUT))?;
        self.end();
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.end();
    }
}
