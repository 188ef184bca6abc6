//! Serves a raw file: `serve-file FILE SOCKET`. For measurements.
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a program, not the library")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore_nbd::Disk;
use icecore_nbd::ExportName;
use icecore_nbd::Exports;
use icecore_nbd::Limits;
use icecore_nbd::OpenError;
use icecore_nbd::Server;
use rustix::fs::FallocateFlags;
use rustix::fs::SeekFrom;

struct Raw {
    file: File,
    len: u64,
}

impl ReadAt for Raw {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let start = match rustix::fs::seek(&self.file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(start..rustix::fs::seek(&self.file, SeekFrom::Hole(start))?))
    }
}

impl WriteAt for Raw {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn zero_at(&self, range: Range<u64>) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.file, flags, range.start, range.end - range.start)?)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Disk for Raw {
    fn writable(&self) -> Option<&dyn WriteAt> {
        Some(self)
    }

    fn status(&self, _context: &str, range: Range<u64>) -> io::Result<Vec<(u64, u32)>> {
        Ok(vec![(range.end - range.start, 0)])
    }
}

struct One(Arc<Raw>);

impl Exports for One {
    fn list(&self) -> Vec<ExportName> {
        vec![ExportName { name: String::new(), description: "a file".to_owned() }]
    }

    fn open(&self, name: &str) -> Result<Arc<dyn Disk>, OpenError> {
        if name.is_empty() { Ok(Arc::clone(&self.0) as Arc<dyn Disk>) } else { Err(OpenError::Unknown) }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(socket)) = (args.next(), args.next()) else { return Err("FILE SOCKET".into()) };
    let file = File::options().read(true).write(true).open(file)?;
    let len = file.metadata()?.len();
    let server = Server::new(Arc::new(One(Arc::new(Raw { file, len }))), Limits::default())?;
    let report = server.serve(&[UnixListener::bind(socket)?.into()])?;
    println!("{report:?}");
    Ok(())
}
