//! Restore into a stream: window by window, in order.

use std::io;
use std::io::Write;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::format::record::Record;
use crate::repository::Repository;
use crate::verbs::restore::fetch::fetch;
use crate::verbs::restore::report::RestoreReport;
use crate::verbs::restore::window::each_window;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::LEAF_BYTES;
use crate::words::sizes::LEAF_U64;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;

/// Leaves that are put together in memory before they are written: 64 MiB.
const WINDOW_LEAVES: usize = 16;

pub(super) fn restore(
    repo: &Repository,
    record: &Record,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    let image_bytes = record.size_bytes;
    let mut report =
        RestoreReport { image_bytes, data_bytes: record.stats.data_bytes, ..RestoreReport::default() };
    progress.total(Meter::Restored, record.stats.data_bytes);
    let zeros = vec![0; LEAF_BYTES];
    let mut at = 0;
    each_window(repo, record, WINDOW_LEAVES, |window| {
        let numbers: Vec<u64> = window.leaves.iter().map(|leaf| leaf.number).collect();
        let leaves: Vec<Mutex<Vec<u8>>> = numbers.iter().map(|_| Mutex::new(vec![0; LEAF_BYTES])).collect();
        let put = |offset: u64, bytes: &[u8]| {
            let leaf = numbers.binary_search(&(offset / LEAF_U64)).ok().and_then(|leaf| leaves.get(leaf));
            if let Some(leaf) = leaf {
                let begin = to_usize(offset % LEAF_U64);
                leaf.lock().unwrap_or_else(PoisonError::into_inner)[begin..begin + bytes.len()]
                    .copy_from_slice(bytes);
            }
            Ok(())
        };
        report.stored_bytes_read += fetch(&repo.store, window, &put, progress)?;
        window.prove(&repo.base().hasher)?;
        for (number, leaf) in numbers.iter().zip(leaves) {
            write_zeros(out, &zeros, at, number * LEAF_U64, progress)?;
            let bytes = leaf.into_inner().unwrap_or_else(PoisonError::into_inner);
            let inside = to_usize(image_bytes - number * LEAF_U64).min(LEAF_BYTES);
            out.write_all(&bytes[..inside]).map_err(failed)?;
            report.written_bytes += to_u64(inside);
            at = number * LEAF_U64 + to_u64(inside);
        }
        write_zeros(out, &zeros, at, window.range.end, progress)?;
        at = window.range.end;
        Ok(())
    })?;
    out.flush().map_err(failed)?;
    report.zeroed_bytes = image_bytes - report.written_bytes;
    Ok(report)
}

fn write_zeros(out: &mut dyn Write, zeros: &[u8], from: u64, to: u64, progress: &dyn Progress) -> Result<()> {
    let mut left = to.saturating_sub(from);
    while left > 0 {
        if progress.cancelled() {
            return Err(Error::interrupted());
        }
        let part = to_usize(left).min(zeros.len());
        out.write_all(&zeros[..part]).map_err(failed)?;
        left -= to_u64(part);
    }
    Ok(())
}

fn failed(error: io::Error) -> Error {
    Error::io("writing the image to the output", error)
}
