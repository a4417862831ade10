//! Giving back storage of streams, beside the shard: a thread does what takes long of a log's [`Upkeep`], a piece at a time and no
//! faster than [`RATE`], and the shard takes up what came of it. One log at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::backend::{Upkeep, UpkeepPiece};
use crate::error::{Error, Kind, Result};
use crate::shard::errand::Errand;
use crate::shard::offline::contained;
use crate::shard::{Input, Shard, ShardHandle};
use crate::types::{NanoTime, Nanos, SECOND, StreamId};

/// Bytes that the upkeep of a shard's logs reads and writes in a second, at most, about.
const RATE: u64 = 32 << 20;
/// How often a shard that is never quiet looks for something to give back.
const LOOK_EVERY: Nanos = SECOND;
/// How long something waits for which there was no room.
const POSTPONED: Nanos = 10 * SECOND;

/// What a shard and the thread beside it tell each other.
#[derive(Default)]
struct Signs {
    /// The thread is to stop.
    stop: AtomicBool,
    /// It has come to its end: waiting for it takes no time.
    over: AtomicBool,
}

struct Running {
    id: StreamId,
    signs: Arc<Signs>,
    errand: Errand<Result<()>>,
}

/// What a shard has done for its logs.
#[derive(Default)]
pub(super) struct Tending {
    running: Option<Running>,
    /// Those of streams that were deleted, until they have noticed.
    ending: Vec<Errand<Result<()>>>,
    /// The stream that had its turn last.
    last: Option<StreamId>,
    /// When it was looked for something to do; `None` if that is due.
    looked: Option<NanoTime>,
    /// Streams for whose logs there was no room to give something back, and when they are looked at again.
    postponed: BTreeMap<StreamId, NanoTime>,
}

impl Tending {
    /// Whether it is time to look, in a turn that had nothing else to do, or another.
    fn is_due(&mut self, quiet: bool, now: NanoTime) -> bool {
        let is_due = quiet
            || self
                .looked
                .is_none_or(|looked| now.abs_diff(looked) >= LOOK_EVERY.unsigned_abs());
        if is_due {
            self.looked = Some(now);
        }
        is_due
    }

    /// Breaks off what is under way for a stream, and waits until that is so.
    pub fn stop_for(&mut self, id: StreamId) {
        if let Some(running) = self.running.take_if(|running| running.id == id) {
            running.signs.stop.store(true, Ordering::Release);
            drop(running.errand.wait());
        }
    }

    /// Breaks off what is under way for a stream whose log is about to be removed: nobody waits for it.
    pub fn forget(&mut self, id: StreamId) {
        self.ending.retain(|errand| !errand.is_over());
        if let Some(running) = self.running.take_if(|running| running.id == id) {
            running.signs.stop.store(true, Ordering::Release);
            self.ending.push(running.errand);
        }
    }

    /// Breaks off all, and waits until that is so.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.signs.stop.store(true, Ordering::Release);
            drop(running.errand.wait());
        }
        for errand in self.ending.drain(..) {
            drop(errand.wait());
        }
    }
}

impl Shard {
    /// Looks for a stream whose log has something to give back, and begins with it.
    pub(super) fn tend(&mut self, quiet: bool, now: NanoTime, handle: &ShardHandle) {
        if self.suspended.is_some() || self.tending.running.is_some() || !self.tending.is_due(quiet, now) {
            return;
        }
        self.tending.postponed.retain(|id, at| {
            // One that waits for longer saw the time step.
            let waits = (0..=POSTPONED).contains(&at.saturating_sub(now)) && *at > now;
            if !waits && let Some(stream) = self.streams.get_mut(id) {
                stream.untidy = true;
            }
            waits
        });
        let last = self.tending.last.unwrap_or(StreamId(0));
        let untidy = |(id, stream): (&StreamId, &crate::stream::Stream)| stream.untidy.then_some(*id);
        let behind: Vec<StreamId> = self
            .streams
            .range((std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded))
            .chain(self.streams.range(..=last))
            .filter_map(untidy)
            .collect();
        for id in behind {
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            let before = stream.messages.recompressing();
            let next = stream.messages.upkeep();
            // The next checkpoint notes how far that is.
            stream.unsaved |= stream.messages.recompressing() != before;
            match next {
                Ok(None) => stream.untidy = false,
                Ok(Some(work)) => {
                    self.tending.last = Some(id);
                    self.tend_beside(id, work, handle);
                    return;
                }
                Err(error) => {
                    stream.untidy = false;
                    tracing::error!(stream = %stream.name(), "reclaiming storage: {error}");
                    if error.kind == Kind::Full {
                        self.tending.postponed.insert(id, now.saturating_add(POSTPONED));
                    } else if error.kind != Kind::Busy {
                        // Its log refuses everything from now on: the stream goes offline at the end of the next turn.
                        self.faulty.push((id, error));
                    }
                }
            }
        }
    }

    fn tend_beside(&mut self, id: StreamId, work: Box<dyn Upkeep>, handle: &ShardHandle) {
        let signs = Arc::new(Signs::default());
        let bytes = Arc::new(AtomicU64::new(0));
        let mut work = Some(work);
        let mut over = false;
        let piece = {
            let (signs, bytes, handle) = (signs.clone(), bytes.clone(), handle.clone());
            move || {
                let step = match &mut work {
                    Some(work) if !signs.stop.load(Ordering::Acquire) => contained(|| work.step()),
                    None if over => Ok(UpkeepPiece::default()),
                    _ => Err(Error::closed("it was broken off")),
                };
                let result = match step {
                    Ok(piece) if !over => {
                        bytes.store(piece.bytes, Ordering::Relaxed);
                        over = piece.over;
                        if over {
                            // Before anybody is told: the next piece is asked for then.
                            work = None;
                        }
                        // The last one is rested after as well.
                        return None;
                    }
                    other => other.map(drop),
                };
                work = None;
                signs.over.store(true, Ordering::Release);
                // A shard that is gone needs no telling.
                let _ = handle.send(vec![Input::Tended]);
                Some(result)
            }
        };
        let name = format!("weir-upkeep-{}", self.number);
        let still = self.env.still;
        let rest = move || match still {
            // Where nothing happens by itself nobody else needs the disk.
            true => Duration::ZERO,
            false => Duration::from_nanos(bytes.load(Ordering::Relaxed).saturating_mul(1_000_000_000) / RATE),
        };
        match self.env.errands.begin_paced(name, Box::new(piece), rest) {
            Ok(errand) => self.tending.running = Some(Running { id, signs, errand }),
            Err(error) => tracing::error!(shard = %self.number, "starting a thread to reclaim storage: {error}"),
        }
    }

    /// A piece of work is over: the log takes it up, and says what is next.
    pub(super) fn tended(&mut self, now: NanoTime) {
        // One that was stopped has told as well, and another may be under way.
        let is_over = |running: &mut Running| running.signs.over.load(Ordering::Acquire);
        let Some(running) = self.tending.running.take_if(is_over) else {
            return;
        };
        // The next is looked for at once.
        self.tending.looked = None;
        let outcome = running
            .errand
            .wait()
            .unwrap_or_else(|| Err(Error::closed("its thread panicked")));
        let Some(stream) = self.streams.get_mut(&running.id) else {
            return;
        };
        if let Err(error) = outcome {
            // Nothing is lost: whatever comes next to the stream has it tried once more.
            tracing::error!(stream = %stream.name(), "reclaiming storage: {error}");
            stream.untidy = false;
            if error.kind == Kind::Full {
                self.tending.postponed.insert(running.id, now.saturating_add(POSTPONED));
            }
        }
    }
}
