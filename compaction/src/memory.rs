//! Memory that was let go of.

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
