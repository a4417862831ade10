//! A twin of a store: it is told what the journals say, turn by turn, decides nothing, and must be the same all the same. What a
//! replica will be, and what each start is. It may take over.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::SteppedStore;
use crate::backend::{Direction, LogChange, LogOptions, Want};
use crate::consumer::ConsumerSnapshot;
use crate::error::{Error, Kind, Result};
use crate::shard::aside::Outlook;
use crate::shard::command::Command;
use crate::shard::errand::Errands;
use crate::shard::journal::LocalJournal;
use crate::shard::load::{load_stream, replay_one};
use crate::shard::snapshot::StreamSnapshot;
use crate::shard::{InTurn, Runner, Shard};
use crate::store::{Environment, OpenBackend, StoreOptions, local_shards};
use crate::stream::Stream;
use crate::stream::settings::BackendKind;
use crate::types::{Entry, NanoTime, Record, Seq, ShardId, StreamId};

/// Differences that are told of one comparison.
pub(super) const TOLD: usize = 8;
/// The openings of a shard that is not copied yet.
const NEVER: u64 = u64::MAX;

/// The streams of a store once more.
pub struct Twin {
    env: Arc<Environment>,
    streams: BTreeMap<StreamId, Stream>,
    /// Of each shard, the last record of its journal that this has, and how often the shard had been opened then.
    seen: BTreeMap<ShardId, (Seq, u64)>,
}

impl Twin {
    /// Of a store with these options, which has that many shards; what it has is copied when a shard is first [visited](Self::visit).
    pub fn new(open: OpenBackend, options: StoreOptions) -> Self {
        Self {
            seen: local_shards(options.shards)
                .into_iter()
                .map(|id| (id, (0, NEVER)))
                .collect(),
            env: Environment::new(open, options, Errands::stepped()),
            streams: BTreeMap::new(),
        }
    }

    /// Copies what a store has now, onto backends of its own; `options` are those of the store.
    ///
    /// # Errors
    /// If something of it cannot be read or written.
    pub fn of(store: &mut SteppedStore, open: OpenBackend, options: StoreOptions) -> Result<Self> {
        let mut twin = Self::new(open, options);
        twin.seen = store.store.shards().into_iter().map(|id| (id, (0, NEVER))).collect();
        for (number, runner) in &mut store.runners {
            let (shard, openings) = runner.shard();
            twin.copy_shard(*number, shard, openings)?;
        }
        Ok(twin)
    }

    /// Of a shard of a store that runs: takes what its journal has more, and answers what is not the same, as
    /// [`Twin::differences`] does. `None` if this turn has done something already, which the journal does not tell yet: another turn
    /// may have done nothing.
    ///
    /// # Errors
    /// If something cannot be read or applied.
    pub fn visit(&mut self, turn: &mut InTurn<'_, '_>, whole: bool) -> Result<Option<Vec<String>>> {
        let Some(shard) = turn.shard_at_rest() else {
            return Ok(None);
        };
        let number = shard.number();
        self.follow_shard(number, shard, 0)?;
        let (mut told, mut known) = (Vec::new(), Vec::new());
        self.compare_shard(shard, whole, &mut told, &mut known)?;
        let shards = self.local();
        for (id, twin) in &self.streams {
            let of = crate::store::shard_for(twin.account(), twin.name(), shards);
            if of == number && !known.contains(id) {
                told.push(format!("{} {id} should not be there", twin.name()));
            }
        }
        told.truncate(TOLD);
        Ok(Some(told))
    }

