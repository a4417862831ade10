//! Steps of the time of day. Waits last by a clock that never steps, though they are kept as times of the day, as the
//! journal and snapshots know them: when the day's time steps, all that wait step along.

use crate::shard::Shard;
use crate::store::{Clock, Environment};
use crate::types::{MILLISECOND, NanoTime, Nanos};

/// Less than this is no step, but the drift of two clocks, or what lies between reading the one and the other.
const STEP_MIN: Nanos = 250 * MILLISECOND;
/// How often the clocks are read again that were not read at once.
const TRIES: usize = 3;

/// The two clocks of a shard.
pub(super) struct Clocks {
    day: Clock,
    monotonic: Option<Clock>,
    /// What both said last.
    last: Option<(NanoTime, NanoTime)>,
}

impl Clocks {
    pub fn new(env: &Environment) -> Self {
        let mut clocks = Self {
            day: env.clock.clone(),
            monotonic: env.monotonic.clone(),
            last: None,
        };
        clocks.look();
        clocks
    }

    /// The time of the day.
    pub fn now(&self) -> NanoTime {
        (self.day)()
    }

    /// The time of the day, and by how much it has stepped since this was last asked.
    pub fn look(&mut self) -> (NanoTime, Nanos) {
        let Some(monotonic) = &self.monotonic else {
            return (self.now(), 0);
        };
        let mut tries = 0;
        let (now, passed) = loop {
            let before = monotonic();
            let now = (self.day)();
            tries += 1;
            if tries == TRIES || monotonic().saturating_sub(before) < STEP_MIN / 4 {
                break (now, before);
            }
        };
        let step = self.last.map_or(0, |(day, other)| {
            now.saturating_sub(day).saturating_sub(passed.saturating_sub(other))
        });
        self.last = Some((now, passed));
        match step.saturating_abs() < STEP_MIN {
            true => (now, 0),
            false => (now, step),
        }
    }
}

impl Shard {
    /// The time of the day has stepped: what waits goes on to wait as long as it would have.
    pub(super) fn step(&mut self, step: Nanos) {
        tracing::warn!(
            shard = self.number,
            seconds = step / (1000 * MILLISECOND),
            "the time of day has stepped: waits last as if it had not"
        );
        self.sync_due = self.sync_due.map(|due| due.saturating_add(step));
        self.room.step(step);
        self.offline.step(step);
        self.relocations.step(step);
        if let Some(suspended) = &mut self.suspended {
            suspended.step(step);
        }
        let ids: Vec<_> = self.streams.keys().copied().collect();
        for id in ids {
            if let Some(stream) = self.touch(id) {
                stream.step(step);
            }
        }
    }
}
