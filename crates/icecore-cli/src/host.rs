//! Access to the outside world: the clock, randomness, the environment, signals. No other module
//! reads them.

use std::ffi::OsString;
use std::io;
use std::num::NonZero;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Once;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::snapshot::SnapshotId;
use icecore::volume::VolumeId;
use icecore_host::clock::Clock;
use icecore_host::clock::SystemClock;
use icecore_host::keys::Ask;
use icecore_host::keys::prompt;
use icecore_host::keys::sources;
use icecore_host::keys::sources::Sources;
use icecore_host::places::Environment;
use jiff::tz::TimeZone;
use rustix::fs::Mode;
use signal_hook::consts::SIGHUP;
use signal_hook::consts::SIGINT;
use signal_hook::consts::SIGTERM;
use signal_hook::consts::SIGXFSZ;
use uuid::Uuid;

pub(crate) use icecore_host::clock::Stopwatch;

/// Returns the time, in milliseconds since 1970.
pub(crate) fn now_unix_ms() -> i64 {
    SystemClock.now_unix_ms()
}

/// Returns the time zone with this name from the system's database; `local` is the system's own
/// zone.
pub(crate) fn time_zone(name: &str) -> Result<TimeZone> {
    if name != "local" {
        return icecore_host::zone::time_zone(name);
    }
    TimeZone::try_system().map_err(|error| {
        Error::new(ErrorKind::InvalidInput, format!("cannot determine the system's time zone: {error}"))
            .with_hint("name one, such as UTC or Europe/Berlin")
    })
}

/// Returns an id for a new snapshot, which sorts by time.
pub(crate) fn new_snapshot_id() -> SnapshotId {
    SnapshotId(icecore_host::clock::new_id())
}

/// Returns an id for a new volume, which sorts by time.
pub(crate) fn new_volume_id() -> VolumeId {
    VolumeId(icecore_host::clock::new_id())
}

/// Returns a random id that no other process uses.
pub(crate) fn new_session() -> Uuid {
    Uuid::new_v4()
}

/// Returns a random number.
pub(crate) fn random_u64() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}

/// Returns where passwords and identities come from.
pub(crate) fn key_sources() -> Sources {
    let ask = prompt::has_terminal().then(|| Arc::new(prompt::ask) as Ask);
    Sources::new(sources::environment(), ask)
}

/// Returns what decides where repositories are.
pub(crate) fn surroundings() -> Environment {
    Environment::new(sources::environment())
}

/// Returns the arguments of the process, without its name.
pub(crate) fn arguments() -> Vec<OsString> {
    std::env::args_os().skip(1).collect()
}

/// Starts the threads that verbs share: one per core, or as many as `RAYON_NUM_THREADS` says.
pub(crate) fn start_workers() -> Result<()> {
    let wanted = std::env::var("RAYON_NUM_THREADS").ok().and_then(|number| number.parse().ok());
    let wanted = wanted.filter(|wanted| *wanted > 0);
    let cores = || thread::available_parallelism().map_or(1, NonZero::get);
    icecore::start_workers(wanted.unwrap_or_else(cores))
}

/// Makes all threads take memory from one heap, for a process with many long-lived threads. By
/// default the C library gives many threads their own heap, and each heap keeps the most memory
/// that a request of its threads ever took.
#[cfg_attr(target_env = "gnu", expect(unsafe_code, reason = "no function of Rust chooses this"))]
pub(crate) fn share_one_heap() {
    // SAFETY: `mallopt` takes two numbers and keeps no pointer. If it fails, the default stays.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Returns the directory for the user's data, if one is known.
pub(crate) fn data_home() -> Option<PathBuf> {
    absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
}

/// Returns the directories that may contain a configuration, the user's first.
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "only the server needs it"))]
pub(crate) fn config_dirs() -> Vec<PathBuf> {
    let own = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    own.into_iter().chain([PathBuf::from("/etc")]).collect()
}

/// Returns the directory for the state of the user's programs, if one is known.
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "only the server needs it"))]
pub(crate) fn state_home() -> Option<PathBuf> {
    absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
}

fn absolute(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Reports the state of this process to systemd, if systemd started it and wants to know.
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "only the server needs it"))]
pub(crate) fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&path),
    };
    // If systemd does not get the message, it waits and reports that.
    let _ = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
}

/// Returns a flag that becomes true when the user or the system asks to stop (SIGINT, SIGTERM), or
/// when the terminal goes away (SIGHUP). A second SIGINT or SIGTERM ends the process at once.
/// Before the first call of this function, any of these signals ends the process, as usual. A
/// process started so that it ignores SIGHUP (`nohup`) continues.
pub(crate) fn stop_flag() -> Arc<AtomicBool> {
    let flag = stop_flag_but_for_hang_ups();
    static HANG_UPS: Once = Once::new();
    HANG_UPS.call_once(|| {
        if !ignores_hang_ups() {
            // A terminal that goes away may send SIGHUP more than once, which does not mean to end
            // at once.
            let _ = signal_hook::flag::register(SIGHUP, Arc::clone(&flag));
        }
    });
    flag
}

/// Like [`stop_flag`], for a process to which SIGHUP means something else.
pub(crate) fn stop_flag_but_for_hang_ups() -> Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    let flag = FLAG.get_or_init(|| {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Without a handler the signal ends the process, which is the second-best answer to it.
            let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag));
            let _ = signal_hook::flag::register(signal, Arc::clone(&flag));
        }
        flag
    });
    Arc::clone(flag)
}

/// Returns whether the process was started so that it ignores SIGHUP.
fn ignores_hang_ups() -> bool {
    static IGNORES: OnceLock<bool> = OnceLock::new();
    *IGNORES.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        ignored_signals(&status) >> (SIGHUP - 1) & 1 == 1
    })
}

/// Returns the ignored signals in a `/proc/PID/status`, as bits starting with signal 1.
fn ignored_signals(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

/// Arranges that a byte is written to `waker` when the user or the system asks to stop, or the
/// terminal goes away, as for [`stop_flag`].
pub(crate) fn wake_on_stop(waker: UnixStream) -> io::Result<()> {
    if !ignores_hang_ups() {
        signal_hook::low_level::pipe::register(SIGHUP, waker.try_clone()?)?;
    }
    wake_on_stop_but_for_hang_ups(waker)
}

/// Like [`wake_on_stop`], for a process to which SIGHUP means something else.
pub(crate) fn wake_on_stop_but_for_hang_ups(waker: UnixStream) -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
    }
    Ok(())
}

/// Arranges that a byte is written to `waker` whenever the user or the system asks to read the
/// configuration again (SIGHUP).
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "only the server needs it"))]
pub(crate) fn wake_on_reload(waker: UnixStream) -> io::Result<()> {
    signal_hook::low_level::pipe::register(SIGHUP, waker).map(drop)
}

/// Returns the id of this process.
pub(crate) fn process_id() -> u32 {
    std::process::id()
}

/// Runs `what` with a mask that makes new files private to their owner. Call it only while no other
/// thread creates files.
pub(crate) fn with_private_files<T>(what: impl FnOnce() -> T) -> T {
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let done = what();
    rustix::process::umask(before);
    done
}

/// Makes a write beyond the file size limit (`ulimit -f`) fail with an error. Otherwise the system
/// would end the process without a message and leave its temporary files.
pub(crate) fn survive_file_size_limit() {
    // Any handler will do. If none can be set, the default behaviour stays.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

/// Returns whether the process was asked to stop.
pub(crate) fn asked_to_stop() -> bool {
    stop_flag_but_for_hang_ups().load(Ordering::Relaxed)
}
