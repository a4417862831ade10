//! What needs no storage thread: messages that are in memory are found and answered on the thread that the request came in by.
//!
//! A storage thread that sleeps has to be woken, and then whoever answers: on a machine that is at other things each of these waits its
//! turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Waker};

use tokio::runtime::Handle;
use weir_engine::store::StreamEntry;
use weir_engine::stream::{Message, SIGHT_LOOKS, Search, Sight};

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

/// The messages that are meant, up to the first that is not in memory, or not to be had without the storage thread; `None` for those
/// that there are not. All of streams on one storage thread.
pub(super) fn some<'g>(
    js: &JetStream,
    gets: impl Iterator<Item = (&'g Arc<StreamEntry>, &'g Get)>,
) -> Vec<Option<Message>> {
    let (mut shard, mut searches) = (None, Vec::new());
    for (entry, get) in gets {
        let Some(search) = get.search() else { break };
        shard = Some(entry.shard);
        searches.push((entry.id, search));
    }
    let Some(shard) = shard else { return Vec::new() };
    let seen = js.shard(shard).look(|shard| {
        let mut looks = SIGHT_LOOKS;
        let each = |(id, search): &mut (_, Search)| shard.sight(*id, search, &mut looks);
        Some(searches.iter_mut().map_while(each).collect::<Vec<_>>())
    });
    let read = |sight| match sight {
        Sight::Message(message) => Some(Some(message)),
        Sight::Nothing => Some(None),
        Sight::InLog(unread) => unread.read_at_hand().map(Some),
    };
    seen.unwrap_or_default().into_iter().map_while(read).collect()
}

/// The message that is meant, as [`some`]; `None` inside if there is none.
pub(super) fn one(js: &JetStream, entry: &Arc<StreamEntry>, get: &Get) -> Option<Option<Message>> {
    some(js, std::iter::once((entry, get))).pop()
}
