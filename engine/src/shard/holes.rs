//! Holes in a journal: its records are numbered one by one, so a number that is missing is a record that is lost. What it
//! said is gone, but what comes after it shows whom it may concern.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::backend::{Direction, Want};
use crate::error::Result;
use crate::finding::{Concerned, Finding, FindingKind, RANGES_MAX};
use crate::shard::Shard;
use crate::shard::command::{Command, stream_of};
use crate::shard::label::LogLabel;
use crate::shard::snapshot::StreamSnapshot;
use crate::types::{NUMBER_MAX, NanoTime, Seq, ShardId, StreamId};
use crate::words;

/// The prefix of the keys that hold, for each shard, up to which record a checkpoint covers its journal (8 bytes, little
/// endian). 0 in a new store; stores of version 1 have none before their next checkpoint.
pub const JOURNAL_PREFIX: &[u8] = b"journal/";
/// A journal that has holes is kept beyond checkpoints as long as it takes no more bytes on disk than this.
const JOURNAL_KEPT_BYTES: u64 = 256 << 20;

/// The key of [`JOURNAL_PREFIX`] for a shard.
pub fn covered_key(shard: ShardId) -> Bytes {
    [JOURNAL_PREFIX, shard.to_string().as_bytes()].concat().into()
}

/// The key under which a shard that is a replica and lacks streams has the record behind which it is told all (8 bytes, little endian),
/// until it lacks none: see [`Role::Filling`](crate::shard::Role::Filling).
pub fn filling_key(shard: ShardId) -> Bytes {
    [b"filling/", shard.to_string().as_bytes()].concat().into()
}

/// The same once it lacks none any more: behind that record its journal begins.
pub fn filled_key(shard: ShardId) -> Bytes {
    [b"filled/", shard.to_string().as_bytes()].concat().into()
}

/// Reads a value of these keys; `None` if it makes no sense.
pub fn covered_of(value: &[u8]) -> Option<Seq> {
    let read = value.try_into().ok().map(Seq::from_le_bytes);
    read.filter(|position| *position <= NUMBER_MAX)
}

/// The key, behind [`FINDING_PREFIX`](crate::finding::FINDING_PREFIX), of the finding that a shard's journal lacks records, the first of
/// which is this one.
pub fn hole_key(shard: ShardId, first: Seq) -> String {
    format!("journal-{shard}-{first:020}")
}

/// The highest sequence that a command says a consumer was sent, and when.
fn newest_sent(command: &Command) -> Option<(Seq, NanoTime)> {
    match command {
        Command::Delivered { seqs, time, .. } => Some((*seqs.iter().max()?, *time)),
        // Times never go back.
        Command::Acked { seqs, .. } | Command::GivenUp { seqs, .. } => Some((*seqs.iter().max()?, 0)),
        Command::Deferred { waits, .. } => Some((waits.iter().map(|(seq, _)| *seq).max()?, 0)),
        _ => None,
    }
}

/// What replaying a journal finds missing.
#[derive(Debug, Default)]
pub(crate) struct Holes {
    /// Records up to here are in checkpoints.
    covered: Seq,
    /// The record that is to come.
    next: Seq,
    /// The records that are missing.
    ranges: Vec<(Seq, Seq)>,
    missing: u64,
    /// Sequences that a stream skips behind a hole.
    gaps: BTreeMap<StreamId, Vec<(Seq, Seq)>>,
    /// Streams that have commands behind a hole and of whose creation nothing is known.
    unknown: BTreeSet<StreamId>,
    /// Those of them that are there again, because their logs say all that their creation did.
    made_up: BTreeMap<StreamId, (String, String)>,
    /// Streams that the journal makes, and where it does so last: what is said of one before is of another that had its log. Asked of the
    /// journal once it matters.
    made: Option<BTreeMap<StreamId, Seq>>,
}

impl Holes {
    /// Begins behind what checkpoints cover; `first` is the first record that is there, which counts if nothing else is known.
    pub fn new(covered: Option<Seq>, snapshots: Seq, first: Seq) -> Self {
        let covered = covered.unwrap_or_else(|| snapshots.max(first.saturating_sub(1)));
        Self {
            covered,
            next: covered + 1,
            ..Self::default()
        }
    }

