//! File descriptors: how many the process may have, and whose they are.
//!
//! Connections stop before what storage needs: a connection too many is told so, a stream that cannot open its file is not.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::limits::{MONITOR_CONNECTIONS, OWN_DESCRIPTORS, STORAGE_DESCRIPTORS};

/// Raises the process's soft limit of open files to its hard limit, as Go's runtime does for nats-server. Nothing here waits
/// with `select`, which is what the soft limit is low for.
pub fn raise_limit() {
    let mut limits = getrlimit(Resource::Nofile);
    if limits.current == limits.maximum {
        return;
    }
    limits.current = limits.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limits) {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
}

/// Connections that there is room for under the limit of now.
pub(super) fn connection_room(with_storage: bool) -> usize {
    match getrlimit(Resource::Nofile).current {
        Some(limit) => room(usize::try_from(limit).unwrap_or(usize::MAX), with_storage),
        None => usize::MAX,
    }
}

/// What is left of `limit`; at least half, so that a small limit leaves some.
fn room(limit: usize, with_storage: bool) -> usize {
    let storage = if with_storage { STORAGE_DESCRIPTORS } else { 0 };
    let others = storage + MONITOR_CONNECTIONS + OWN_DESCRIPTORS;
    limit.saturating_sub(others).max(limit / 2)
}

#[cfg(test)]
mod tests;
