//! Opening a shard: its streams as the last checkpoint has them, then the journal's tail applied again.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::backend::{Direction, LogOptions, Want};
use crate::error::{Kind, Result};
use crate::shard::State;
use crate::shard::checkpoint::Checkpoint;
use crate::shard::command::Command;
use crate::shard::snapshot::{LAST_ID_KEY, STREAM_PREFIX, StreamSnapshot, dedup_key, unpack_dedup};
use crate::store::Environment;
use crate::stream::core::Identity;
use crate::stream::settings::BackendKind;
use crate::types::{Entry, LogId, NanoTime, Seq};

/// The size of a journal file.
const JOURNAL_SEGMENT_BYTES: u64 = 16 << 20;

/// The log that holds a shard's journal. Streams' logs have ids above all of these.
pub(crate) fn journal_id(shard: usize) -> LogId {
    LogId(1 + shard as u64)
}

impl State {
    /// Opens a shard. What is left of restores that a crash broke off goes with [`State::drop_unfinished`].
    pub fn open(number: usize, env: Arc<Environment>, now: NanoTime) -> Result<Self> {
        let generation = env.generation();
        let root = env.backend(BackendKind::Segment)?;
        if let Some(bytes) = root.kv().get(LAST_ID_KEY)?
            && let Ok(last) = <[u8; 8]>::try_from(&bytes[..])
        {
            env.catalogue.seen(LogId(u64::from_le_bytes(last)));
        }
        let options = LogOptions {
            segment_bytes: JOURNAL_SEGMENT_BYTES,
            preallocate: true,
            ..LogOptions::default()
        };
        let (journal, recovery) = root.open(journal_id(number), &options)?;
        if recovery.torn_bytes > 0 {
            tracing::info!(
                shard = number,
                bytes = recovery.torn_bytes,
                "cut an unfinished write off the journal: nobody was answered for it"
            );
        }
        for damage in &recovery.damage {
            tracing::error!(shard = number, "damaged journal: {damage}");
        }
        let position = journal.reader().extent().last;
        let mut state = Self {
            number,
            env,
            journal,
            position,
            streams: Default::default(),
            restoring: Default::default(),
            touched: Vec::new(),
            unfinished: Vec::new(),
            doomed: Vec::new(),
            deadlines: Default::default(),
            deadline_of: Default::default(),
            sync_due: None,
            checkpoint: Checkpoint::default(),
            generation,
        };
        state.load_snapshots(now)?;
        state.replay_journal(now)?;
        for stream in state.streams.values_mut() {
            stream.recovered()?;
            stream.core.write(false)?;
            stream.enforce_all_limits(now, None)?;
            stream.touched = true;
            state.touched.push(stream.id());
            state.env.catalogue.insert(stream, number);
        }
        state.schedule(now)?;
        Ok(state)
    }

    /// Forgets everything and opens the shard anew from disk.
    pub(super) fn reopen(&mut self, now: NanoTime) -> Result<()> {
        // Logs must be let go of before they can be opened again; memory streams would lose what they hold, so they
        // are taken over as they are.
        self.streams.retain(|_, stream| !stream.is_journaled());
        self.journal = Box::new(crate::store::ClosedLog);
        // A checkpoint that goes on would put older snapshots over newer ones.
        self.checkpoint.wait();
        let mut fresh = match Self::open(self.number, self.env.clone(), now) {
            Ok(fresh) => fresh,
            Err(error) => {
                if error.kind == Kind::Poisoned {
                    self.env.discard_backends(self.generation);
                }
                // What counts is the opening that the next attempt finds.
                self.generation = self.env.generation();
                return Err(error);
            }
        };
        for (id, settings) in self.doomed.drain(..) {
            if !settings.is_journaled() {
                fresh.doomed.push((id, settings));
            }
        }
        for (id, mut stream) in std::mem::take(&mut self.streams) {
            stream.touched = true;
            fresh.touched.push(id);
            fresh.streams.insert(id, stream);
        }
        fresh.drop_unfinished()?;
        // Streams that were made in the turn that failed are not there.
        for entry in fresh.env.catalogue.all() {
            if entry.shard == fresh.number && !fresh.streams.contains_key(&entry.id) {
                fresh.env.catalogue.remove(&entry.account, &entry.name, entry.id);
            }
        }
        fresh.schedule(now)?;
        *self = fresh;
        Ok(())
    }