    /// Writes a checkpoint of all that it has onto its own backends, and lets go of them: a store that is opened there takes over.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn hand_over(mut self) -> Result<()> {
        let (now, shards) = ((self.env.clock)(), self.local());
        for number in local_shards(shards) {
            let root = self.env.backend(BackendKind::Segment)?;
            let (journal, _) = root.open(number.journal(), &LogOptions::default())?;
            let mut shard = Shard::empty(
                number,
                self.env.clone(),
                LocalJournal::of(number, self.env.clone(), journal),
            );
            let streams = std::mem::take(&mut self.streams).into_iter();
            let (own, others): (BTreeMap<_, _>, BTreeMap<_, _>) = streams
                .partition(|(_, stream)| crate::store::shard_for(stream.account(), stream.name(), shards) == number);
            self.streams = others;
            for (id, mut stream) in own {
                // Its journal begins anew.
                stream.position = 0;
                stream.unsaved = true;
                stream.messages.ledger.forget_saved();
                self.env.catalogue.seen(id);
                shard.take_in(id, stream);
            }
            shard.close(now)?;
        }
        Ok(())
    }

    /// How many shards the store is opened with.
    fn local(&self) -> usize {
        self.seen.keys().filter(|shard| shard.is_local()).count()
    }

    /// How much it has of a shard.
    fn seen(&self, shard: ShardId) -> (Seq, u64) {
        self.seen.get(&shard).copied().unwrap_or((0, NEVER))
    }

    fn copy_shard(&mut self, number: ShardId, shard: &mut Shard, openings: u64) -> Result<()> {
        self.seen.insert(number, (shard.position(), openings));
        let now = (self.env.clock)();
        for (id, stream) in shard.journaled() {
            let position = stream.position;
            let snapshot = StreamSnapshot::of(stream, number, position);
            copy_log(&self.env, *id, stream)?;
            let mut copy = load_stream(&self.env, snapshot, now, true)?;
            copy.position = position;
            copy.messages.dedup = stream.messages.dedup.copy();
            copy.messages.ledger = stream.messages.ledger.clone();
            self.streams.insert(*id, copy);
        }
        Ok(())
    }

    /// Takes what the journals have more. A shard that was opened anew is copied anew: which of its last records counted
    /// only its disk knows.
    ///
    /// # Errors
    /// If a record cannot be read or applied.
    pub fn follow(&mut self, store: &mut SteppedStore) -> Result<()> {
        for (&number, runner) in &mut store.runners {
            let is_broken = runner.is_broken();
            let (shard, openings) = runner.shard();
            if is_broken && openings != self.seen(number).1 {
                self.forget_shard(number)?;
            } else {
                self.follow_shard(number, shard, openings)?;
            }
        }
        Ok(())
    }

    fn follow_shard(&mut self, number: ShardId, shard: &mut Shard, openings: u64) -> Result<()> {
        let now = (self.env.clock)();
        let (seen, opened) = self.seen(number);
        if openings != opened {
            self.forget_shard(number)?;
            return self.copy_shard(number, shard, openings);
        }
        let mut entries: Vec<Entry> = Vec::new();
        let journal = shard.journal_reader();
        journal.scan(
            seen + 1..=shard.position(),
            Want::Full,
            Direction::Forward,
            &mut |entry| {
                entries.push(entry.to_entry());
                ControlFlow::Continue(())
            },
        )?;
        if entries.len() as u64 != shard.position() - seen {
            // A checkpoint has them, and the journal does no more.
            self.forget_shard(number)?;
            return self.copy_shard(number, shard, openings);
        }
        self.seen.insert(number, (shard.position(), opened));
        let outlook = match entries.iter().any(|entry| Command::is_aside(&entry.head)) {
            true => Outlook::from(journal.as_ref(), seen)?,
            false => Outlook::default(),
        };
        for entry in entries {
            let (id, command) = Command::decode(entry.time, &entry.head, &entry.body)?;
            if matches!(command, Command::DeleteStream) {
                self.remove(id)?;
                continue;
            }
            let Some(command) = outlook.counts(journal.as_ref(), entry.seq, id, command) else {
                continue;
            };
            let command = with_body(shard, id, command)?;
            let mut stream = self.streams.remove(&id);
            replay_one(&self.env, &mut stream, entry.seq, command, now)?;
            if let Some(mut stream) = stream {
                stream.messages.write(false)?;
                self.streams.insert(id, stream);
            }
        }
        Ok(())
    }

    fn remove(&mut self, id: StreamId) -> Result<()> {
        let Some(stream) = self.streams.remove(&id) else {
            return Ok(());
        };
        let settings = stream.messages.settings;
        drop(stream);
        crate::store::remove_log(self.env.backend(settings.backend)?.as_ref(), id.log(), &settings)
    }

    fn forget_shard(&mut self, number: ShardId) -> Result<()> {
        let shards = self.local();
        let of = |stream: &Stream| crate::store::shard_for(stream.account(), stream.name(), shards);
        let ids: Vec<StreamId> = self
            .streams
            .iter()
            .filter(|(_, stream)| of(stream) == number)
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter().try_for_each(|id| self.remove(id))
    }

    /// What is not the same, a line each; `whole` if messages are to be compared as well.
    ///
    /// # Errors
    /// If something cannot be read.
    pub fn differences(&mut self, store: &mut SteppedStore, whole: bool) -> Result<Vec<String>> {
        let mut told = Vec::new();
        let mut known = Vec::new();
        let ended = store.runners.len() < self.seen.len();
        if ended || store.runners.values().any(Runner::is_broken) {
            known.extend(self.streams.keys().copied());
        }
        for (&number, runner) in &mut store.runners {
            if runner.is_broken() {
                continue;
            }
            let (shard, openings) = runner.shard();
            if (shard.position(), openings) != self.seen(number) {
                return Err(Error::new(Kind::Invalid, "the twin has not followed"));
            }
            self.compare_shard(shard, whole, &mut told, &mut known)?;
        }
        for (id, twin) in &self.streams {
            if !known.contains(id) {
                told.push(format!("{} {id} should not be there", twin.name()));
            }
        }
        told.truncate(TOLD);
        Ok(told)
    }

    /// Compares the streams of a shard, and notes which it has.
    fn compare_shard(
        &mut self,
        shard: &mut Shard,
        whole: bool,
        told: &mut Vec<String>,
        known: &mut Vec<StreamId>,
    ) -> Result<()> {
        let now = (self.env.clock)();
        let catalogue = shard.catalogue().clone();
        known.extend(shard.offline_ids());
        for (id, stream) in shard.journaled() {
            known.push(*id);
            let Some(twin) = self.streams.get_mut(id) else {
                told.push(format!("{} {id} is not there", stream.name()));
                continue;
            };
            let before = told.len();
            compare(stream, twin, now, whole, told)?;
            let entry = catalogue.by_id(*id);
            if !entry.is_some_and(|entry| entry.config == *twin.config()) {
                told.push("the catalogue has another configuration".into());
            }
            for line in &mut told[before..] {
                *line = format!("{}: {line}", stream.name());
            }
        }
        Ok(())
    }
}