    /// The next record that is there.
    pub fn see(&mut self, position: Seq) {
        if position > self.next {
            self.ranges.push((self.next, position - 1));
            self.missing += position - self.next;
        }
        self.next = self.next.max(position.saturating_add(1));
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether the journal, whose first record is this one, begins only behind what the catalogue knows to be covered: it is freed from
    /// its beginning on, by checkpoints.
    fn is_behind(&self, journal_first: Seq) -> bool {
        self.ranges
            .first()
            .is_some_and(|(first, last)| *first == self.covered + 1 && last + 1 == journal_first)
    }

    /// A stream goes on at `seq`, and had everything up to `last`.
    fn goes_on(&mut self, id: StreamId, last: Seq, seq: Seq) {
        let skipped = seq.saturating_sub(last).saturating_sub(1);
        // More than there are records missing were skipped for another reason: a mirror has its origin's gaps.
        if self.is_empty() || skipped == 0 || skipped > self.missing {
            return;
        }
        let gaps = self.gaps.entry(id).or_default();
        if gaps.len() < RANGES_MAX {
            gaps.push((last + 1, seq - 1));
        }
    }

    /// How many of the missing records are accounted for by what was found.
    fn explained(&self) -> u64 {
        let gaps = self.gaps.values().flatten().map(|(first, last)| last - first + 1);
        gaps.sum::<u64>() + self.made_up.len() as u64
    }
}

impl Shard {
    /// Looks at a command behind a hole, before it is applied: whether its stream misses something.
    pub(super) fn look_behind_hole(
        &mut self,
        holes: &mut Holes,
        position: Seq,
        id: StreamId,
        command: &Command,
        now: NanoTime,
    ) -> Result<()> {
        if holes.is_empty() || position <= holes.covered {
            return Ok(());
        }
        let said = match command {
            Command::Moved { command, .. } => command,
            command => command,
        };
        match said {
            Command::DeleteStream => {
                holes.unknown.remove(&id);
                holes.gaps.remove(&id);
            }
            Command::CreateStream { .. } => {}
            command => {
                if !self.streams.contains_key(&id)
                    && !self.offline.contains(id)
                    && !self.is_made_behind(holes, id, position)?
                    && holes.unknown.insert(id)
                {
                    self.make_up(holes, id, now)?;
                }
                let Some(stream) = self.streams.get_mut(&id) else {
                    return Ok(());
                };
                if position <= stream.position {
                    return Ok(());
                }
                if let Command::Publish { seq, .. } | Command::PublishAside { seq, .. } = command {
                    holes.goes_on(id, stream.messages.last(), *seq);
                } else if let Some((newest, time)) = newest_sent(command)
                    && newest > stream.messages.last()
                {
                    // What a consumer was sent was there. Nobody else gets these sequences: their consumers would pass over that.
                    holes.goes_on(id, stream.messages.last(), newest + 1);
                    stream.messages.raise_last(newest, time);
                }
            }
        }
        Ok(())
    }

    /// Whether the journal makes a stream behind a record: of its log, when that was nobody's.
    fn is_made_behind(&self, holes: &mut Holes, id: StreamId, position: Seq) -> Result<bool> {
        if holes.made.is_none() {
            let (mut made, journal) = (BTreeMap::new(), self.commit.reader());
            journal.scan(0..=Seq::MAX, Want::Heads, Direction::Forward, &mut |entry| {
                if Command::is_creation(entry.head) {
                    made.extend(stream_of(entry.head).map(|id| (id, entry.seq)));
                }
                ControlFlow::Continue(())
            })?;
            holes.made = Some(made);
        }
        let made = holes.made.as_ref().and_then(|made| made.get(&id));
        Ok(made.is_some_and(|at| *at > position))
    }

    /// A stream whose creation is lost comes back as its log's label has it. That is exact if nothing else is lost;
    /// otherwise later changes of its configuration may be, and it is there, offline.
    fn make_up(&mut self, holes: &mut Holes, id: StreamId, now: NanoTime) -> Result<()> {
        let mut label = None;
        for (_, backend) in self.env.opened() {
            if let Ok(Some(found)) = backend.label(id.log()) {
                label = LogLabel::unpack(&found).ok();
            }
        }
        let Some(label) = label else { return Ok(()) };
        let names = (label.account.clone(), label.name.clone());
        let taken = self.env.catalogue.get(&label.account, &label.name).is_some()
            || self
                .streams
                .values()
                .any(|s| (&**s.account(), &**s.name()) == (&*names.0, &*names.1));
        let Some(snapshot) = label.snapshot(self.number, 0).filter(|_| !taken) else {
            return Ok(());
        };
        if holes.missing > holes.explained() + 1 {
            let text = "the record of its creation is lost in a hole of the journal, and more with it";
            let snapshot = StreamSnapshot {
                position: Seq::MAX,
                ..snapshot
            };
            self.note_offline(&snapshot, &crate::error::Error::damaged(text), now);
            return Ok(());
        }
        self.replay_creation(&snapshot, now)?;
        holes.made_up.insert(id, names);
        Ok(())
    }

