//! The machine: its name, and the default limits that follow from it.

use std::path::Path;

use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;

/// The smallest and the largest default size of the cache of chunks.
const CACHE_BYTES: std::ops::RangeInclusive<u64> = 96 << 20..=1 << 30;
/// The part of the machine's memory that the cache takes.
const CACHE_PART: u64 = 16;
/// The default number of connections of NBD clients.
const CONNECTIONS: u64 = 4096;
/// Descriptors reserved for repositories, volumes and everything else.
const OTHER_DESCRIPTORS: u64 = 512;

/// The directories in which the kernel shows control groups and their memory limits: version 2, and
/// the memory hierarchy of version 1.
const GROUPS: [(&str, &str); 2] =
    [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")];

/// Returns the name of this machine.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Returns the default size of the cache of chunks in bytes: 1/16 of the memory of the machine, or
/// of the container or service that this process is in, from 96 MiB to 1 GiB.
pub fn usual_cache_bytes() -> usize {
    cache_bytes(memory_bytes())
}

/// Returns the memory of the machine, or of the container or service that this process is in.
pub(crate) fn memory_bytes() -> u64 {
    let memory = rustix::system::sysinfo();
    let total = (memory.totalram as u64).saturating_mul(u64::from(memory.mem_unit));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = group_limit(&groups, &|file| std::fs::read_to_string(file).ok());
    limit.map_or(total, |limit| limit.min(total))
}

/// Returns the smallest memory limit of the control groups of a process, which its file `cgroup` in
/// /proc names, and of their ancestors. It reads the files of both versions: a missing file sets no
/// limit.
fn group_limit(groups: &str, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let (_, named) = line.split_once(':')?;
        let (controllers, path) = named.split_once(':')?;
        let version_1 = controllers.split(',').any(|controller| controller == "memory");
        let (root, file) = GROUPS[usize::from(version_1)];
        let group = Path::new(root).join(path.trim_start_matches('/'));
        let all = group.ancestors().take_while(|group| group.starts_with(root));
        all.filter_map(|group| read(&group.join(file))?.trim().parse().ok()).min()
    });
    limits.min()
}

fn cache_bytes(total: u64) -> usize {
    let bytes = (total / CACHE_PART).clamp(*CACHE_BYTES.start(), *CACHE_BYTES.end());
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Lets this process open as many files as its hard limit allows, and returns the default number of
/// connections of NBD clients: 4096, or fewer if there are not enough descriptors.
pub fn usual_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // If that is not allowed, the limit stays as it was.
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
    fn the_least_limit_of_the_groups_that_a_process_is_in_counts() {
        let files = [
            ("/sys/fs/cgroup/memory.max", "9"),
            ("/sys/fs/cgroup/a.slice/memory.max", "7000\n"),
            ("/sys/fs/cgroup/a.slice/b.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/c/memory.max", "8000\n"),
            ("/sys/fs/cgroup/memory/d/memory.limit_in_bytes", "5000\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        let limit = |groups: &str, without_root: bool| {
            group_limit(groups, &|file| {
                let files = &files[usize::from(without_root)..];
                files.iter().find(|(name, _)| file == Path::new(name)).map(|(_, text)| (*text).to_owned())
            })
        };
        assert_eq!(limit("0::/a.slice/b.service\n", true), Some(7000));
        assert_eq!(limit("0::/a.slice/b.service\n", false), Some(9));
        assert_eq!(limit("0::/\n", false), Some(9), "a container sees its own group as the root");
        assert_eq!(limit("0::/\n", true), None);
        assert_eq!(limit("8:pids:/c\n4:cpu,memory:/d\n0::/c\n", true), Some(5000));
        assert_eq!(limit("4:memory:/e\n", true), Some(9_223_372_036_854_771_712));
        assert_eq!(limit("", true), None);
        assert_eq!(limit("nonsense", true), None);
    }

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
