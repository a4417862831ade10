//! The streams of a shard: as the last checkpoint has them, then with the journal applied, then counted.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use weir_engine::consumer::{ConsumerConfig, ConsumerSnapshot};
use weir_engine::shard::command::Command;
use weir_engine::shard::snapshot::StreamSnapshot;
use weir_engine::stream::ledger::Ledger;
use weir_engine::stream::settings::{Durability, IndexKind, Settings};
use weir_engine::stream::{StreamConfig, subject_of};
use weir_engine::{Compression, Direction, Log, LogId, MILLISECOND, NanoTime, Result, SECOND, Seq, Want};

use super::Progress;
use super::backends::Backends;
use super::changes::{Changes, record_bytes};
use super::consumer::Consumer;
use super::places::{is_noted, log_options, relative};
use super::report::{LossReport, StreamReport, TailReport};
use super::subjects::Subjects;

/// Messages between two words of progress.
const PROGRESS_STEP: u64 = 16 << 10;

/// A live message, as a scan shows it.
#[derive(Clone, Copy)]
struct Seen<'a> {
    seq: Seq,
    time: NanoTime,
    subject: &'a [u8],
    /// As limits count it.
    bytes: u64,
}

/// What is told of the damage of streams.
pub(super) struct Told<'a> {
    /// The folder of the store.
    pub root: &'a Path,
    pub problems: &'a mut Vec<String>,
    /// What is settled.
    pub settled: &'a mut Vec<String>,
}

/// The streams of one shard, by log.
#[derive(Default)]
pub(super) struct Shard {
    pub streams: BTreeMap<LogId, Stream>,
    /// Those that the journal deletes; their logs may still be there.
    pub deleted: BTreeSet<LogId>,
}

/// One stream.
pub(super) struct Stream {
    snapshot: StreamSnapshot,
    consumers: BTreeMap<u64, Consumer>,
    /// `None` if it cannot be read, or was never written.
    log: Option<Box<dyn Log>>,
    readable: bool,
    torn_bytes: u64,
    changes: Changes,
    tail: TailReport,
    /// Damaged places in its log, one line each.
    places: Vec<String>,
    /// What is wrong with it. Told at the end, for the journal may delete the stream.
    problems: Vec<String>,
}

impl Shard {
    /// Takes up a stream of a checkpoint, or one that the journal makes.
    pub fn insert(&mut self, snapshot: StreamSnapshot, from_journal: bool, backends: &mut Backends) {
        let id = LogId(snapshot.id);
        let stream = Stream::open(snapshot, from_journal, backends);
        self.streams.insert(id, stream);
    }

    /// Applies a journal record. Answers whether it is newer than the checkpoint.
    pub fn apply(
        &mut self,
        position: Seq,
        id: LogId,
        command: Command,
        backends: &mut Backends,
        problems: &mut Vec<String>,
    ) -> bool {
        let (position, command) = command.first_written(position);
        match command {
            Command::CreateStream { ref json } => {
                if self.streams.contains_key(&id) {
                    return false;
                }
                let Some(snapshot) = parse(json, position, problems) else {
                    return true;
                };
                self.insert(snapshot, true, backends);
            }
            Command::DeleteStream => {
                self.deleted.insert(id);
                return self.streams.remove(&id).is_some();
            }
            _ if !self.streams.contains_key(&id) => return false,
            _ => {}
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return false;
        };
        // The stream's own creation is numbered 0 in what the journal says of it.
        if position <= stream.snapshot.position {
            return false;
        }
        stream.apply(position, command);
        true
    }
}

fn parse<T: serde::de::DeserializeOwned>(json: &[u8], position: Seq, problems: &mut Vec<String>) -> Option<T> {
    match serde_json::from_slice(json) {
        Ok(value) => Some(value),
        Err(error) => {
            problems.push(format!("journal record {position}: its JSON makes no sense: {error}"));
            None
        }
    }
}

impl Stream {
    fn open(mut snapshot: StreamSnapshot, from_journal: bool, backends: &mut Backends) -> Self {
        let consumers = std::mem::take(&mut snapshot.consumers);
        let mut stream = Self {
            consumers: consumers
                .into_iter()
                .map(|consumer| (consumer.serial, Consumer::new(consumer)))
                .collect(),
            log: None,
            readable: true,
            torn_bytes: 0,
            changes: Changes::default(),
            tail: TailReport::default(),
            places: Vec::new(),
            problems: Vec::new(),
            snapshot,
        };
        let settings = &stream.snapshot.settings;
        let options = log_options(&stream.snapshot);
        let id = LogId(stream.snapshot.id);
        let opened = backends.open(settings.backend, id, &options);
        let problem = match opened {
            Ok(Some((log, recovery))) => {
                stream.places = recovery.damage;
                stream.torn_bytes = recovery.torn_bytes;
                stream.log = Some(log);
                None
            }
            // The journal comes first: its log may not have been made.
            Ok(None) if from_journal => None,
            Ok(None) => Some(format!("its log {id} is missing from the {} backend", settings.backend)),
            Err(error) => Some(error.message),
        };
        if let Some(problem) = problem {
            stream.readable = false;
            stream.problems.push(problem);
        }
        let in_log = stream.log.as_ref().map_or(0, |log| log.reader().extent().last);
        stream.changes.last = stream
            .snapshot
            .last
            .max(in_log)
            .max(stream.snapshot.config.first_seq.saturating_sub(1));
        stream.changes.last_time = stream.snapshot.last_time;
        stream
    }