/// Fills a log with what a stream's log has.
pub(super) fn copy_log(env: &Environment, id: StreamId, stream: &Stream) -> Result<()> {
    let backend = env.backend(stream.messages.settings.backend)?;
    let (mut log, _) = backend.open(id.log(), &crate::backend::LogOptions::default())?;
    let mut entries: Vec<Entry> = Vec::new();
    let reader = stream.messages.reader();
    reader.scan(0..=Seq::MAX, Want::Full, Direction::Forward, &mut |entry| {
        entries.push(entry.to_entry());
        ControlFlow::Continue(())
    })?;
    // Turns that are in flight are not in the log.
    entries.extend(stream.messages.tail().unwritten().map(|record| Entry {
        seq: record.seq,
        time: record.time,
        head: Bytes::copy_from_slice(record.head),
        body: Bytes::copy_from_slice(record.body),
    }));
    // What a start found to be beyond the limits goes from the log in the stream's next turn only.
    entries.retain(|entry| stream.messages.index.is_live(entry.seq).unwrap_or(true));
    let records: Vec<Record<'_>> = entries
        .iter()
        .map(|entry| Record {
            seq: entry.seq,
            time: entry.time,
            head: &entry.head,
            body: &entry.body,
        })
        .collect();
    log.write(&LogChange {
        append: &records,
        ..LogChange::default()
    })
}

/// A message whose body the journal does not have, with that of the leader's; of one that is gone already, with zeros.
fn with_body(shard: &mut Shard, id: StreamId, command: Command) -> Result<Command> {
    let (seq, time, head, block, len) = match command {
        Command::Moved { position, command } => {
            let command = Box::new(with_body(shard, id, *command)?);
            return Ok(Command::Moved { position, command });
        }
        Command::PublishAside {
            seq,
            time,
            head,
            block,
            len,
        } => (seq, time, head, block, len),
        command => return Ok(command),
    };
    let mut found = None;
    if let Some((_, stream)) = shard.journaled().find(|(of, _)| **of == id) {
        let staged = stream.messages.tail().get(seq).cloned();
        found = match staged {
            Some(entry) => Some(entry),
            None => stream.messages.reader().get(seq)?,
        };
    }
    let body = match found {
        Some(entry) => entry.body,
        None => {
            let mut zeros = block.to_vec();
            zeros.resize(len as usize, 0);
            zeros.into()
        }
    };
    Ok(Command::Publish { seq, time, head, body })
}

