//! The time of a shard, and steps of the time of day.
//!
//! What a shard notes a time of does not come before what it noted before: where the time of day goes back, by up to a day, that of the
//! shard stands still until it is overtaken, also over a restart. Waits last by a clock that never steps, though they are kept as times of the
//! shard, as the journal and snapshots know them: when that steps, or stands still, all that wait step along.

use crate::shard::Shard;
use crate::store::{Clock, Environment};
use crate::types::{MILLISECOND, NanoTime, Nanos, SECOND};

/// Less than this is no step, but the drift of two clocks, or what lies between reading the one and the other.
const STEP_MIN: Nanos = 250 * MILLISECOND;
/// While the time of a shard stands still, waits step along each time it stood for this long: that costs a walk over all that wait.
const STAND: Nanos = SECOND;
/// How often the clocks are read again that were not read at once.
const TRIES: usize = 3;
/// A shard does not wait for a time of day that is further away than this: somebody set the clock wrong, and has set it right since.
/// Then its time goes back after all, and only within a stream no message is older than the one before it.
const LEAD_MAX: Nanos = 24 * 3600 * SECOND;

/// The two clocks of a shard.
pub(super) struct Clocks {
    day: Clock,
    monotonic: Option<Clock>,
    /// What both said last.
    last: Option<(NanoTime, NanoTime)>,
    /// The last time that was told.
    time: NanoTime,
    /// By how much the time that was told stepped against the other clock, and nobody was told yet.
    owed: Nanos,
}

impl Clocks {
    /// Of a shard that noted times up to this one.
    pub fn new(env: &Environment, time: NanoTime) -> Self {
        let mut clocks = Self {
            day: env.clock.clone(),
            monotonic: env.monotonic.clone(),
            last: None,
            time,
            owed: 0,
        };
        let day = (clocks.day)();
        if time > day {
            tracing::warn!(
                seconds = time.saturating_sub(day) / SECOND,
                waits = time.saturating_sub(day) <= LEAD_MAX,
                "the clock is behind what the journal says that it was"
            );
        }
        clocks.look();
        clocks.owed = 0;
        clocks
    }

    /// The time.
    pub fn now(&self) -> NanoTime {
        self.not_before((self.day)())
    }

    /// What the shard notes next is of no time before that one.
    pub fn raise(&mut self, time: NanoTime) {
        self.time = self.time.max(time);
    }

    fn not_before(&self, day: NanoTime) -> NanoTime {
        match self.time.saturating_sub(day) > LEAD_MAX {
            true => day,
            false => day.max(self.time),
        }
    }

    /// The time, and by how much it has stepped since this was last asked.
    pub fn look(&mut self) -> (NanoTime, Nanos) {
        let Some(monotonic) = &self.monotonic else {
            self.time = self.now();
            return (self.time, 0);
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
        let led = self.last.map_or(0, |(day, _)| self.time.saturating_sub(day));
        self.time = self.not_before(now);
        let leads = self.time.saturating_sub(now);
        self.last = Some((now, passed));
        if step.saturating_abs() >= STEP_MIN {
            tracing::warn!(
                seconds = step / SECOND,
                "the time of day has stepped: waits last as if it had not"
            );
            self.owed = self.owed.saturating_add(step);
        }
        self.owed = self.owed.saturating_add(leads.saturating_sub(led));
        // What is less than that, when it stands still no longer, is none that anybody would see.
        match self.owed.saturating_abs() < if leads > 0 { STAND } else { STEP_MIN } {
            true => (self.time, 0),
            false => (self.time, std::mem::take(&mut self.owed)),
        }
    }
}

impl Shard {
    /// The time has stepped: what waits goes on to wait as long as it would have.
    pub(super) fn step(&mut self, step: Nanos) {
        self.sync_due = self.sync_due.map(|due| due.saturating_add(step));
        self.room.step(step);
        self.asides.step(step);
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