    pub fn log_id(&self) -> LogId {
        LogId(self.snapshot.id)
    }

    pub fn account(&self) -> &str {
        &self.snapshot.account
    }

    pub fn name(&self) -> &str {
        &self.snapshot.name
    }

    /// The account and the name.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.snapshot.account, self.snapshot.name)
    }

    fn apply(&mut self, position: Seq, command: Command) {
        self.snapshot.position = position;
        let (tail, problems) = (&mut self.tail, &mut self.problems);
        tail.commands += 1;
        match command {
            Command::Publish { seq, time, head, body } => {
                tail.publishes += 1;
                tail.unwritten += u64::from(seq > self.changes.last);
                self.changes.publish(seq, time, &head, body.len());
            }
            Command::Remove { first, seqs } => {
                tail.removals += 1;
                self.changes.remove(first, &seqs);
            }
            Command::Raise { last, time, .. } => {
                tail.removals += 1;
                self.changes.raise(last, time);
            }
            Command::Delivered {
                consumer,
                first_delivery,
                seqs,
                ..
            } => {
                tail.progress += 1;
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.delivered(first_delivery, &seqs);
                }
            }
            Command::Deferred { .. } => tail.progress += 1,
            Command::GivenUp { consumer, seqs } => {
                tail.progress += 1;
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.given_up(&seqs);
                }
            }
            Command::ResetConsumer { consumer, seq } => {
                tail.progress += 1;
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.reset(seq);
                }
            }
            Command::Placed { consumer, place, gone } => {
                tail.progress += 1;
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.placed(place, &gone);
                }
            }
            Command::Acked { consumer, seqs } => {
                tail.progress += 1;
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.acked(&seqs);
                }
            }
            Command::UpdateStream { json } => {
                tail.configuration += 1;
                if let Some((config, settings)) = parse::<(StreamConfig, Settings)>(&json, position, problems) {
                    self.snapshot.config = config;
                    self.snapshot.settings = settings;
                }
            }
            Command::CreateConsumer { json } => {
                tail.configuration += 1;
                if let Some(snapshot) = parse::<ConsumerSnapshot>(&json, position, problems) {
                    let serial = snapshot.serial;
                    self.consumers.entry(serial).or_insert_with(|| Consumer::new(snapshot));
                }
            }
            Command::UpdateConsumer { consumer, json } => {
                tail.configuration += 1;
                if let Some(config) = parse::<ConsumerConfig>(&json, position, problems)
                    && let Some(consumer) = self.consumers.get_mut(&consumer)
                {
                    consumer.config = config;
                }
            }
            Command::DeleteConsumer { consumer } => {
                tail.configuration += 1;
                self.consumers.remove(&consumer);
            }
            Command::CreateStream { .. } | Command::DeleteStream => tail.configuration += 1,
            Command::Together { .. } | Command::Copied { .. } | Command::Removing { .. } => {}
            // Unpacked where it was read.
            Command::Moved { .. } => {}
        }
    }

    /// Reads the heads of all messages and tells what there is. `top` is how many subjects are listed.
    pub fn report(
        mut self,
        top: Option<usize>,
        ledger: &Ledger,
        progress: &mut dyn FnMut(Progress<'_>),
        told: &mut Told<'_>,
    ) -> StreamReport {
        let mut counts = Counts::default();
        let awaited: BTreeSet<Seq> = self.consumers.values().flat_map(Consumer::pending).collect();
        let mut awaited_live = BTreeSet::new();
        let scanned = self.scan(progress, &mut |message| {
            counts.add(message);
            if awaited.contains(&message.seq) {
                awaited_live.insert(message.seq);
            }
        });
        if let Err(error) = scanned {
            self.readable = false;
            self.problems.push(error.message);
        }
        if self.readable {
            for consumer in self.consumers.values_mut() {
                consumer.forget_all_but(&awaited_live);
            }
        }
        let mut top_subjects = None;
        if let Some(top) = top {
            let mut naming = counts.subjects.naming(top);
            let named = self.scan(progress, &mut |message| naming.see(message.subject));
            if let Err(error) = named {
                self.problems.push(error.message);
            }
            top_subjects = Some(naming.finish());
        }
        let name = self.full_name();
        let log = self.log.as_deref();
        let is_noted = log.is_none_or(|log| is_noted(ledger, log, self.snapshot.log_last));
        let is_settled = |line: &String| ledger.places().contains(&relative(told.root, line));
        let (settled, places): (Vec<_>, Vec<_>) = std::mem::take(&mut self.places).into_iter().partition(is_settled);
        let tell = |line: &String| format!("stream {name}: {line}");
        told.settled.extend(settled.iter().map(tell));
        told.problems.extend(places.iter().chain(&self.problems).map(tell));
        let extent = self.log.as_ref().map(|log| log.reader().extent());
        let damaged = extent.map_or(0, |extent| extent.damaged);
        let last = self.changes.last;
        let snapshot = self.snapshot;
        let mut consumers: Vec<_> = self.consumers.values().map(Consumer::report).collect();
        consumers.sort_by(|a, b| a.name.cmp(&b.name));
        StreamReport {
            log: LogId(snapshot.id).to_string(),
            shard: snapshot.shard,
            backend: snapshot.settings.backend.to_string(),
            durability: durability(snapshot.settings.durability),
            compression: match snapshot.settings.compression {
                Compression::None => "none",
                Compression::Lz4 => "lz4",
                Compression::Zstd => "zstd",
            }
            .to_owned(),
            index: match snapshot.settings.index {
                IndexKind::Resident => "resident",
                IndexKind::Paged => "paged",
            }
            .to_owned(),
            subject_filters: snapshot.config.subjects,
            created: snapshot.created,
            first_seq: match counts.first {
                Some((seq, _)) => seq,
                None if last == 0 => 0,
                None => last + 1,
            },
            last_seq: last,
            first_time: counts.first.map(|(_, time)| time),
            last_time: counts.last_time.max(self.changes.last_time),
            messages: counts.messages,
            bytes: counts.bytes,
            disk_bytes: extent.map_or(0, |extent| extent.disk_bytes),
            subjects: counts.subjects.len(),
            top_subjects,
            consumers,
            damaged,
            damaged_unsettled: match ledger.unsettled() == 0 && is_noted {
                true => 0,
                false => damaged,
            },
            lost: losses(ledger),
            lost_messages: ledger.messages(),
            lost_unsettled: ledger.unsettled(),
            places_to_settle: if is_noted { places.len() as u64 } else { 0 },
            torn_bytes: self.torn_bytes,
            journal_tail: self.tail,
            readable: self.readable,
            account: snapshot.account,
            name: snapshot.name,
        }
    }

    /// Visits the live messages in order.
    fn scan(&self, progress: &mut dyn FnMut(Progress<'_>), visit: &mut dyn FnMut(Seen<'_>)) -> Result<()> {
        if let Some(log) = &self.log {
            let reader = log.reader();
            let name = self.full_name();
            let of = reader.extent().count;
            let mut done = 0;
            reader.scan(0..=Seq::MAX, Want::Heads, Direction::Forward, &mut |record| {
                done += 1;
                if done % PROGRESS_STEP == 0 {
                    progress(Progress {
                        stream: &name,
                        done,
                        of,
                    });
                }
                if !self.changes.is_gone(record.seq) {
                    visit(Seen {
                        seq: record.seq,
                        time: record.time,
                        subject: subject_of(record.head),
                        bytes: record_bytes(record.head.len(), record.body_len as usize),
                    });
                }
                ControlFlow::Continue(())
            })?;
        }
        for (seq, message) in &self.changes.unwritten {
            visit(Seen {
                seq: *seq,
                time: message.time,
                subject: &message.subject,
                bytes: message.bytes,
            });
        }
        Ok(())
    }
}

