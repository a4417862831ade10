//! Answers that leave together: those to the requests of one read are written once for each receiver, not each by itself.

use std::cell::RefCell;
use std::sync::Arc;

use crate::interest::Account;
use crate::link::Message;
use crate::routing::Carrier;

/// Bytes of payloads that are gathered before they are written.
const GATHERED: usize = 256 << 10;

thread_local! {
    /// What gathers the answers that are made on this thread, and how many bytes it has.
    static OPEN: RefCell<Option<(Carrier, usize)>> = const { RefCell::new(None) };
}

/// Writes what was gathered; also where a panic ended it.
struct Close;

impl Drop for Close {
    fn drop(&mut self) {
        // Not while it is borrowed: it may find receivers gone, which answers nobody, but runs code of others.
        drop(OPEN.take());
    }
}

/// Has what is answered on this thread meanwhile written at the end, or with what is gathered already.
pub(super) fn together<R>(work: impl FnOnce() -> R) -> R {
    if OPEN.with_borrow(Option::is_some) {
        return work();
    }
    OPEN.set(Some((Carrier::telling(), 0)));
    let _close = Close;
    work()
}

/// Sends a message to whoever listens on its subject.
pub(super) fn send(account: &Arc<Account>, message: &Message<'_>) {
    let to = message.subject;
    OPEN.with(|open| match open.try_borrow_mut().as_deref_mut() {
        Ok(Some((carrier, gathered))) => {
            carrier.send(account, to, message);
            *gathered += message.payload.len();
            if *gathered >= GATHERED {
                *gathered = 0;
                carrier.flush();
            }
        }
        _ => _ = Carrier::telling().send(account, to, message),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_open() -> bool {
        OPEN.with_borrow(Option::is_some)
    }

    #[test]
    fn what_is_gathered_leaves_with_the_outermost_work_even_where_that_panics() {
        together(|| {
            together(|| assert!(is_open()));
            assert!(is_open(), "one within another ends nothing");
        });
        assert!(!is_open());
        assert!(std::panic::catch_unwind(|| together(|| panic!("on purpose"))).is_err());
        assert!(!is_open());
    }
}
