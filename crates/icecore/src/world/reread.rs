//! Retries of failed reads, past the page cache.
//!
//! The kernel reads whole folios, of up to some MiB, into its cache, and fails a whole folio for a
//! single bad sector in it. A direct read loses only the sector itself.
#![expect(clippy::disallowed_methods, reason = "opens a file again that another module has opened")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::world::direct::ALIGNMENT;
use crate::world::pages;

/// Fills `buffer` from `offset` on. Retries a failed read in small steps, past the page cache.
pub(crate) fn read_exact_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    match file.read_exact_at(buffer, offset) {
        Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
            // The file may have no name by now.
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC | OFlags::NOCTTY;
            let Ok(direct) = rustix::fs::open(path, flags, Mode::empty()).map(File::from) else {
                return Err(error);
            };
            in_steps(|offset, block| direct.read_at(block, offset), offset, buffer).map_err(|again| {
                match again.kind() {
                    // The medium has other requirements.
                    io::ErrorKind::InvalidInput => error,
                    _ => again,
                }
            })
        }
        read => read,
    }
}

/// Fills `buffer` from `offset` on with reads of one aligned block each.
fn in_steps(
    read: impl Fn(u64, &mut [u8]) -> io::Result<usize>,
    offset: u64,
    buffer: &mut [u8],
) -> io::Result<()> {
    let mut block = pages::allocate(ALIGNMENT)?;
    let mut done = 0;
    while done < buffer.len() {
        let at = offset + to_u64(done);
        let inside = to_usize(at % to_u64(ALIGNMENT));
        let wanted = (ALIGNMENT - inside).min(buffer.len() - done);
        // The last block of a file may be shorter.
        if read(at - to_u64(inside), &mut block)? < inside + wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer[done..done + wanted].copy_from_slice(&block[inside..inside + wanted]);
        done += wanted;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::scratch::Outcome;
    use crate::world::scratch::pattern;

    #[test]
    fn only_what_is_in_a_bad_block_is_lost() -> Outcome {
        let medium = pattern(5 * ALIGNMENT + 1000);
        let bad = 2 * ALIGNMENT..3 * ALIGNMENT;
        let read = |offset: u64, block: &mut [u8]| {
            let from = to_usize(offset);
            assert!(from.is_multiple_of(ALIGNMENT) && block.as_ptr().addr().is_multiple_of(ALIGNMENT));
            if bad.contains(&from) {
                return Err(Errno::IO.into());
            }
            let there = &medium[from..medium.len().min(from + block.len())];
            block[..there.len()].copy_from_slice(there);
            Ok(there.len())
        };
        let ends =
            [0, 1, 100, 4095, 4096, 4097, 8191, 8192, 8193, 12_287, 12_288, 12_289, 20_480, 21_479, 21_480];
        for from in ends {
            for to in ends.into_iter().filter(|to| *to >= from) {
                let mut buffer = vec![0; to - from];
                let done = in_steps(read, to_u64(from), &mut buffer);
                if to > from && from < bad.end && to > bad.start {
                    let error = done.err().ok_or("it was read")?;
                    assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()), "{from}..{to}");
                } else {
                    done?;
                    assert!(buffer == medium[from..to], "{from}..{to}");
                }
            }
        }
        let beyond = in_steps(read, 21_000, &mut [0; 1000]).err().ok_or("it was read")?;
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
        Ok(())
    }
}
