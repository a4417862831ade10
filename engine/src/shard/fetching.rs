//! Reading what consumers need next, where a disk has to be waited for: beside the shard, which goes on meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Sender, TrySendError};
use parking_lot::{Condvar, Mutex};

use crate::shard::{Input, Shard, ShardHandle};
use crate::stream::unread::Unread;
use crate::types::{Seq, StreamId};

/// Threads that read, of a whole store: as many reads are with the disk at once.
const READERS: usize = 4;
/// Reads that may wait for one of them. What comes beyond is read by the shard itself.
const WAITING_MAX: usize = 1024;

/// Work for a thread that may wait.
type Read = Box<dyn FnOnce() + Send>;

/// The threads that read. They begin with the first thing to read, and end with the store.
#[derive(Default)]
pub(crate) struct Readers(OnceLock<Sender<Read>>);

impl Readers {
    /// Has something read soon, or gives it back if too much waits already.
    fn read(&self, read: Read) -> Result<(), Read> {
        let queue = self.0.get_or_init(|| {
            let (sender, receiver) = crossbeam_channel::bounded::<Read>(WAITING_MAX);
            for n in 0..READERS {
                let own = receiver.clone();
                let thread = std::thread::Builder::new().name(format!("weir-read-{n}"));
                let begun = thread.spawn(move || {
                    for read in own {
                        read();
                    }
                });
                if let Err(error) = begun {
                    // Without any, nobody takes from the queue, and sending to it fails.
                    tracing::warn!("starting a thread that reads: {error}");
                }
            }
            sender
        });
        queue.try_send(read).map_err(|refused| match refused {
            TrySendError::Full(read) | TrySendError::Disconnected(read) => read,
        })
    }
}

/// A consumer that waits for a disk, or a stream itself, to know how old its oldest message is.
pub(crate) struct Cold {
    pub stream: StreamId,
    /// The consumer; `None` for the stream.
    pub consumer: Option<u64>,
    /// The message that it needs.
    pub seq: Seq,
    pub unread: Unread,
}

/// The reads of one shard that are under way.
#[derive(Clone, Default)]
pub(super) struct UnderWay(Arc<Reads>);

#[derive(Default)]
struct Reads {
    count: Mutex<usize>,
    fewer: Condvar,
    /// Those that have not begun need not begin any more.
    stop: AtomicBool,
}

impl UnderWay {
    fn begin(&self) -> Self {
        *self.0.count.lock() += 1;
        self.clone()
    }

    /// Waits until none is, and has none begin that waits for a thread.
    pub fn stop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
        let mut count = self.0.count.lock();
        while *count > 0 {
            self.0.fewer.wait(&mut count);
        }
        drop(count);
        *self = Self::default();
    }

    fn is_stopped(&self) -> bool {
        self.0.stop.load(Ordering::Acquire)
    }

    /// Whether any is.
    #[cfg(feature = "conformance")]
    pub fn is_any(&self) -> bool {
        *self.0.count.lock() > 0
    }

    fn end(&self) {
        *self.0.count.lock() -= 1;
        self.0.fewer.notify_all();
    }
}

/// Says that a read is over, however it ended.
struct Over {
    handle: ShardHandle,
    stream: StreamId,
    consumer: Option<u64>,
    seq: Seq,
    /// `None` where errands are stepped: nobody waits for what only that same thread can do.
    under_way: Option<UnderWay>,
}

impl Drop for Over {
    fn drop(&mut self) {
        let Self {
            stream, consumer, seq, ..
        } = *self;
        // A shard that is gone needs no answer.
        let _ = self.handle.send(vec![Input::Fetched { stream, consumer, seq }]);
        if let Some(under_way) = &self.under_way {
            under_way.end();
        }
    }
}

impl Shard {
    /// Has read what consumers and streams came to in this turn that lies on a disk only.
    pub(super) fn fetch_cold(&mut self, handle: &ShardHandle) {
        let stepped = self.env.errands.are_stepped();
        for cold in std::mem::take(&mut self.cold) {
            let Cold {
                stream,
                consumer,
                seq,
                unread,
            } = cold;
            let over = Over {
                handle: handle.clone(),
                stream,
                consumer,
                seq,
                under_way: (!stepped).then(|| self.fetching.begin()),
            };
            if stepped {
                let mut once = Some(over);
                let work = move || {
                    unread.fetch();
                    once.take().map(drop)
                };
                // Where errands are stepped, no thread has to be started.
                let _ = self.env.errands.begin(String::new(), Box::new(work));
                continue;
            }
            // What is refused is dropped, which ends it: then the shard reads for itself.
            let _ = self.env.readers.read(Box::new(move || {
                if !over.under_way.as_ref().is_some_and(UnderWay::is_stopped) {
                    unread.fetch();
                }
                drop(over);
            }));
        }
    }
}
