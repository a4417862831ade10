//! What needs no storage thread: messages that are in memory are found and answered on the thread that the request came in by.
//!
//! A storage thread that sleeps has to be woken, and then whoever answers: on a machine that is at other things each of these waits its
//! turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Waker};

use tokio::runtime::Handle;
use weir_engine::store::StreamEntry;
use weir_engine::stream::{AtHand, Message, SIGHT_LOOKS, Search, Sight, Unread};

use super::direct::size;
use super::message::Get;
use crate::jetstream::JetStream;

/// Messages that are looked for in a shard before others may look into it as well: some microseconds.
pub(super) const LOOKED_FOR: usize = 16;

/// Serves a request on this thread as far as nothing has to be waited for; with the rest, it goes on where requests are served.
pub fn begin(runtime: &Handle, serving: impl Future<Output = ()> + Send + 'static) {
    let mut serving = Box::pin(serving);
    // What it does beside itself is done there.
    let within = runtime.enter();
    let first = catch_unwind(AssertUnwindSafe(|| {
        serving.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }));
    drop(within);
    // A panic has said what it is, and goes no further than the request, as in a task of its own.
    if first.is_ok_and(|first| first.is_pending()) {
        runtime.spawn(serving);
    }
}

/// What is known of a message without its storage thread.
pub(super) enum Seen {
    /// It is this one; or there is none.
    Whole(Option<Message>),
    /// It is this one, which a disk has to be waited for.
    Unread(Unread),
}

/// What is known of the messages that are meant, up to the first that its storage thread has to be asked for, and as many as make up
/// `bytes`, which this lowers. All are of streams on one storage thread.
pub(super) fn some<'g>(
    js: &JetStream,
    gets: impl Iterator<Item = (&'g Arc<StreamEntry>, &'g Get)>,
    bytes: &mut usize,
) -> Vec<Seen> {
    let (mut shard, mut searches) = (None, Vec::new());
    for (entry, get) in gets {
        let Some(search) = get.search() else { break };
        shard = Some(entry.shard);
        searches.push((entry.id, search));
    }
    let Some(shard) = shard else { return Vec::new() };
    let sights = js.shard(shard).look(|shard| {
        let mut looks = SIGHT_LOOKS;
        let each = |(id, search): &mut (_, Search)| shard.sight(*id, search, &mut looks);
        Some(searches.iter_mut().map_while(each).collect::<Vec<_>>())
    });
    let mut all = Vec::with_capacity(searches.len());
    for sight in sights.unwrap_or_default() {
        let message = match sight {
            Sight::Message(message) => Some(message),
            Sight::Nothing => None,
            Sight::InLog(unread) => match unread.read_at_hand() {
                AtHand::Message(message) => Some(message),
                AtHand::Unread => {
                    all.push(Seen::Unread(unread));
                    continue;
                }
                AtHand::Odd => break,
            },
        };
        *bytes = bytes.saturating_sub(message.as_ref().map_or(0, size));
        all.push(Seen::Whole(message));
        if *bytes == 0 {
            break;
        }
    }
    all
}

/// What is known of the message that is meant, as [`some`].
pub(super) fn one(js: &JetStream, entry: &Arc<StreamEntry>, get: &Get) -> Option<Seen> {
    some(js, std::iter::once((entry, get)), &mut { usize::MAX }).pop()
}
