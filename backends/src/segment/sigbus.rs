//! A page of a mapped file that cannot be read costs the records on it, not the process.
//!
//! The kernel sends SIGBUS to a thread that touches such a page: the disk could not read it, or somebody made the
//! file shorter. The handler here puts a page of zeros in its place, so that the thread goes on and the checksum of
//! what it reads says "damaged". Pages of anything but our own maps are none of its business: those go to the handler
//! that was there before.

use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// How many maps can be watched at a time. Linux allows a process 65,530 maps of any kind unless told otherwise.
const RANGES_MAX: usize = 1 << 16;

/// One map: where it begins and ends. `start` is 0 while the place is free. The handler reads it while others change
/// it, so `end` counts only if `start` is the same before and after.
struct Range {
    start: AtomicUsize,
    end: AtomicUsize,
    faulted: AtomicBool,
}

/// The maps. Fixed, because a signal handler can neither allocate nor wait for a lock.
static RANGES: [Range; RANGES_MAX] = [const {
    Range {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        faulted: AtomicBool::new(false),
    }
}; RANGES_MAX];

/// No place from here on was ever used.
static REACHED: AtomicUsize = AtomicUsize::new(0);

/// Places below [`REACHED`] that are free again.
static FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// A map that is watched for as long as this lives. Must end before the map does.
#[derive(Debug)]
pub struct Watch {
    place: usize,
}

impl Watch {
    /// Watches `len` bytes from `start` on, which are a map of a file.
    ///
    /// # Errors
    /// If too many maps are watched.
    pub fn new(start: *const u8, len: usize) -> io::Result<Self> {
        handler::install();
        let mut free = FREE.lock();
        let place = match free.pop() {
            Some(place) => place,
            None => {
                let place = REACHED.load(Ordering::Relaxed);
                if place == RANGES_MAX {
                    return Err(io::Error::new(
                        io::ErrorKind::OutOfMemory,
                        format!("{RANGES_MAX} files are mapped already"),
                    ));
                }
                REACHED.store(place + 1, Ordering::Release);
                place
            }
        };
        let range = &RANGES[place];
        range.faulted.store(false, Ordering::Relaxed);
        range.end.store(start as usize + len, Ordering::Release);
        range.start.store(start as usize, Ordering::Release);
        Ok(Self { place })
    }

    /// Whether a page of it could not be read since it was made.
    pub fn faulted(&self) -> bool {
        RANGES[self.place].faulted.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        RANGES[self.place].start.store(0, Ordering::Release);
        FREE.lock().push(self.place);
    }
}

/// The range that an address lies in.
fn find(address: usize) -> Option<&'static Range> {
    let used = &RANGES[..REACHED.load(Ordering::Acquire)];
    used.iter().find(|range| {
        let start = range.start.load(Ordering::Acquire);
        let end = range.end.load(Ordering::Acquire);
        start != 0 && (start..end).contains(&address) && range.start.load(Ordering::Acquire) == start
    })
}

#[allow(unsafe_code, reason = "there is no safe form of a signal handler")]
mod handler {
    use std::ptr;
    use std::sync::OnceLock;

    use super::{AtomicUsize, Once, Ordering, find};

    /// The size of a page in bytes; 0 until the handler is installed.
    static PAGE: AtomicUsize = AtomicUsize::new(0);

    /// Who had the signal before.
    static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

    /// Installs the handler, once.
    pub fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // SAFETY: `sysconf` takes any number; `sigaction` is plain data for which zeros are valid; the handler has the signature that
            // SA_SIGINFO asks for and does only what a signal handler may.
            unsafe {
                let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4096);
                PAGE.store(page, Ordering::Release);
                let mut action: libc::sigaction = std::mem::zeroed();
                let entry: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_sigbus;
                action.sa_sigaction = entry as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
                libc::sigemptyset(&raw mut action.sa_mask);
                let mut previous: libc::sigaction = std::mem::zeroed();
                if libc::sigaction(libc::SIGBUS, &raw const action, &raw mut previous) == 0 {
                    let _ = PREVIOUS.set(previous);
                } else {
                    tracing::error!("no handler for SIGBUS: a file that is made shorter would end the server");
                }
            }
        });
    }

    extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: the kernel hands a valid `info` to a handler with SA_SIGINFO, and `__errno_location` is always
        // valid. It is put back because the interrupted code may be about to read it.
        unsafe {
            let errno = *libc::__errno_location();
            let code = (*info).si_code;
            // Others are sent by `kill` and say nothing of an address.
            let fault = code == libc::BUS_ADRERR || code == libc::BUS_MCEERR_AR;
            if !(fault && mend((*info).si_addr() as usize)) {
                pass_on(signal, info, context);
            }
            *libc::__errno_location() = errno;
        }
    }

    /// Puts a page of zeros where the address is, if that is in one of our maps.
    fn mend(address: usize) -> bool {
        let page = PAGE.load(Ordering::Acquire);
        let Some(range) = find(address) else {
            return false;
        };
        let at = address & !(page - 1);
        // SAFETY: the page belongs to a map of ours that is only read and never given out as anything but bytes; the
        // thread that faulted keeps the map alive. `mmap` is a bare system call.
        let made = unsafe {
            libc::mmap(
                at as *mut libc::c_void,
                page,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        if made == libc::MAP_FAILED {
            return false;
        }
        range.faulted.store(true, Ordering::Release);
        true
    }

    /// Does what would have happened without us.
    ///
    /// # Safety
    /// The arguments are those of a signal handler.
    unsafe fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let previous = PREVIOUS.get();
        let entry = previous.map_or(libc::SIG_DFL, |p| p.sa_sigaction);
        if entry == libc::SIG_IGN {
            return;
        }
        if entry == libc::SIG_DFL {
            // SAFETY: ends the process as the signal is meant to, with its own exit status: it is blocked while this
            // runs, and delivered anew when it returns.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const action, ptr::null_mut());
                libc::raise(signal);
            }
            return;
        }
        let siginfo = previous.is_some_and(|p| p.sa_flags & libc::SA_SIGINFO != 0);
        // SAFETY: `entry` is the function that was installed for this signal, and SA_SIGINFO says which form it has.
        unsafe {
            if siginfo {
                let entry: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    std::mem::transmute(entry);
                entry(signal, info, context);
            } else {
                let entry: extern "C" fn(libc::c_int) = std::mem::transmute(entry);
                entry(signal);
            }
        }
    }
}
