//! What is done to a stream's storage, with functions that wait until it is done.

use std::sync::mpsc::channel;

use crate::error::{Error, Result};
use crate::shard::relocation::MoveStep;
use crate::store::Store;
use crate::stream::settings::BackendKind;

impl Store {
    /// Has the messages of a stream go over to another backend, and waits for it; answers whether they were not there already.
    /// `progress` is told how many messages are copied, and of how many. The stream may go on meanwhile.
    ///
    /// The copy is on disk, and the log it was made of gone, with the next checkpoint: [`Store::close`] writes one. A crash before
    /// leaves the stream where it was, and the next opening begins the move anew.
    ///
    /// # Errors
    /// If there is no such stream, it is in memory or offline, the other backend cannot be opened, or the copy cannot be made
    /// ([`Kind::Damaged`](crate::Kind::Damaged) for a message that cannot be read): then the stream is as it was.
    pub fn move_stream(
        &self,
        account: &str,
        name: &str,
        to: BackendKind,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<bool> {
        let stream = self.stream(account, name)?;
        let (watcher, steps) = channel();
        let (before, moves) = stream.call(move |shard, id| {
            let before = shard.stream(id)?.config().clone();
            Ok((before, shard.move_stream(id, to, watcher)?))
        })?;
        if !moves {
            return Ok(false);
        }
        let outcome = loop {
            match steps.recv() {
                Ok(MoveStep::Copied(done, of)) => progress(done, of),
                Ok(MoveStep::Over(outcome)) => break outcome,
                // The stream itself says if it is offline.
                Err(_) => {
                    break stream
                        .read(|_| Ok(()))
                        .and_then(|()| Err(Error::closed("its storage failed meanwhile, and was opened anew")));
                }
            }
        };
        if outcome.is_err() {
            // Nothing but this asks for the move. If the stream takes no change just now, a start tries the move again.
            let back = stream.call(move |shard, id| shard.set_config(id, before));
            if let Err(error) = back {
                tracing::warn!(
                    stream = name,
                    "that it goes over to {to} stays in its configuration: {error}"
                );
            }
        }
        outcome.map(|()| true)
    }
}
