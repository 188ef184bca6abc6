//! An NBD server for anything that reads and writes at an offset: the fixed newstyle handshake,
//! structured replies, block status, and all commands that qemu, the kernel's client, nbdcopy and
//! others use.
//!
//! A [`Server`] serves [`Exports`], each a [`Disk`], on any number of sockets, from any thread,
//! until its [`Stopper`] stops it. It is synchronous and silent: it reports to [`Events`].
//!
//! ```
//! use std::io::Read;
//! use std::ops::Range;
//! use std::os::unix::net::{UnixListener, UnixStream};
//! use std::sync::Arc;
//!
//! use icecore::image::{ReadAt, WriteAt};
//! use icecore_nbd::{Disk, ExportName, Exports, Limits, OpenError, Server};
//!
//! struct Zeros;
//!
//! impl ReadAt for Zeros {
//!     fn len(&self) -> u64 {
//!         1 << 30
//!     }
//!
//!     fn read_at(&self, _offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
//!         buffer.fill(0);
//!         Ok(())
//!     }
//! }
//!
//! impl Disk for Zeros {
//!     fn writable(&self) -> Option<&dyn WriteAt> {
//!         None
//!     }
//!
//!     fn status(&self, _context: &str, range: Range<u64>) -> std::io::Result<Vec<(u64, u32)>> {
//!         Ok(vec![(range.end - range.start, 0)])
//!     }
//! }
//!
//! impl Exports for Zeros {
//!     fn list(&self) -> Vec<ExportName> {
//!         vec![ExportName { name: "zeros".to_owned(), description: "1 GiB of them".to_owned() }]
//!     }
//!
//!     fn open(&self, name: &str) -> Result<Arc<dyn Disk>, OpenError> {
//!         if name == "zeros" { Ok(Arc::new(Zeros)) } else { Err(OpenError::Unknown) }
//!     }
//! }
//!
//! # let dir = std::env::temp_dir().join(format!("icecore-nbd-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir)?;
//! # let path = dir.join("socket");
//! let server = Server::new(Arc::new(Zeros), Limits::default())?;
//! let stopper = server.stopper();
//! let listener = UnixListener::bind(&path)?;
//! let serving = std::thread::spawn(move || server.serve(&[listener.into()]));
//!
//! let mut greeting = [0; 8];
//! UnixStream::connect(&path)?.read_exact(&mut greeting)?;
//! assert_eq!(&greeting, b"NBDMAGIC");
//!
//! stopper.stop();
//! assert_eq!(serving.join().unwrap()?.connections, 1);
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod address;
mod channel;
mod clock;
mod connection;
mod disk;
mod errno;
mod events;
mod extents;
mod handshake;
mod input;
mod limits;
mod memory;
mod output;
mod pace;
mod requests;
mod server;
mod session;
mod sync;
mod wire;

pub use crate::address::bind_unix;
pub use crate::address::tcp_uri;
pub use crate::address::unix_uri;
pub use crate::channel::Channel;
pub use crate::disk::Disk;
pub use crate::disk::ExportName;
pub use crate::disk::Exports;
pub use crate::disk::OpenError;
pub use crate::events::Event;
pub use crate::events::Events;
pub use crate::events::Report;
pub use crate::limits::Limits;
pub use crate::server::Listener;
pub use crate::server::Server;
pub use crate::server::Stopper;