fn losses(ledger: &Ledger) -> Vec<LossReport> {
    let losses = ledger.losses().iter().map(|loss| LossReport {
        first: loss.first,
        last: loss.last,
        found: loss.found,
        why: loss.why.clone(),
        bytes: loss.bytes,
        settled: loss.settled || ledger.unsettled() == 0,
    });
    losses.collect()
}

/// What a scan adds up.
#[derive(Default)]
struct Counts {
    messages: u64,
    bytes: u64,
    first: Option<(Seq, NanoTime)>,
    last_time: Option<NanoTime>,
    subjects: Subjects,
}

impl Counts {
    fn add(&mut self, message: Seen<'_>) {
        self.messages += 1;
        self.bytes += message.bytes;
        self.first.get_or_insert((message.seq, message.time));
        self.last_time = Some(message.time);
        self.subjects.add(message.subject);
    }
}

/// As the stream's metadata says it.
fn durability(durability: Durability) -> String {
    match durability {
        Durability::Sync => "sync".to_owned(),
        Durability::Os => "os".to_owned(),
        Durability::Interval(nanos) if nanos % SECOND == 0 => {
            format!("interval:{}s", nanos / SECOND)
        }
        Durability::Interval(nanos) if nanos % MILLISECOND == 0 => {
            format!("interval:{}ms", nanos / MILLISECOND)
        }
        Durability::Interval(nanos) => format!("interval:{nanos}ns"),
    }
}

#[cfg(test)]
mod tests;
