//! A guard that turns failed reads of mapped files into errors: an unreadable page of a mapping
//! becomes zeros, and the mapping is marked.
//!
//! A page of a mapping that the file can no longer give, because the medium fails or the file
//! became shorter, raises SIGBUS in the thread that reads it. The handler looks up the address
//! among the mappings registered here. If it finds one, it marks the mapping as broken and replaces
//! the page by zeros, so the read continues; the reader checks the mark before it trusts what it
//! found. Any other SIGBUS has its previous effect.
//!
//! A handler may neither allocate nor wait. This one reads a list of slots that only grows, through
//! atomics only, and makes two system calls.

use std::io;
use std::ptr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use memmap2::Mmap;
use rustix::mm::MapFlags;
use rustix::mm::ProtFlags;

/// The number of slots of a block.
const SLOTS: usize = 128;
/// Values in the place of an address: free, and being filled.
const FREE: usize = 0;
const TAKEN: usize = usize::MAX;

/// A slot for one mapping.
struct Slot {
    /// The address of its first byte. It is set last and cleared first.
    begin: AtomicUsize,
    /// The address after its last byte.
    end: AtomicUsize,
    broken: AtomicPtr<AtomicBool>,
}

/// A block of slots, and a link to the next block.
struct Block {
    slots: [Slot; SLOTS],
    next: AtomicPtr<Block>,
}

impl Block {
    const fn new() -> Self {
        let slots = [const {
            Slot {
                begin: AtomicUsize::new(FREE),
                end: AtomicUsize::new(0),
                broken: AtomicPtr::new(ptr::null_mut()),
            }
        }; SLOTS];
        Self { slots, next: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Returns the block after this one.
    #[expect(unsafe_code, reason = "the list is walked by a signal handler, which cannot take a lock")]
    fn next(&self) -> Option<&'static Self> {
        // SAFETY: it is null, or comes from `Box::leak` and is never changed again: blocks are not
        // freed.
        unsafe { self.next.load(Ordering::SeqCst).as_ref() }
    }
}

static FIRST: Block = Block::new();

/// Returns all slots.
fn slots() -> impl Iterator<Item = &'static Slot> {
    std::iter::successors(Some(&FIRST), |block| block.next()).flat_map(|block| &block.slots)
}

/// Takes a free slot, from a new block if there is none.
fn take_slot() -> &'static Slot {
    let take =
        |slot: &&Slot| slot.begin.compare_exchange(FREE, TAKEN, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    if let Some(slot) = slots().find(take) {
        return slot;
    }
    let block: &'static Block = Box::leak(Box::new(Block::new()));
    let slot = &block.slots[0];
    slot.begin.store(TAKEN, Ordering::SeqCst);
    let mut last = &FIRST;
    loop {
        let new = ptr::from_ref(block).cast_mut();
        match last.next.compare_exchange(ptr::null_mut(), new, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => return slot,
            Err(_) => last = last.next().unwrap_or(last),
        }
    }
}

/// A mapping of a file, and the mark whether all of it could be read so far.
pub(crate) struct GuardedMap {
    slot: &'static Slot,
    broken: Arc<AtomicBool>,
    map: Mmap,
}

impl GuardedMap {
    /// Registers a mapping for its lifetime.
    pub(crate) fn new(map: Mmap) -> Self {
        let broken = Arc::new(AtomicBool::new(false));
        let slot = take_slot();
        let begin = map.as_ptr().addr();
        slot.broken.store(Arc::as_ptr(&broken).cast_mut(), Ordering::SeqCst);
        slot.end.store(begin + map.len(), Ordering::SeqCst);
        slot.begin.store(begin, Ordering::SeqCst);
        Self { slot, broken, map }
    }

    /// Returns the mark that is set once a part of it could not be read.
    pub(crate) fn broken(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.broken)
    }
}