    /// Tells what is missing in the journal, and keeps that until it is settled; answers whether nothing is. `last` is the last record
    /// there should be.
    pub(super) fn tell_of_holes(&mut self, mut holes: Holes, last: Seq, now: NanoTime) -> Result<bool> {
        holes.see(last.saturating_add(1));
        let Some(&(first, _)) = holes.ranges.first() else {
            return Ok(true);
        };
        let told = &holes.ranges[..holes.ranges.len().min(RANGES_MAX)];
        let mut concerned = Vec::new();
        let named = |id: StreamId, account: &str, stream: &str, lost: &[(Seq, Seq)]| Concerned {
            log: id.0,
            account: account.to_owned(),
            stream: stream.to_owned(),
            lost: lost.to_vec(),
        };
        for (&id, lost) in &holes.gaps {
            if let Some(stream) = self.streams.get_mut(&id) {
                let known = stream.messages.ledger.messages();
                for &(first, last) in lost {
                    stream
                        .messages
                        .ledger
                        .note(first, last, 0, now, "its record in the journal is lost");
                }
                stream.unsaved = true;
                // Consumers that waited for these go on behind them, and that is told, too.
                stream.messages.lost_anew |= stream.messages.ledger.messages() > known;
                concerned.push(named(id, stream.account(), stream.name(), lost));
            }
        }
        let exact = holes.explained() == holes.missing;
        let mut text = format!(
            "the journal of shard {} has lost its {}",
            self.number,
            words::numbered("record", told)
        );
        if holes.is_behind(self.commit.reader().extent().first) {
            text += "; a later checkpoint than the catalogue knows of had freed them: the catalogue (segment/kv and segment/kv2) is older than \
                     the journals and the logs, or has lost its end: put back that of the same time, if there is one";
        }
        for (account, name) in holes.made_up.values() {
            text += &format!("; one made stream {name} of account {account}, which is there again as its log says");
        }
        if !exact {
            text += match holes.missing {
                1 => "; it is not known what it said: the last message of a stream, a removal or an acknowledgement",
                _ => {
                    "; it is not known of all of them what they said: the last messages of a stream, removals or acknowledgements \
                     may be among them"
                }
            };
            let unknown = holes.unknown.iter().filter(|id| !holes.made_up.contains_key(id));
            concerned.extend(unknown.map(|&id| match self.env.catalogue.by_id(id) {
                Some(entry) => named(id, &entry.account, &entry.name, &[]),
                None => named(id, "", "", &[]),
            }));
            let mut others: Vec<_> = self
                .streams
                .values()
                .filter(|stream| stream.is_journaled() && !holes.gaps.contains_key(&stream.id()))
                .map(|stream| named(stream.id(), stream.account(), stream.name(), &[]))
                .collect();
            others.sort_by_key(|concerned| concerned.log);
            concerned.extend(others);
            concerned.truncate(RANGES_MAX);
        }
        let key = hole_key(self.number, first);
        let finding = Finding {
            concerned,
            ..self.finding(FindingKind::Journal, text, now)
        };
        self.env.keep_finding(&key, finding)?;
        Ok(false)
    }

    /// Tells of something that a journal or the catalogue lost, and keeps that until it is settled.
    pub(super) fn tell(&self, kind: FindingKind, key: &str, text: String, now: NanoTime) -> Result<()> {
        self.env.keep_finding(key, self.finding(kind, text, now))
    }

    fn finding(&self, kind: FindingKind, text: String, now: NanoTime) -> Finding {
        Finding {
            shard: (kind == FindingKind::Journal).then_some(self.number),
            ..Finding::new(kind, text, now)
        }
    }

    /// Whether the journal is kept, because something is missing in it or in the catalogue and that is not settled.
    pub(super) fn keeps_journal(&self) -> bool {
        self.env.catalogue.is_journal_open(self.number) && self.commit.reader().extent().disk_bytes < JOURNAL_KEPT_BYTES
    }
}
