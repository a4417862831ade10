//! Requests of the server's own: a message into an account, and what comes to its reply subject.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Courier;
use crate::interest::{Account, Inbound, Service, Work};

/// What came to a reply subject.
pub(crate) struct Reply {
    /// Behind the header block.
    pub payload: Bytes,
}

/// Answers that may wait.
const ANSWERS: usize = 64;

struct Inbox(mpsc::Sender<Reply>);

impl Service for Inbox {
    fn message(&self, message: &Inbound<'_>, _: &mut Work) {
        let payload = message.own(message.payload);
        // What comes when nobody waits any more, or more than anybody wants, is dropped.
        let _ = self.0.try_send(Reply { payload });
    }

    fn only_hears(&self) -> bool {
        true
    }
}

/// Asks in an account, and waits for one answer so long. `None`: none came, or nobody listens.
pub(crate) async fn ask(
    account: &Arc<Account>,
    subject: &[u8],
    headers: &[u8],
    payload: &[u8],
    patience: Duration,
) -> Option<Reply> {
    let (sender, mut replies) = mpsc::channel(ANSWERS);
    let inbox = inbox();
    // No room in the graph is no answer.
    let subscription = account.serve(inbox.as_bytes(), Arc::new(Inbox(sender))).ok()?;
    Courier::new(Arc::clone(account)).send(subject, subject, inbox.as_bytes(), headers, payload);
    let reply = timeout(patience, replies.recv()).await.ok().flatten();
    account.remove(&subscription);
    reply
}

/// Asks in an account, and hands over every answer that comes within that time, until one says no more should.
pub(crate) async fn ask_many(
    account: &Arc<Account>,
    subject: &[u8],
    payload: &[u8],
    patience: Duration,
    mut each: impl FnMut(Reply) -> bool,
) {
    let (sender, mut replies) = mpsc::channel(ANSWERS);
    let inbox = inbox();
    let Ok(subscription) = account.serve(inbox.as_bytes(), Arc::new(Inbox(sender))) else {
        return;
    };
    Courier::new(Arc::clone(account)).send(subject, subject, inbox.as_bytes(), b"", payload);
    // No answer in time is the last one, too.
    let _ = timeout(patience, async {
        while let Some(reply) = replies.recv().await {
            if !each(reply) {
                break;
            }
        }
    })
    .await;
    account.remove(&subscription);
}

/// A subject of the server's own that nobody guesses.
fn inbox() -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digit = |_| char::from(DIGITS[usize::from(rand::random::<u16>()) % DIGITS.len()]);
    format!("$SYS._INBOX.weir.{}", (0..22).map(digit).collect::<String>())
}
