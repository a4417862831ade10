//! Comparing secrets, in plain text or as bcrypt hashes.

use std::sync::{Arc, LazyLock};

use tokio::sync::Semaphore;

use super::{Answer, Guest, Ticket, Verdict};
use crate::limits::BCRYPT_AT_ONCE;

/// Hashes that are made at a time, by all servers of the process.
static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(BCRYPT_AT_ONCE)));

/// Whether whoever gives this secret comes in as this guest. A hash takes its time, away from the threads of connections.
pub(super) fn ask(secret: &str, given: &str, guest: Guest) -> Answer {
    if !is_hash(secret) {
        return Answer::Now(verdict(equal(secret, given), guest));
    }
    let (to, ticket) = Ticket::new();
    let (secret, given) = (secret.to_owned(), given.to_owned());
    tokio::spawn(async move {
        // Never closed.
        let Ok(turn) = Arc::clone(&TURNS).acquire_owned().await else {
            return;
        };
        // The client did not wait.
        if to.is_closed() {
            return;
        }
        tokio::task::spawn_blocking(move || {
            // A hash that is none fits nothing.
            let fits = bcrypt::verify(given, &secret).unwrap_or(false);
            drop(turn);
            // The client may be gone by now.
            let _ = to.send(verdict(fits, guest));
        });
    });
    Answer::Later(ticket)
}

fn verdict(fits: bool, guest: Guest) -> Verdict {
    match fits {
        true => Verdict::Welcome(guest),
        false => Verdict::Refused,
    }
}

/// Whether a secret is a bcrypt hash, by nats-server's rule: `$2a$11$…`, and so with b, x and y.
fn is_hash(secret: &str) -> bool {
    match secret.as_bytes() {
        [b'$', b'2', b'a' | b'b' | b'x' | b'y', b'$', a, b, b'$', ..] => a.is_ascii_digit() && b.is_ascii_digit(),
        _ => false,
    }
}

/// Compares secrets in a time that tells nothing but their length.
fn equal(secret: &str, given: &str) -> bool {
    secret.len() == given.len()
        && secret
            .bytes()
            .zip(given.bytes())
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}