impl AsRef<[u8]> for GuardedMap {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for GuardedMap {
    fn drop(&mut self) {
        // This runs before the memory and the mark are freed: they are fields, which are dropped
        // after it.
        self.slot.begin.store(FREE, Ordering::SeqCst);
    }
}

/// The data that the handler needs, made before it is installed.
struct Before {
    page_bytes: usize,
    action: libc::sigaction,
}

static BEFORE: OnceLock<Before> = OnceLock::new();

/// Turns failed reads of index runs (a bad sector, a file that became shorter) into errors, where
/// the system would otherwise end the process with SIGBUS. A program calls it once, before it opens
/// a repository: it installs a handler for that signal. A SIGBUS with another cause has its
/// previous effect.
///
/// Without this call, everything works the same until such a read fails.
///
/// # Errors
/// Those of `sigaction`.
#[expect(unsafe_code, reason = "a handler for a signal is set")]
pub fn guard_mappings() -> io::Result<()> {
    if BEFORE.get().is_some() {
        return Ok(());
    }
    // SAFETY: an all-zero sigaction is a valid one, of the default action.
    let (mut old, mut new): (libc::sigaction, libc::sigaction) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let done = |code| if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: both pointers are null or lead to a sigaction that is ours.
    done(unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut old) })?;
    if BEFORE.set(Before { page_bytes: rustix::param::page_size(), action: old }).is_err() {
        return Ok(());
    }
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_bus_error;
    new.sa_sigaction = handler as libc::sighandler_t;
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler has the signature that SA_SIGINFO needs, and does only what a handler
    // may: see there.
    done(unsafe { libc::sigaction(libc::SIGBUS, &raw const new, ptr::null_mut()) })
}

/// The handler. It does not allocate, lock, or panic, and leaves `errno` as it was.
#[expect(unsafe_code, reason = "it is given raw pointers by the system")]
extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system passes a valid siginfo, which has the address if the signal has a code of
    // the kernel; `errno` is a variable of this thread.
    let (code, address, errno) =
        unsafe { ((*info).si_code, (*info).si_addr().addr(), *libc::__errno_location()) };
    let replaced = code > 0 && replace_page(address);
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
    if !replaced {
        pass_on(signal, code, info, context);
    }
}

/// Marks the mapping that contains an address, and replaces the page by zeros. Returns false if
/// that fails.
#[expect(unsafe_code, reason = "a page of a mapping is replaced")]
fn replace_page(address: usize) -> bool {
    let Some(before) = BEFORE.get() else { return false };
    let has = |slot: &&Slot| {
        let begin = slot.begin.load(Ordering::SeqCst);
        let end = slot.end.load(Ordering::SeqCst);
        // A slot that changes meanwhile does not belong to a mapping that is being read.
        begin != FREE && begin <= address && address < end && slot.begin.load(Ordering::SeqCst) == begin
    };
    let Some(slot) = slots().find(has) else { return false };
    // SAFETY: the mark lives as long as the mapping, which this thread is reading.
    unsafe { &*slot.broken.load(Ordering::SeqCst) }.store(true, Ordering::SeqCst);
    let page = address - address % before.page_bytes;
    // SAFETY: the page belongs to a mapping of a file that this thread holds, and to which only
    // shared references exist. Reading it has just failed, so nobody ever saw a byte of it; a
    // reader that sees the zeros checks the mark.
    let mapped = unsafe {
        let page = ptr::with_exposed_provenance_mut(page);
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        rustix::mm::mmap_anonymous(page, before.page_bytes, ProtFlags::READ, flags)
    };
    mapped.is_ok()
}

/// Handles a signal as it would have been handled without this handler.
#[expect(unsafe_code, reason = "the handler that was there before is called")]
fn pass_on(signal: libc::c_int, code: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let before = BEFORE.get().map(|before| &before.action);
    match before.filter(|action| ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction)) {
        // SAFETY: the address has this type when the flag is set.
        Some(action) if action.sa_flags & libc::SA_SIGINFO != 0 => unsafe {
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                std::mem::transmute(action.sa_sigaction);
            handler(signal, info, context);
        },
        // SAFETY: the address has this type when the flag is not set.
        Some(action) => unsafe {
            let handler: extern "C" fn(libc::c_int) = std::mem::transmute(action.sa_sigaction);
            handler(signal);
        },
        // SAFETY: this sets the default action. The failed read is repeated on return, and ends the
        // process; a signal that somebody sent is sent again, and stays pending until then.
        None => unsafe {
            let ignored = before.is_some_and(|action| action.sa_sigaction == libc::SIG_IGN);
            if code > 0 || !ignored {
                libc::signal(signal, libc::SIG_DFL);
            }
            if code <= 0 && !ignored {
                libc::raise(signal);
            }
        },
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "files are shortened behind the storage, and a process has to end"
)]
mod tests {
    use std::fs::File;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;
    use crate::world::fs::FsStorage;
    use crate::world::scratch::Outcome;
    use crate::world::scratch::alone;
    use crate::world::storage::Storage;

