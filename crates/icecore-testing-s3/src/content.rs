//! The bytes of objects: in memory, or in files.

use bytes::Bytes;
use bytes::BytesMut;
use futures_util::Stream;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use tempfile::TempPath;
use tokio::task::block_in_place;

/// How much of a file is read at once.
const READ: u64 = 256 << 10;

/// The bytes of an object or of a part.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Memory(Bytes),
    /// A file, deleted with the last copy of this.
    File {
        path: Arc<TempPath>,
        bytes: u64,
    },
    Joined(Vec<Content>),
    /// A range of another, which has it.
    Part(Box<Content>, Range<u64>),
    /// Bytes that are gone, of which a stale list still tells the number.
    Gone(u64),
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { bytes, .. } => *bytes,
            Self::Joined(parts) => parts.iter().map(Self::len).sum(),
            Self::Part(_, range) => range.end - range.start,
            Self::Gone(bytes) => *bytes,
        }
    }

    /// Returns a range of it; what is beyond the end is left out.
    pub(crate) fn slice(&self, range: Range<u64>) -> io::Result<Slices> {
        let mut slices = Slices::default();
        self.add_slices(range, &mut slices)?;
        Ok(slices)
    }

    fn add_slices(&self, range: Range<u64>, slices: &mut Slices) -> io::Result<()> {
        let range = range.start.min(self.len())..range.end.min(self.len());
        if range.is_empty() {
            return Ok(());
        }
        slices.bytes += match self {
            Self::Joined(_) | Self::Part(..) => 0,
            _ => range.end - range.start,
        };
        match self {
            Self::Memory(bytes) => {
                let range = in_memory(range.start)?..in_memory(range.end)?;
                slices.left.push_back(Piece::Memory(bytes.slice(range)));
            }
            Self::File { path, .. } => {
                let file = File::open(&**path)?;
                slices.left.push_back(Piece::File { file, _path: Arc::clone(path), range });
            }
            Self::Gone(_) => return Err(io::ErrorKind::NotFound.into()),
            Self::Part(whole, part) => {
                whole.add_slices(part.start + range.start..part.start + range.end, slices)?;
            }
            Self::Joined(parts) => {
                let mut start = 0;
                for part in parts {
                    let end = start + part.len();
                    let within = range.start.clamp(start, end) - start..range.end.clamp(start, end) - start;
                    part.add_slices(within, slices)?;
                    start = end;
                }
            }
        }
        Ok(())
    }
}

fn in_memory(at: u64) -> io::Result<usize> {
    usize::try_from(at).map_err(io::Error::other)
}

#[derive(Debug)]
enum Piece {
    Memory(Bytes),
    File { file: File, _path: Arc<TempPath>, range: Range<u64> },
}

/// A range of an object that is read bit by bit.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    left: VecDeque<Piece>,
    bytes: u64,
}

impl Slices {
    /// Returns how many bytes it had at first.
    pub(crate) fn len(&self) -> u64 {
        self.bytes
    }

    fn next_bytes(&mut self) -> io::Result<Option<Bytes>> {
        let (bytes, rest) = match self.left.pop_front() {
            None => return Ok(None),
            Some(Piece::Memory(bytes)) => (bytes, None),
            Some(Piece::File { file, _path, range }) => {
                let end = range.end.min(range.start + READ);
                let mut bytes = BytesMut::zeroed(in_memory(end - range.start)?);
                block_in_place(|| file.read_exact_at(&mut bytes, range.start))?;
                let rest = Piece::File { file, _path, range: end..range.end };
                (bytes.freeze(), Some(rest).filter(|_| end < range.end))
            }
        };
        if let Some(rest) = rest {
            self.left.push_front(rest);
        }
        Ok(Some(bytes))
    }
}

impl Stream for Slices {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        Poll::Ready(self.next_bytes().transpose())
    }
}
