//! What comes into a shard, and the bounded queue it comes through.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::consumer::{Ack, PullRequest};
use crate::error::{Error, Result};
use crate::shard::emit::{Completion, Ticket};
use crate::shard::inbox::{Inbox, Sender, inbox};
use crate::shard::shared::Window;
use crate::shard::{InTurn, Shard};
use crate::types::{Entry, Seq, StreamId};

/// What is said where a shard has ended.
const CLOSED: &str = "the store is closed, or this shard of it has ended";

/// How much may wait for a shard; above it publishers get a 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Messages (nats-server's `max_buffered_msgs`).
    pub messages: usize,
    /// Bytes (nats-server's `max_buffered_size`).
    pub bytes: usize,
}

impl Default for QueueLimits {
    /// 100,000 messages and 128 MiB, as nats-server has it for each stream.
    fn default() -> Self {
        Self {
            messages: 100_000,
            bytes: 128 << 20,
        }
    }
}

/// A function that runs on the shard's thread within a turn, and what is left of it for the turn's end.
/// While the shard's storage is broken it gets the error instead.
pub type Call = Box<dyn FnOnce(Result<&mut InTurn<'_, '_>, &Error>) -> Completion + Send>;

/// One thing for a shard to do.
pub enum Input {
    /// Store a message.
    Publish {
        /// In this stream.
        stream: StreamId,
        /// Under this subject.
        subject: Bytes,
        /// So many bytes of the body are the header block.
        headers_len: usize,
        /// Header block and payload.
        body: Bytes,
        /// Who is told.
        ticket: Ticket,
    },
    /// Take an acknowledgement.
    Ack {
        /// From a consumer of this stream.
        stream: StreamId,
        /// The consumer's name.
        consumer: Bytes,
        /// What it says.
        ack: Ack,
    },
    /// Take a pull request.
    Pull {
        /// For a consumer of this stream.
        stream: StreamId,
        /// The consumer's name.
        consumer: Bytes,
        /// What is wanted.
        request: PullRequest,
        /// Where it goes.
        reply: Bytes,
    },
    /// A flow-control request was answered.
    FlowControl {
        /// By a consumer of this stream.
        stream: StreamId,
        /// The consumer's name.
        consumer: Bytes,
        /// The request's number.
        id: u64,
        /// The last stream sequence that the subscriber got, if it says so.
        last: Option<Seq>,
    },
    /// A client subscribed to a consumer's delivery subject.
    Wake {
        /// A consumer of this stream.
        stream: StreamId,
        /// The consumer's name.
        consumer: Bytes,
    },
    /// Run a function.
    Call(Call),
    /// Run a function that changes nothing.
    Ask(Call),
    /// What a consumer waited for is in memory, or could not be read.
    Fetched {
        /// A consumer of this stream.
        stream: StreamId,
        /// The consumer's serial number; `None` where the stream itself has to know the message's age.
        consumer: Option<u64>,
        /// The message that is needed.
        seq: Seq,
    },
    /// The journal was synced beside the shard, or that failed.
    Committed,
    /// What the replica that leads decided in one of its turns, or several, which are facts: records behind the last that this one has,
    /// without a gap.
    Apply(Vec<Entry>),
    /// This replica is new, and has nothing: what comes behind that record it is told, and what is up to there it gets by copies of the
    /// streams.
    Fill(Seq),
    /// What another replica has of a stream was copied onto this one's backends, with a snapshot in the catalogue, while what changed
    /// meanwhile was told: both are put together.
    Copied(StreamId),
    /// All streams were copied, and all is told that those copies have.
    Filled,
    /// From now on this replica leads. It has all that is a fact.
    Lead,
    /// From now on another replica leads: turns of this one that are no facts are as if they had not been, and nobody is answered for
    /// them, for they may become facts all the same.
    Follow,
    /// A checkpoint was written, or failed.
    Checkpointed,
    /// A stream that was offline was opened anew, or could not be.
    Reopened,
    /// The copy of a stream's log that goes over to another backend has all but the newest messages, or failed.
    Relocated,
    /// Work that gives back storage of a stream is over, or failed.
    Tended,
    /// Write a last checkpoint and stop.
    Close,
    /// Stop at once, without a checkpoint, as if the process had been killed.
    Abandon,
}

