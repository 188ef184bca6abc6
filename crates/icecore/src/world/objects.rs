//! The objects of a repository: everything that matters and never changes. A directory or a bucket
//! can hold them.

use std::io;

use crate::world::storage::StoredFile;
use crate::world::storage::read_all;

/// Named sequences of bytes. An object appears whole, and nobody overwrites it; only a repair puts a
/// whole object in the place of a damaged one.
///
/// Names are relative, with `/` between their components. A spool is the name of a local file that
/// no other writer uses: the unfinished bytes of an object may be there, and gc removes what a dead
/// writer left.
pub trait Objects: Send + Sync {
    /// Makes what a new repository needs so that objects can be put into this directory (the empty
    /// name is the root). Durable after a [`sync`](Self::sync) of the root.
    fn prepare(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }

    /// Returns the names of the objects in a directory, without the directory, in no order.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Returns the objects in a directory with what is known of each, in no order. Leaves out what
    /// disappears meanwhile or is no object.
    fn list_told(&self, dir: &str) -> io::Result<Vec<Told>> {
        let mut told = Vec::new();
        for name in self.list(dir)? {
            let object = format!("{dir}/{name}");
            match self.open(&object) {
                Ok(file) => told.push(Told { name, bytes: file.len(), made_unix_ms: None }),
                Err(error)
                    if [io::ErrorKind::NotFound, io::ErrorKind::InvalidData].contains(&error.kind()) => {}
                Err(error) => return Err(io::Error::new(error.kind(), format!("{object}: {error}"))),
            }
        }
        Ok(told)
    }

    /// Returns the names of the objects in a directory that come after `after`, in no order.
    fn list_after(&self, dir: &str, after: &str) -> io::Result<Vec<String>> {
        let mut names = self.list(dir)?;
        names.retain(|name| name.as_str() > after);
        Ok(names)
    }

    /// Tells whether other machines write here too, of which the sessions know nothing. Whoever
    /// captures may then have no right to delete.
    fn is_shared(&self) -> bool {
        false
    }

    /// Returns how many bytes between two parts of an object are better read too than left out.
    fn gap_bytes(&self) -> u64 {
        64 << 10
    }

    /// Opens an object, to read any parts of it.
    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>>;

    /// Returns what small objects hold, in the order of their names here. Longer ones than `bytes_max`
    /// are `InvalidData`.
    fn read_many(&self, names: &[String], bytes_max: u64) -> Vec<io::Result<Vec<u8>>> {
        names.iter().map(|name| read_all(self.open(name), bytes_max)).collect()
    }

    /// Begins an object that is written piece by piece.
    fn begin(&self, spool: &str) -> io::Result<Box<dyn NewObject>>;

    /// Makes an object of these bytes. When this returns, it is durable, or its name was taken.
    fn put_new(&self, name: &str, bytes: &[u8], spool: &str) -> io::Result<Put> {
        let mut object = self.begin(spool)?;
        object.append(bytes)?;
        object.publish(name)
    }

    /// Makes an object that a crash may take, wholly or in part, and that can be made again. It
    /// replaces one that has its name.
    fn put_hint(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Deletes an object; a missing one is not an error. Durable after a [`sync`](Self::sync). What
    /// is open stays readable. The error [`is_retained`] for one that the place does not give up yet.
    fn delete(&self, name: &str) -> io::Result<()>;

    /// Deletes an object as fast as possible. Its space is free once the caller has called what this
    /// returns: freeing a large file takes long, and should not be done under a lock.
    fn delete_fast(&self, name: &str, _spool: &str) -> io::Result<Freeing> {
        self.delete(name)?;
        Ok(Box::new(|| Ok(())))
    }

    /// Gives an object another name, durably. `AlreadyExists` if that is taken.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes durable what anybody has put into a directory, and deleted from it.
    fn sync(&self, dir: &str) -> io::Result<()>;
}

/// What a list tells of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its name, without the directory.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was made, in milliseconds since 1970, by the clock of the place. None if the place
    /// does not know.
    pub made_unix_ms: Option<u64>,
}

/// Why an object stays.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Retained(String);

/// Returns the error for an object that its place keeps for a time which its owner has set, whoever
/// wants to delete or replace it. The reason is for people.
pub fn retained(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, Retained(reason.into()))
}

/// Tells whether an object stays because its place keeps it for a time. Then a right to delete is not
/// what is missing, and a later try goes better.
pub fn is_retained(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|source| source.is::<Retained>())
}

/// Frees the space of a deleted object.
pub type Freeing = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// What became of an object that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was made.
    Made,
    /// Its name was taken.
    Exists,
}

/// An object that is being written. Without a name it disappears when it is dropped.
pub trait NewObject: Send {
    /// Writes all of `bytes` at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns once all of it is safe, so that giving it a name does not take long.
    fn sync(&mut self) -> io::Result<()>;

    /// Opens it for reading. That works on after it got a name and was deleted.
    fn open(&self) -> io::Result<Box<dyn StoredFile>>;

    /// Gives it a name, durably, if the name is free. Of several concurrent calls with one name, one
    /// makes the object. If the name is taken, nothing changes.
    fn publish(&mut self, name: &str) -> io::Result<Put>;

    /// Puts it in the place of a damaged object, durably and in one step.
    fn mend(&mut self, name: &str) -> io::Result<()>;
}
