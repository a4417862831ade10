//! The scrubber: reads what nobody reads, so that what rots is found while something can be done about it.
//!
//! One for a store. It goes through the streams in the order of their logs, a part at a time ([`LogReader::check_part`]), and rests in
//! between so that a pass takes as long as its cycle, but reads no faster than a rate. What it finds damaged the stream is told of as if
//! a reader had met it. Where it stands is kept in the catalogue, so that a store that is started again and again is read to the end
//! all the same.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::backend::{Check, LogReader, Place};
use crate::error::{Error, Result};
use crate::store::{Environment, Shards, StreamEntry};
use crate::stream::settings::BackendKind;
use crate::types::{EntryRef, NanoTime, Nanos, SECOND, Seq, StreamId};

/// The key under which it is kept where the scrubber stands.
const SCRUB_KEY: &[u8] = b"scrub";
/// Bytes of a part; of segment files a part is one of them.
const PART: u64 = 1 << 20;
/// The slowest that it reads, in bytes per second: small stores are through long before their cycle ends.
const RATE_MIN: u64 = 64 << 10;
/// How long it waits for a shard to answer before it looks again.
const ANSWER_WAIT: Duration = Duration::from_millis(20);
/// The longest that it rests when there is nothing to read.
const REST_MAX: Duration = Duration::from_secs(60);
/// How often it is noted where it stands.
const SAVE_EVERY: Nanos = 600 * SECOND;
/// Damaged records of a part that a stream is told of at once; the others it is told of with the next pass.
const TOLD_MAX: usize = 4096;

/// How a store is scrubbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubOptions {
    /// How long a pass through everything takes, in nanoseconds, if `rate` allows it; at least a second.
    pub cycle: Nanos,
    /// The most that is read, in bytes per second; at least 64 KiB.
    pub rate: u64,
}

impl Default for ScrubOptions {
    /// A week, and 16 MiB per second.
    fn default() -> Self {
        Self {
            cycle: 7 * 24 * 3600 * SECOND,
            rate: 16 << 20,
        }
    }
}

/// How far the scrubber is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubStatus {
    /// When the pass began that is under way; `None` between two.
    pub began: Option<NanoTime>,
    /// Bytes that it has read.
    pub bytes: u64,
    /// Bytes that there are to read, about.
    pub of: u64,
    /// The stream that is being read: its account and its name.
    pub stream: Option<(Arc<str>, Arc<str>)>,
    /// Damaged places that the pass under way found so far; between two, those of the last.
    pub findings: u64,
    /// Damaged places that the last whole pass found.
    pub last_findings: u64,
    /// When the last whole pass ended.
    pub last_full: Option<NanoTime>,
}

/// Where it stands, as it is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Position {
    began: Option<NanoTime>,
    /// When the pass before began: the next one begins a cycle later.
    last_began: Option<NanoTime>,
    last_full: Option<NanoTime>,
    /// The log that comes next, and the sequence in it.
    log: u64,
    seq: Seq,
    bytes: u64,
    findings: u64,
    /// Those of the last whole pass.
    #[serde(default)]
    last_findings: u64,
}

/// What a shard was asked for.
struct Asked {
    entry: Arc<StreamEntry>,
    answer: Receiver<Option<Arc<dyn LogReader>>>,
}

/// The scrubber, a step at a time.
pub(crate) struct Scrubber {
    env: Arc<Environment>,
    shards: Arc<Shards>,
    options: ScrubOptions,
    position: Position,
    asked: Option<Asked>,
    of: u64,
    saved: NanoTime,
    status: Arc<Mutex<ScrubStatus>>,
    /// Rests while a part is read; told to stop, it does not.
    pace: Box<dyn Fn(Duration) -> bool + Send>,
}

impl Scrubber {
    /// Takes up where it was left. `pace` rests so long, and answers whether to go on.
    pub fn new(
        env: Arc<Environment>,
        shards: Arc<Shards>,
        options: ScrubOptions,
        status: Arc<Mutex<ScrubStatus>>,
        pace: Box<dyn Fn(Duration) -> bool + Send>,
    ) -> Self {
        let position = load(&env).unwrap_or_else(|error| {
            tracing::warn!("where the scrubber stood: {error}; it begins anew");
            Position::default()
        });
        let scrubber = Self {
            saved: (env.clock)(),
            env,
            shards,
            options,
            position,
            asked: None,
            of: 0,
            status,
            pace,
        };
        scrubber.tell(None);
        scrubber
    }