    /// Takes up the streams of the last checkpoint.
    fn load_snapshots(&mut self, now: NanoTime) -> Result<()> {
        let kv = self.env.backend(BackendKind::Segment)?.kv();
        let mut snapshots: Vec<StreamSnapshot> = Vec::new();
        let mut damaged = None;
        kv.scan(STREAM_PREFIX, None, &mut |_, value| {
            match crate::stream::from_json::<StreamSnapshot>(value) {
                Ok(snapshot) => snapshots.push(snapshot),
                Err(error) => damaged = Some(error),
            }
            ControlFlow::Continue(())
        })?;
        if let Some(error) = damaged {
            return Err(error);
        }
        snapshots.retain(|snapshot| snapshot.shard == self.number);
        for snapshot in snapshots {
            let position = snapshot.position;
            // Should the journal have lost its end, what is written next must still count as newer than this.
            self.position = self.position.max(position);
            let id = LogId(snapshot.id);
            let dedup = kv.get(&dedup_key(id))?;
            self.load_stream(snapshot, now)?;
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.position = position;
                stream.unsaved = false;
                if let Some(dedup) = dedup {
                    unpack_dedup(&dedup, stream);
                }
            }
        }
        Ok(())
    }

    fn load_stream(&mut self, snapshot: StreamSnapshot, now: NanoTime) -> Result<()> {
        let id = LogId(snapshot.id);
        self.env.catalogue.seen(id);
        let who = Identity {
            id,
            account: snapshot.account.as_str().into(),
            name: snapshot.name.as_str().into(),
            config: snapshot.config,
            settings: snapshot.settings,
            created: snapshot.created,
        };
        let mut stream = self.open_stream(who, snapshot.last, snapshot.last_time)?;
        stream.set_next_serial(snapshot.next_serial);
        stream.set_origins(snapshot.origins);
        if let Some(schedules) = snapshot.schedules {
            stream.resume_schedules(&schedules)?;
        }
        for consumer in snapshot.consumers {
            stream.resume_consumer(consumer, now)?;
        }
        self.streams.insert(id, stream);
        Ok(())
    }

    /// Applies what the journal has beyond the checkpoint.
    fn replay_journal(&mut self, now: NanoTime) -> Result<()> {
        let reader = self.journal.reader();
        let extent = reader.extent();
        let mut next = extent.first;
        let mut replayed = 0u64;
        // In portions, so that a scan never holds more than one of them.
        'journal: loop {
            let mut portion: Vec<Entry> = Vec::new();
            let mut bytes = 0;
            reader.scan(next..=Seq::MAX, Want::Full, Direction::Forward, &mut |entry| {
                bytes += entry.body.len();
                portion.push(entry.to_entry());
                if bytes > 4 << 20 || portion.len() >= 8192 {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
            let Some(last) = portion.last() else { break };
            next = last.seq + 1;
            for entry in portion {
                let (id, command) = Command::decode(entry.time, &entry.head, &entry.body)?;
                if let Command::Together { count } = command
                    && entry.seq.saturating_add(count) > extent.last
                {
                    tracing::info!(
                        shard = self.number,
                        messages = count,
                        "cut an unfinished atomic batch off the journal: nobody was answered for it"
                    );
                    self.journal.truncate(entry.seq - 1)?;
                    break 'journal;
                }
                replayed += u64::from(self.replay(entry.seq, id, command, now)?);
            }
            self.write_logs()?;
        }
        self.write_logs()?;
        if replayed > 0 {
            tracing::info!(shard = self.number, commands = replayed, "applied the journal's tail");
        }
        Ok(())
    }

    fn write_logs(&mut self) -> Result<()> {
        self.streams
            .values_mut()
            .try_for_each(|stream| stream.core.write(false))
    }

    /// Applies one journal record; answers whether it concerned a stream that did not have it yet.
    fn replay(&mut self, position: Seq, id: LogId, command: Command, now: NanoTime) -> Result<bool> {
        match command {
            Command::CreateStream { json } => {
                if self.streams.contains_key(&id) {
                    return Ok(false);
                }
                let snapshot: StreamSnapshot = crate::stream::from_json(&json)?;
                self.load_stream(snapshot, now)?;
            }
            Command::DeleteStream => {
                let Some(stream) = self.streams.remove(&id) else {
                    return Ok(false);
                };
                let backend = self.env.backend(stream.core.settings.backend)?;
                self.env.catalogue.remove(stream.account(), stream.name(), id);
                let settings = stream.core.settings;
                drop(stream);
                crate::store::remove_log(backend.as_ref(), id, &settings)?;
                self.checkpoint.deleted(id);
                return Ok(true);
            }
            command => {
                let Some(stream) = self.streams.get_mut(&id) else {
                    return Ok(false);
                };
                if position <= stream.position {
                    return Ok(false);
                }
                stream.replay(command, now)?;
            }
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.position = position;
            stream.unsaved = true;
        }
        Ok(true)
    }
}
