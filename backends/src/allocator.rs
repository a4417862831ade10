//! Memory that was let go of, which the allocator keeps for later.
//!
//! Where it is not glibc's, nothing is done.

/// Bytes from which on each piece of memory stands alone, and is given back as soon as it is let go of.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ALONE: libc::c_int = 128 << 10;

/// Bytes more than there were that nobody has and the allocator keeps: then they go back.
const MUCH: i64 = 32 << 20;

/// For the beginning of a program that works for minutes: has the allocator keep no large pieces for later. glibc raises that bound with
/// the pieces that it sees.
#[allow(unsafe_code, reason = "there is no safe form of mallopt")]
pub fn keep_little() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes numbers.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, ALONE);
    }
}

/// Gives what the allocator keeps for later back to the system: after something large is gone that nothing of its size comes behind.
/// Who wants memory waits meanwhile: some ten milliseconds for half a GiB.
#[allow(unsafe_code, reason = "there is no safe form of malloc_trim")]
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes a number, and touches only what nobody has.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Bytes of memory of this process that belong to no file and that nobody took from the allocator: what it keeps for later, but for a
/// difference that changes little (stacks of threads; what was taken and never written to). `None` where that is not known.
#[allow(unsafe_code, reason = "there is no safe form of mallinfo2")]
fn kept() -> Option<i64> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: it takes nothing and answers numbers.
        let info = unsafe { libc::mallinfo2() };
        let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
        let mut pages = statm.split(' ').skip(1).map(str::parse::<i64>);
        let (resident, of_files) = (pages.next()?.ok()?, pages.next()?.ok()?);
        let page = i64::try_from(rustix::param::page_size()).ok()?;
        let taken = i64::try_from(info.uordblks.saturating_add(info.hblkhd)).ok()?;
        (resident - of_files).checked_mul(page)?.checked_sub(taken)
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    None
}

/// For a program that works for weeks: what was let go of goes back when it has become much. Large pieces that are wanted again and again
/// stay between two looks, so that nobody waits for memory that was there a moment ago.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// The fewest bytes that were kept since some were last given back: what could not be given back, and what is no leftover.
    least: i64,
}

impl Leftovers {
    /// Looks how much is kept, and gives it back if it is 32 MiB more than the least that any look since the last time found; answers
    /// whether it did. A look takes microseconds, and 30 to 160 milliseconds were seen where memory is in a million free pieces, in which
    /// whoever wants memory waits: who asks should ask the less often the longer it took.
    pub fn tidy(&mut self) -> bool {
        let Some(now) = kept() else { return false };
        let is_much = now >= self.least.saturating_add(MUCH);
        self.least = match is_much {
            true => {
                give_back();
                kept().unwrap_or(now)
            }
            false => self.least.min(now),
        };
        is_much
    }
}