    #[test]
    fn what_a_file_does_not_give_any_more_is_zero_and_marked() -> Outcome {
        guard_mappings()?;
        guard_mappings()?;
        let dir = tempfile::tempdir()?;
        let storage = FsStorage::new(dir.path());
        let path = dir.path().join("file");
        std::fs::write(&path, vec![7; 100_000])?;
        let (map, other) = (storage.open("file")?.map(0..100_000)?, storage.open("file")?.map(0..4096)?);
        assert!(map.iter().all(|byte| *byte == 7) && !map.is_broken());
        File::options().write(true).open(&path)?.set_len(8192)?;
        assert!(map[..8192].iter().all(|byte| *byte == 7) && !map.is_broken());
        assert_eq!(map[50_000], 0);
        assert!(map.is_broken() && map.clone().is_broken());
        assert!(map[8192..].iter().all(|byte| *byte == 0), "each page of it");
        assert!(other.iter().all(|byte| *byte == 7) && !other.is_broken(), "another mapping is not");
        drop(map);
        let again = storage.open("file")?.map(0..8192)?;
        assert!(
            again.iter().all(|byte| *byte == 7) && !again.is_broken(),
            "what is mapped anew is as it is now"
        );
        Ok(())
    }

    /// A variable that tells a test that it runs in the process it started.
    const INSIDE: &str = "ICECORE_TEST_INSIDE";

    #[test]
    #[expect(unsafe_code, reason = "a file is mapped")]
    fn what_is_not_a_registered_mapping_ends_the_process_as_before() -> Outcome {
        if std::env::var_os(INSIDE).is_some() {
            guard_mappings()?;
            let file = tempfile::tempfile()?;
            file.set_len(8192)?;
            // SAFETY: only this test has the file.
            let map = unsafe { Mmap::map(&file)? };
            file.set_len(0)?;
            return Err(format!("{} was read", map[5000]).into());
        }
        let _alone = alone();
        let name = "world::guard::tests::what_is_not_a_registered_mapping_ends_the_process_as_before";
        let mut child = Command::new(std::env::current_exe()?);
        let done = child.args(["--exact", name]).env(INSIDE, "1").output()?;
        assert_eq!(done.status.signal(), Some(libc::SIGBUS), "{done:?}");
        Ok(())
    }

    #[test]
    fn many_mappings_in_many_threads_are_told_apart() -> Outcome {
        guard_mappings()?;
        let dir = tempfile::tempdir()?;
        let storage = FsStorage::new(dir.path());
        std::fs::write(dir.path().join("whole"), vec![7; 8192])?;
        std::fs::write(dir.path().join("short"), vec![7; 8192])?;
        let map = |name: &str| storage.open(name).and_then(|file| file.map(0..8192));
        let maps = |name: &str| (0..3 * SLOTS).map(|_| map(name)).collect::<io::Result<Vec<_>>>();
        let (whole, short) = (maps("whole")?, maps("short")?);
        File::options().write(true).open(dir.path().join("short"))?.set_len(0)?;
        std::thread::scope(|threads| {
            for short in short.chunks(SLOTS) {
                threads.spawn(|| {
                    for (short, whole) in short.iter().zip(&whole) {
                        assert_eq!((short[5000], whole[5000]), (0, 7));
                        // While others are made and go.
                        drop(map("whole"));
                    }
                });
            }
        });
        assert!(short.iter().all(|map| map.is_broken()) && !whole.iter().any(|map| map.is_broken()));
        Ok(())
    }
}