pub(super) fn compare(
    stream: &mut Stream,
    twin: &mut Stream,
    now: NanoTime,
    whole: bool,
    told: &mut Vec<String>,
) -> Result<()> {
    twin.recount()?;
    let [one, other] = [&*stream, &*twin].map(|stream| StreamSnapshot {
        consumers: Vec::new(),
        // Where nothing is left of a log, that is the log's own business.
        log_last: 0,
        log_change: 0,
        recompressing: None,
        schedules: live_schedules(stream),
        ..StreamSnapshot::of(stream, ShardId(0), 0)
    });
    fields("", &one, &other, told);
    if twin.schedule_snapshot().map(|all| all.len()) != other.schedules.map(|live| live.len()) {
        told.push("the twin knows schedules whose messages are gone".into());
    }
    let [mut one, mut other] = [stream.state()?, twin.state()?];
    for state in [&mut one, &mut other] {
        // That a stream without a message was purged, nothing keeps.
        state.first_seq = state.first_seq.max(1);
    }
    same("state", &one, &other, told);
    let [one, other] = [&*stream, &*twin].map(Stream::consumer_snapshots);
    let names = |of: &[ConsumerSnapshot]| of.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    same("consumers", &names(&one), &names(&other), told);
    for (one, other) in one.iter().zip(&other) {
        let what = format!("consumer {}: ", one.name);
        // How far a consumer has looked in vain, it tells nobody: what it has still to send is counted below.
        let live = |seq: &Seq| stream.messages.index.is_live(*seq).unwrap_or(true);
        let [one, other] = [one, other].map(|of| ConsumerSnapshot {
            next: 0,
            // What is gone is passed over in silence.
            initial: of.initial.iter().copied().filter(live).collect(),
            ..of.clone()
        });
        fields(&what, &one, &other, told);
        let count = |of: &Stream| {
            let info = of.consumer_info(&one.name, now);
            info.map(|info| (info.num_pending, info.num_redelivered, info.digest))
        };
        same(&format!("{what}counts"), &count(stream), &count(twin), told);
    }
    let ids = |of: &Stream| {
        let mut ids = of.messages.dedup.copy();
        ids.expire(now, of.config().duplicate_window);
        (ids, of.messages.dedup.last_id().to_vec())
    };
    let ((one, newest), (other, newest_twin)) = (ids(stream), ids(twin));
    same("newest id", &newest, &newest_twin, told);
    let window = stream.config().duplicate_window;
    let is_late = |of: &Stream| of.messages.dedup.next_deadline(window).zip(of.messages.last_time());
    let is_late = |of: &Stream| is_late(of).is_some_and(|(until, last)| until <= last);
    if is_late(twin) && !is_late(stream) {
        told.push("the twin knows ids that have left the window".into());
    }
    for (of, than, what) in [(&one, &other, "not"), (&other, &one, "alone")] {
        let missing: Vec<_> = of.ids().filter(|(id, seq)| than.get(id) != Some(*seq)).collect();
        if !missing.is_empty() {
            told.push(format!("ids that the twin has {what}: {missing:?}"));
        }
    }
    if !whole {
        return Ok(());
    }
    let mut next = 0;
    loop {
        let [one, other] = [stream.next_message(b">", next)?, twin.next_message(b">", next)?];
        same("message", &one, &other, told);
        let (Some(one), Some(_)) = (one, other) else { break };
        next = one.seq + 1;
    }
    Ok(())
}

/// The schedules whose messages are there: what decides finds out that one is over when that is due, its twin when it is gone.
fn live_schedules(stream: &Stream) -> Option<Vec<(Seq, NanoTime)>> {
    let mut schedules = stream.schedule_snapshot()?;
    schedules.retain(|(seq, _)| stream.messages.index.is_live(*seq).unwrap_or(true));
    schedules.sort_unstable();
    Some(schedules)
}

fn same<T: std::fmt::Debug>(what: &str, one: &T, other: &T, told: &mut Vec<String>) {
    let [one, other] = [format!("{one:?}"), format!("{other:?}")];
    if one != other {
        told.push(format!("{what}: {one}, twin: {other}"));
    }
}

/// Compares what is serialized field by field.
fn fields<T: serde::Serialize + PartialEq>(what: &str, one: &T, other: &T, told: &mut Vec<String>) {
    if one == other {
        return;
    }
    let [one, other] = [one, other].map(|of| serde_json::to_value(of).unwrap_or_default());
    let [Some(one), Some(other)] = [one.as_object(), other.as_object()] else {
        return;
    };
    for (name, value) in one {
        let twin = other.get(name).unwrap_or(&serde_json::Value::Null);
        same(&format!("{what}{name}"), value, twin, told);
    }
    for (name, twin) in other.iter().filter(|(name, _)| !one.contains_key(*name)) {
        same(&format!("{what}{name}"), &serde_json::Value::Null, twin, told);
    }
}