impl Input {
    /// Has a function run on the shard's thread; `done` gets its answer once what it did is durable.
    pub fn calling<R, W, D>(work: W, done: D) -> Self
    where
        R: Send + 'static,
        W: FnOnce(&mut InTurn<'_, '_>) -> Result<R> + Send + 'static,
        D: FnOnce(Result<R>) + Send + 'static,
    {
        Self::Call(boxed(work, done))
    }

    /// Whether those who look into the shard have to wait until it is done.
    fn is_change(&self) -> bool {
        !matches!(self, Self::Ask(_))
    }

    /// Whether it can be done while earlier turns are in flight; what looks at more than the state of streams cannot.
    pub(super) fn can_overtake(&self) -> bool {
        match self {
            Self::Publish { .. }
            | Self::Ack { .. }
            | Self::Pull { .. }
            | Self::FlowControl { .. }
            | Self::Wake { .. }
            | Self::Fetched { .. }
            | Self::Committed => true,
            Self::Call(_)
            | Self::Ask(_)
            | Self::Apply(_)
            | Self::Fill(_)
            | Self::Copied(_)
            | Self::Filled
            | Self::Lead
            | Self::Follow
            | Self::Checkpointed
            | Self::Reopened
            | Self::Relocated
            | Self::Tended
            | Self::Close
            | Self::Abandon => false,
        }
    }

    /// Whether it has a turn for itself, because all before it are another's than all behind it.
    pub(super) fn changes_role(&self) -> bool {
        matches!(self, Self::Lead | Self::Follow)
    }

    /// What it weighs in the queue.
    fn bytes(&self) -> usize {
        match self {
            Self::Publish { subject, body, .. } => subject.len() + body.len(),
            _ => 0,
        }
    }
}

/// A [`Call`] of a function, and of what is done with its answer.
fn boxed<R, W, D>(work: W, done: D) -> Call
where
    R: Send + 'static,
    W: FnOnce(&mut InTurn<'_, '_>) -> Result<R> + Send + 'static,
    D: FnOnce(Result<R>) + Send + 'static,
{
    Box::new(move |shard| {
        let result = shard.map_err(Clone::clone).and_then(work);
        Box::new(move |durable: Result<(), &Error>| match durable {
            Ok(()) => done(result),
            Err(error) => done(Err(error.clone())),
        })
    })
}

/// How much waits for a shard.
#[derive(Debug, Default)]
pub(crate) struct Load {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Those inputs that may change something.
    changes: AtomicUsize,
}

impl Load {
    fn put(&self, inputs: &[Input]) {
        self.messages.fetch_add(inputs.len(), Ordering::Relaxed);
        self.bytes.fetch_add(weight(inputs), Ordering::Relaxed);
        self.changes.fetch_add(changes(inputs), Ordering::Relaxed);
    }

    pub fn taken(&self, inputs: &[Input]) {
        self.messages.fetch_sub(inputs.len(), Ordering::Relaxed);
        self.bytes.fetch_sub(weight(inputs), Ordering::Relaxed);
        self.changes.fetch_sub(changes(inputs), Ordering::Relaxed);
    }
}

fn changes(inputs: &[Input]) -> usize {
    inputs.iter().filter(|input| input.is_change()).count()
}

/// About what inputs add to the journal, in bytes; messages alone count.
pub(super) fn journal_bytes(inputs: &[Input]) -> u64 {
    const COMMAND: usize = 64;
    let of_one = |input: &Input| match input {
        Input::Publish { .. } => (input.bytes() + COMMAND) as u64,
        _ => 0,
    };
    inputs.iter().map(of_one).sum()
}

fn weight(inputs: &[Input]) -> usize {
    inputs.iter().map(Input::bytes).sum()
}

/// Inputs that a shard did not take: the caller has to tell their senders.
pub enum Refused {
    /// Too much waits for it already.
    Busy(Vec<Input>),
    /// Its thread has ended.
    Gone(Vec<Input>),
}

/// A way to a shard, for any thread. Of one that has ended, whatever is asked of it is answered as [`Closed`](crate::Kind::Closed).
#[derive(Clone)]
pub struct ShardHandle(Arc<Way>);

struct Way {
    sender: Sender<Vec<Input>>,
    load: Arc<Load>,
    limits: QueueLimits,
    window: Window<Shard>,
}