    /// Does the next piece, and answers how long there is nothing to do.
    pub fn step(&mut self, now: NanoTime) -> Duration {
        if now < self.saved || now - self.saved >= SAVE_EVERY {
            self.save(now);
        }
        let Some(asked) = self.asked.take() else {
            return self.ask(now);
        };
        match asked.answer.try_recv() {
            Ok(Some(reader)) => self.read(&asked.entry, reader.as_ref()),
            // It is gone, or offline.
            Ok(None) | Err(TryRecvError::Disconnected) => self.next_log(asked.entry.id),
            Err(TryRecvError::Empty) => {
                self.asked = Some(asked);
                return ANSWER_WAIT;
            }
        }
        Duration::ZERO
    }

    /// Notes where it stands.
    pub fn save(&mut self, now: NanoTime) {
        self.saved = now;
        let json = crate::json::to_json(&self.position);
        let root = self.env.backend(BackendKind::Segment);
        let written = root.and_then(|root| root.kv().put_all(&[(SCRUB_KEY.into(), Some(json))]));
        if let Err(error) = written {
            tracing::debug!("noting where the scrubber stands: {error}");
        }
    }

    /// Asks for the log that comes next.
    fn ask(&mut self, now: NanoTime) -> Duration {
        if self.position.began.is_none()
            && let Some(rest) = self.rest(now)
        {
            return rest;
        }
        let mut streams = self.env.catalogue.all();
        streams.retain(|entry| entry.settings.is_journaled());
        streams.sort_by_key(|entry| entry.id);
        self.of = streams.iter().map(|entry| entry.stats.bytes()).sum();
        if self.position.began.is_none() {
            self.position.began = Some(now);
            (self.position.bytes, self.position.findings) = (0, 0);
        }
        let next = streams.into_iter().find(|entry| entry.id.0 >= self.position.log);
        let Some(entry) = next else {
            self.end_pass(now);
            return Duration::ZERO;
        };
        if entry.id.0 > self.position.log {
            (self.position.log, self.position.seq) = (entry.id.0, 0);
        }
        self.tell(Some(&entry));
        let (sender, answer) = crossbeam_channel::bounded(1);
        let id = entry.id;
        self.shards.get(entry.shard).call(
            move |shard| Ok(shard.log_reader(id)),
            move |reader| {
                // The scrubber may have stopped.
                let _ = sender.send(reader.ok().flatten());
            },
        );
        self.asked = Some(Asked { entry, answer });
        Duration::ZERO
    }

    /// How long it is until the next pass; `None` if it is due.
    fn rest(&self, now: NanoTime) -> Option<Duration> {
        let last = self.position.last_began?;
        let left = last.saturating_add(self.options.cycle).saturating_sub(now);
        // A clock that went back does not put it off by more than a cycle.
        let left = left.min(self.options.cycle);
        (left > 0).then(|| Duration::from_nanos(left.unsigned_abs()).min(REST_MAX))
    }

    fn next_log(&mut self, id: StreamId) {
        (self.position.log, self.position.seq) = (id.0 + 1, 0);
    }

    fn end_pass(&mut self, now: NanoTime) {
        self.position.last_began = self.position.began.take();
        self.position.last_full = Some(now);
        (self.position.log, self.position.seq) = (0, 0);
        let (bytes, findings) = (self.position.bytes, self.position.findings);
        self.position.last_findings = findings;
        if findings > 0 {
            tracing::warn!(bytes, findings, "everything stored was read, and some of it is damaged");
        } else {
            tracing::debug!(bytes, "everything stored was read");
        }
        self.tell(None);
        self.save(now);
    }

    /// Bytes per second.
    fn rate(&self) -> u64 {
        let seconds = (self.options.cycle / SECOND).unsigned_abs().max(1);
        (self.of / seconds).clamp(RATE_MIN, self.options.rate.max(RATE_MIN))
    }

