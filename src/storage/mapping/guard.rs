//! `SIGBUS` guard: turns the signal that a vanished mapping raises into a flag.
//!
//! Touching a mapped page whose file was shortened, or whose disk failed, raises `SIGBUS` in the touching thread; the
//! default is the end of the process. Here every mapped window is entered in a fixed table. The handler looks the
//! faulting address up, sets that window's `lost` flag, puts zero pages in the window's place and returns, so that the
//! access goes on harmlessly; whoever made it asks for the flag afterwards. A fault elsewhere goes to the handler that
//! was installed before ours.
//!
//! The handler runs at any point of any thread, so it takes no lock and allocates nothing: it reads atomics and calls
//! `mmap`. The list of free entries is behind a mutex, but off the signal's path. A system call that is handed lost
//! memory raises no signal: it answers `EFAULT`.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Mapped segments that can exist at a time. Segments have at least 64 KiB, so this is 1 GiB of the smallest ones; past
/// it, windows become buffers. The table is zero pages until it is used.
const TABLE_LEN: usize = 16 * 1024;

/// One mapped segment. A sequence lock guards `base` and `len`: a reader that sees the same odd generation before and
/// after has read values that belong together.
struct Entry {
    /// Odd while the entry is in use.
    generation: AtomicUsize,
    base: AtomicUsize,
    len: AtomicUsize,
    lost: AtomicBool,
}

static TABLE: [Entry; TABLE_LEN] = [const {
    Entry {
        generation: AtomicUsize::new(0),
        base: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        lost: AtomicBool::new(false),
    }
}; TABLE_LEN];

/// Entries from here on were never used; the handler need not look at them.
static TABLE_END: AtomicUsize = AtomicUsize::new(0);

/// Entries below [`TABLE_END`] that are free again.
static FREE: Mutex<Vec<&'static Entry>> = Mutex::new(Vec::new());

/// What was installed for `SIGBUS` before us. Never freed: a handler may be reading it.
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// Installs the handler at its first use; true if that worked.
static INSTALLED: LazyLock<bool> = LazyLock::new(install);

/// A mapped range that the handler knows. Must be dropped before the range is unmapped.
pub(super) struct Registration(&'static Entry);

impl Registration {
    /// Enters a range of whole pages. `None` if the table is full or no handler could be installed.
    pub(super) fn new(base: usize, len: usize) -> Option<Self> {
        if !*INSTALLED {
            return None;
        }
        let entry = free_entry()?;
        entry.base.store(base, SeqCst);
        entry.len.store(len, SeqCst);
        entry.lost.store(false, SeqCst);
        entry.generation.fetch_add(1, SeqCst);
        Some(Self(entry))
    }

    /// True once an access to the range failed. What was read from it since is zeros, what was written is gone.
    pub(super) fn is_lost(&self) -> bool {
        self.0.lost.load(SeqCst)
    }

    /// Marks the range as lost, for a failure that a system call told instead of a signal.
    pub(super) fn set_lost(&self) {
        self.0.lost.store(true, SeqCst);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.0.generation.fetch_add(1, SeqCst);
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
    }
}

fn free_entry() -> Option<&'static Entry> {
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    free.pop().or_else(|| {
        let fresh = TABLE.get(TABLE_END.load(SeqCst))?;
        TABLE_END.fetch_add(1, SeqCst);
        Some(fresh)
    })
}

fn install() -> bool {
    // SAFETY: `sigaction` is plain data for which all zeros is a valid value.
    let (mut ours, mut previous): (libc::sigaction, libc::sigaction) = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call; a null new action only asks.
    if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut previous) } != 0 {
        return false;
    }
    // Published before our handler can run.
    PREVIOUS.store(Box::into_raw(Box::new(previous)), SeqCst);
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_sigbus;
    ours.sa_sigaction = handler as libc::sighandler_t;
    // On the alternate stack, where there is one: std's own check for stack overflows runs behind us.
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `ours` is complete (an all-zero mask is the empty set) and names a function that lives for ever.
    unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) == 0 }
}

extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: errno is this thread's own; the interrupted code must find it as it was.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: the kernel hands a valid `info` to an `SA_SIGINFO` handler, and `SIGBUS` fills in the address. A positive
    // code means that the kernel, not another process, sent it.
    let (fault, address) = unsafe { ((*info).si_code > 0, (*info).si_addr() as usize) };
    if !(fault && give_zero_pages(address)) {
        chain(signal, info, context);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Finds the window around `address` and replaces it by zero pages. False if there is none.
fn give_zero_pages(address: usize) -> bool {
    TABLE.iter().take(TABLE_END.load(SeqCst)).any(|entry| {
        let generation = entry.generation.load(SeqCst);
        let base = entry.base.load(SeqCst);
        let len = entry.len.load(SeqCst);
        // The entry we look for cannot change under us: its window is being accessed, hence alive. Any other may.
        let steady = generation % 2 == 1 && entry.generation.load(SeqCst) == generation;
        if !steady || address.wrapping_sub(base) >= len {
            return false;
        }
        // First the flag: whoever sees a zero page also sees that the window is lost.
        entry.lost.store(true, SeqCst);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: the range is exactly the pages of one live mapping of ours, so nothing else can be overwritten; its
        // owner only copies bytes in and out, for which zero pages do as well, and unmaps them like the old ones.
        let zeros = unsafe { libc::mmap(base as *mut c_void, len, protection, flags, -1, 0) };
        zeros != libc::MAP_FAILED
    })
}

/// Hands a signal that is not ours to the handler before us.
fn chain(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let previous = PREVIOUS.load(SeqCst);
    // SAFETY: null, or leaked by `install` and never changed.
    let Some(previous) = (unsafe { previous.as_ref() }) else { return };
    match previous.sa_sigaction {
        // A fault cannot be ignored, it would come back for ever.
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: both calls may be made in a signal handler. The signal is blocked until we return, then kills.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
        }
        action if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: with this flag the value is a handler of this type.
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                unsafe { std::mem::transmute(action) };
            handler(signal, info, context);
        }
        action => {
            // SAFETY: without the flag the value is a handler of this type.
            let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(action) };
            handler(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn entries_are_used_again() {
        let entry = {
            let registration = Registration::new(0x1000, 0x1000).unwrap();
            assert!(!registration.is_lost());
            registration.set_lost();
            assert!(registration.is_lost());
            ptr::from_ref(registration.0)
        };
        // Other tests may take the entry first; one of many is it.
        let again: Vec<Registration> = (0..64).map(|n| Registration::new(n * 0x1000, 0x1000).unwrap()).collect();
        assert!(again.iter().all(|registration| !registration.is_lost()));
        assert!(again.iter().any(|registration| ptr::eq(registration.0, entry)) || again.len() < TABLE_LEN);
    }

    /// The fault of the next test; it does something only when that test runs it in a process of its own.
    #[test]
    fn fault_outside_of_all_windows() {
        if std::env::var_os("BITWEEN_TEST_FAULT").is_none() {
            return;
        }
        let _guarded = Registration::new(0x1000, 0x1000).unwrap();
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        // SAFETY: the mapping is only read, and the fault that follows is what the test is about.
        let map = unsafe { memmap2::Mmap::map(&file).unwrap() };
        file.set_len(0).unwrap();
        // SAFETY: inside the mapping.
        let byte = unsafe { ptr::read_volatile(map.as_ptr()) };
        panic!("read {byte} from beyond the end of a file");
    }

    #[test]
    fn a_fault_outside_of_all_windows_still_kills() {
        let name = "storage::mapping::guard::tests::fault_outside_of_all_windows";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name, "--nocapture"]).env("BITWEEN_TEST_FAULT", "1").output().unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{output:?}");
    }
}
