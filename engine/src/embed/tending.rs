//! What is done to a stream's storage, with functions that wait until it is done.

use std::sync::mpsc::channel;

use crate::backend::Compression;
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
            let stream = shard.stream(id)?;
            let before = (stream.config().clone(), stream.settings());
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
            let (config, settings) = before;
            let back = stream.call(move |shard, id| shard.set_config(id, config, settings));
            if let Err(error) = back {
                tracing::warn!(
                    stream = name,
                    "that it goes over to {to} stays in its configuration: {error}"
                );
            }
        }
        outcome.map(|()| true)
    }

    /// Gives back what the log of a stream has of removed messages, and waits for it; with a compression, everything in it is
    /// compressed like that from now on, as its metadata say then. Answers how many bytes the log took before and takes now, as far
    /// as the backend can tell. `progress` is told how many bytes are done, and of how many. The other streams of its storage thread
    /// wait meanwhile. Broken off, it has done a part, and everything is there.
    ///
    /// # Errors
    /// If there is no such stream, it is in memory or offline, or storage fails; of kind [`Damaged`](crate::Kind::Damaged), that something
    /// damaged stays as it was, and that all else is done.
    pub fn compact_stream(
        &self,
        account: &str,
        name: &str,
        compression: Option<Compression>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(u64, u64)> {
        let stream = self.stream(account, name)?;
        let (sender, steps) = channel();
        std::thread::scope(|scope| {
            let work = scope.spawn(move || {
                stream.call(move |shard, id| {
                    shard.compact(id, compression, &mut |done, of| {
                        // One that does not wait any more needs no telling.
                        let _ = sender.send((done, of));
                    })
                })
            });
            // Until the sender is gone, with the work.
            while let Ok((done, of)) = steps.recv() {
                progress(done, of);
            }
            let panicked = |_| Err(Error::closed("the thread that waited for it panicked"));
            work.join().unwrap_or_else(panicked)
        })
    }
}
