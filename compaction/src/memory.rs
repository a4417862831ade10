//! Memory that was let go of.

/// Bytes from which on each piece of memory stands alone, and is given back as soon as it is let go of.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ALONE: libc::c_int = 128 << 10;

/// For the beginning of a program: has the allocator keep no large pieces for later. glibc raises that bound with the pieces that it sees.
#[allow(unsafe_code, reason = "there is no safe form of mallopt")]
pub fn keep_little() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes numbers.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, ALONE);
    }
}

/// Gives what the allocator keeps for later back to the system: after something large is gone that nothing of its size comes behind.
/// Where the allocator is not glibc's, nothing is done.
#[allow(unsafe_code, reason = "there is no safe form of malloc_trim")]
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes a number, and touches only what nobody has.
    unsafe {
        libc::malloc_trim(0);
    }
}
