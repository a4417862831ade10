//! Memory that is given back beside the thread that has no use for it any more: that of a million subjects takes a quarter of a second.

/// Pieces of memory that are given back at once: that takes about a millisecond.
const AT_ONCE: usize = 4096;

/// Drops something that is made of about so many pieces.
pub(crate) fn free<T: Send + 'static>(pieces: usize, what: T) {
    if pieces <= AT_ONCE {
        return;
    }
    let thread = std::thread::Builder::new().name("weir-free".to_owned());
    if let Err(error) = thread.spawn(move || drop(what)) {
        // It was dropped here, then.
        tracing::warn!("memory was given back without a thread of its own: {error}");
    }
}