impl ShardHandle {
    /// A queue to a shard, and its other end.
    pub(crate) fn new(limits: QueueLimits) -> (Self, Inbox<Vec<Input>>, Arc<Load>) {
        let (sender, inbox) = inbox();
        let load = Arc::new(Load::default());
        let way = Way {
            sender,
            load: load.clone(),
            limits,
            window: Window::new(),
        };
        (Self(Arc::new(way)), inbox, load)
    }

    /// That of a shard which has ended.
    pub(crate) fn ended() -> Self {
        Self::new(QueueLimits::default()).0
    }

    /// Where others look into the shard.
    pub(super) fn window(&self) -> &Window<Shard> {
        &self.0.window
    }

    /// How many inputs wait, and the bytes of the messages among them.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        let (messages, bytes) = (&self.0.load.messages, &self.0.load.bytes);
        (messages.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }

    /// Whether nothing waits that may change something, of what the caller has handed over at least.
    pub(super) fn is_idle(&self) -> bool {
        self.0.load.changes.load(Ordering::Relaxed) == 0
    }

    /// Hands over inputs, which are done in their order.
    ///
    /// # Errors
    /// The inputs come back when too much waits already, or the shard has ended.
    pub fn submit(&self, inputs: Vec<Input>) -> std::result::Result<(), Refused> {
        let Way { load, limits, .. } = &*self.0;
        if load.messages.load(Ordering::Relaxed) > limits.messages || load.bytes.load(Ordering::Relaxed) > limits.bytes
        {
            return Err(Refused::Busy(inputs));
        }
        self.send(inputs).map_err(Refused::Gone)
    }

    /// Hands over [`Input::Wake`], however full the queue is: a consumer whose wake-up is lost would sleep on.
    pub fn wake(&self, stream: StreamId, consumer: Bytes) {
        // Refused only by a shard that has ended, and its consumers with it.
        let _ = self.send(vec![Input::Wake { stream, consumer }]);
    }

    /// Hands over one input, however full the queue is: for what is rare and must not be lost.
    pub(crate) fn send(&self, inputs: Vec<Input>) -> std::result::Result<(), Vec<Input>> {
        let Way { sender, load, .. } = &*self.0;
        load.put(&inputs);
        sender.send(inputs).inspect_err(|refused| load.taken(refused))
    }

    /// Hands over inputs that were made by [`Input::calling`], however full the queue is. If the shard has ended, each is told so.
    pub fn call_all(&self, inputs: Vec<Input>) {
        let Err(refused) = self.send(inputs) else { return };
        let closed = Error::closed(CLOSED);
        for input in refused {
            if let Input::Call(call) | Input::Ask(call) = input {
                let done = call(Err(&closed));
                done(Err(&closed));
            }
        }
    }

    /// Runs `work` on the shard's thread, then `done` with its result, once what it did is durable.
    pub fn call<R, W, D>(&self, work: W, done: D)
    where
        R: Send + 'static,
        W: FnOnce(&mut InTurn<'_, '_>) -> Result<R> + Send + 'static,
        D: FnOnce(Result<R>) + Send + 'static,
    {
        if let Err(inputs) = self.send(vec![Input::calling(work, done)]) {
            drop(inputs);
        }
    }

    /// The same with work that changes nothing: while it waits, others [look](ShardHandle::look) into the shard.
    pub fn ask<R, W, D>(&self, work: W, done: D)
    where
        R: Send + 'static,
        W: FnOnce(&mut InTurn<'_, '_>) -> Result<R> + Send + 'static,
        D: FnOnce(Result<R>) + Send + 'static,
    {
        if let Err(inputs) = self.send(vec![Input::Ask(boxed(work, done))]) {
            drop(inputs);
        }
    }

    /// [`ShardHandle::call`] that waits. Not for a shard's own thread, nor for an async worker.
    ///
    /// # Errors
    /// What `work` answers, or that the store is closed or its storage failed.
    pub fn call_blocking<R, W>(&self, work: W) -> Result<R>
    where
        R: Send + 'static,
        W: FnOnce(&mut InTurn<'_, '_>) -> Result<R> + Send + 'static,
    {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.call(work, move |result| {
            // The receiver waits below; if its thread is gone nobody wants the result.
            let _ = sender.send(result);
        });
        receiver.recv().unwrap_or_else(|_| Err(Error::closed(CLOSED)))
    }
}

#[cfg(test)]
mod tests;
