//! What the machine has room for: the usual values of limits that nobody has chosen.

use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;

/// The least and the most that the cache of chunks takes where nothing is said.
const CACHE_BYTES: std::ops::RangeInclusive<u64> = 96 << 20..=1 << 30;
/// The part of the machine's memory that the cache takes.
const CACHE_PART: u64 = 16;
/// Connections of NBD clients where nothing is said.
const CONNECTIONS: u64 = 4096;
/// Descriptors that are left to repositories, volumes and all else.
const OTHER_DESCRIPTORS: u64 = 512;

/// Returns how many bytes the cache of chunks takes where nothing is said: 1/16 of the machine's memory, from 96 MiB to 1 GiB.
pub fn usual_cache_bytes() -> usize {
    let memory = rustix::system::sysinfo();
    let total = (memory.totalram as u64).saturating_mul(u64::from(memory.mem_unit));
    cache_bytes(total)
}

fn cache_bytes(total: u64) -> usize {
    let bytes = (total / CACHE_PART).clamp(*CACHE_BYTES.start(), *CACHE_BYTES.end());
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Lets this process open as many files as its hard limit allows, and returns how many connections of NBD clients it takes where
/// nothing is said: 4096, or fewer where there are not enough descriptors for them.
pub fn usual_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where that is not allowed, there are as many as there were.
    let files = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    connections(files)
}

fn connections(files: Option<u64>) -> usize {
    let files = files.unwrap_or(u64::MAX);
    let left = if files > 2 * OTHER_DESCRIPTORS { files - OTHER_DESCRIPTORS } else { files / 2 };
    usize::try_from(left.min(CONNECTIONS)).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_follow_from_what_there_is() {
        let mib = 1 << 20;
        assert_eq!(cache_bytes(0), 96 * mib);
        assert_eq!(cache_bytes(8 << 30), 512 * mib);
        assert_eq!(cache_bytes(1 << 40), 1024 * mib);
        assert_eq!(connections(None), 4096);
        assert_eq!(connections(Some(1 << 20)), 4096);
        assert_eq!(connections(Some(2048)), 1536);
        assert_eq!(connections(Some(40)), 20);
        assert_eq!(connections(Some(0)), 1);
    }
}