    fn read(&mut self, entry: &StreamEntry, reader: &dyn LogReader) {
        let from = self.position.seq;
        let mut part = Part {
            rate: self.rate(),
            bytes: 0,
            places: Vec::new(),
            pace: &*self.pace,
            goes_on: true,
        };
        let next = reader.check_part(from, PART, &mut part);
        self.position.bytes += part.bytes;
        for place in &part.places {
            tracing::error!(
                account = %entry.account, stream = %entry.name,
                "the scrubber: {}: offset {}: {}", place.file.display(), place.offset, place.what
            );
        }
        match next {
            Ok(next) => {
                // Where it was stopped before the first, there is none before it.
                let end = next.map_or(Seq::MAX, |next| next.saturating_sub(1));
                let lost = damaged(reader, from, end);
                self.position.findings += part.places.len().max(lost.len()) as u64;
                self.report(entry, lost);
                match next {
                    Some(next) => self.position.seq = next,
                    None => self.next_log(entry.id),
                }
            }
            Err(error) => {
                tracing::error!(account = %entry.account, stream = %entry.name, "the scrubber: {error}");
                self.position.findings += 1;
                self.next_log(entry.id);
            }
        }
        self.tell(Some(entry));
    }

    /// Has the stream meet what is damaged.
    fn report(&self, entry: &StreamEntry, lost: Vec<(Seq, Seq)>) {
        if lost.is_empty() {
            return;
        }
        let shard = self.shards.get(entry.shard);
        let id = entry.id;
        let met = move |result: Result<()>| {
            if let Err(error) = result {
                tracing::warn!(log = %id, "telling a stream of what is damaged: {error}");
            }
        };
        shard.call(move |shard| shard.meet_damaged(id, &lost, TOLD_MAX), met);
    }

    fn tell(&self, entry: Option<&StreamEntry>) {
        *self.status.lock() = ScrubStatus {
            began: self.position.began,
            bytes: self.position.bytes,
            of: self.of,
            stream: entry.map(|entry| (entry.account.clone(), entry.name.clone())),
            findings: self.position.findings,
            last_findings: self.position.last_findings,
            last_full: self.position.last_full,
        };
    }
}

/// What is known to be damaged in a range of sequences.
fn damaged(reader: &dyn LogReader, from: Seq, to: Seq) -> Vec<(Seq, Seq)> {
    let mut found = reader.damaged(from..=to);
    let lost = reader.lost().into_iter().map(|lost| (lost.first, lost.last));
    found.extend(lost.filter(|(first, last)| *last >= from && *first <= to));
    found.sort_unstable();
    found.dedup();
    found
}

/// One part.
struct Part<'a> {
    rate: u64,
    bytes: u64,
    places: Vec<Place>,
    pace: &'a dyn Fn(Duration) -> bool,
    goes_on: bool,
}

impl Check for Part<'_> {
    fn record(&mut self, _: EntryRef<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn place(&mut self, place: Place) {
        self.places.push(place);
    }

    fn read(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.read_again(bytes);
    }

    fn read_again(&mut self, bytes: u64) {
        let nanos = bytes.saturating_mul(1_000_000_000) / self.rate.max(1);
        self.goes_on &= (self.pace)(Duration::from_nanos(nanos));
    }

    fn goes_on(&self) -> bool {
        self.goes_on
    }
}

fn load(env: &Environment) -> Result<Position> {
    let json = env.backend(BackendKind::Segment)?.kv().get(SCRUB_KEY)?;
    json.map_or(Ok(Position::default()), |json| crate::json::from_json(&json))
}

/// The thread that scrubs a store.
pub(crate) struct ScrubThread {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl ScrubThread {
    /// Starts it.
    ///
    /// # Errors
    /// If the thread cannot be had.
    pub fn start(
        env: Arc<Environment>,
        shards: Arc<Shards>,
        options: ScrubOptions,
        status: Arc<Mutex<ScrubStatus>>,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, paced) = (stop.clone(), stop.clone());
        let pace = move |rest: Duration| {
            if !paced.load(Ordering::Acquire) && !rest.is_zero() {
                std::thread::park_timeout(rest);
            }
            !paced.load(Ordering::Acquire)
        };
        let work = move || {
            let mut scrubber = Scrubber::new(env.clone(), shards, options, status, Box::new(pace));
            while !stopped.load(Ordering::Acquire) {
                let rest = scrubber.step((env.clock)());
                if !rest.is_zero() && !stopped.load(Ordering::Acquire) {
                    std::thread::park_timeout(rest);
                }
            }
            scrubber.save((env.clock)());
        };
        let builder = std::thread::Builder::new().name("weir-scrub".to_owned());
        let thread = builder
            .spawn(work)
            .map_err(|error| Error::io("starting the scrubber's thread", error))?;
        Ok(Self { stop, thread })
    }

    /// Stops it, and waits until it has noted where it stands.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the scrubber's thread panicked");
        }
    }
}
