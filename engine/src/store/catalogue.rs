//! Which streams there are, for all threads to look up; and what is wrong with the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::backend::KvWrite;
use crate::finding::{FINDINGS_MAX, Finding, FindingKind};
use crate::meta::{Command, Meta, Outcome, Placed};
use crate::shard::snapshot::LAST_ID_KEY;
use crate::store::StreamStats;
use crate::store::reservation::Waiting;
use crate::stream::settings::{BackendKind, Settings};
use crate::stream::{Stream, StreamConfig};
use crate::types::{LogRef, NanoTime, ShardId, StreamId};
use crate::words;

/// The first log id that is not a journal's.
pub(crate) const FIRST_STREAM_ID: u64 = 256;

/// More ids than a journal can name.
pub(crate) const SKIPPED_IDS: u64 = 1 << 32;

/// Offline streams, and findings, that one text of health names; of more than these only the number is told.
const TROUBLES_NAMED: usize = 3;

/// Bytes that it says of each.
const TROUBLE_BYTES: usize = 512;

/// A stream as the catalogue has it.
#[derive(Clone, Debug)]
pub struct StreamEntry {
    /// Its id.
    pub id: StreamId,
    /// The shard it belongs to.
    pub shard: ShardId,
    /// Its account.
    pub account: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its configuration.
    pub config: StreamConfig,
    /// Its storage.
    pub settings: Settings,
    /// When it was made.
    pub created: NanoTime,
    /// What it holds.
    pub stats: Arc<StreamStats>,
    /// Why it is offline, if it is: then it can be read at most.
    pub offline: Option<Arc<str>>,
    /// Whether it is offline only because its disk is full.
    pub lacks_room: bool,
}

impl StreamEntry {
    /// Its log, where its messages are now.
    pub fn log(&self) -> LogRef {
        LogRef {
            backend: self.settings.backend,
            id: self.id.log(),
        }
    }

    pub(crate) fn of(stream: &Stream, shard: ShardId) -> Self {
        Self {
            id: stream.id(),
            shard,
            account: stream.account().clone(),
            name: stream.name().clone(),
            config: stream.config().clone(),
            settings: stream.messages.settings,
            created: stream.created(),
            stats: stream.stats.clone(),
            offline: None,
            lacks_room: false,
        }
    }
}

/// How a stream goes over to another backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoveSeen {
    /// Messages that are copied.
    pub done: u64,
    /// Of how many.
    pub of: u64,
    /// Why it stays where it was, if it does; what may go away by itself is tried again.
    pub why: Option<String>,
    /// Whether that is damage, of which nothing comes right by itself.
    pub damaged: bool,
}

impl Placed for Arc<StreamEntry> {
    fn id(&self) -> StreamId {
        self.id
    }

    fn account(&self) -> &Arc<str> {
        &self.account
    }

    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn config(&self) -> &StreamConfig {
        &self.config
    }
}

/// All streams by account and name, and those that are going to be made, changed or deleted.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// Held while the highest id is noted.
    noting: Mutex<()>,
    /// Never held while anybody waits for anything.
    pub(super) streams: RwLock<Meta<Arc<StreamEntry>>>,
    /// Who waits for changes of streams to be over.
    pub(super) waiting: Mutex<Waiting>,
    last_id: AtomicU64,
    /// Ids above it that journals may name, and which are not known.
    hidden_ids: AtomicU64,
    /// Why a shard does not serve now, by its number.
    trouble: RwLock<BTreeMap<ShardId, String>>,
    /// What a backend cannot do, and why.
    impaired: RwLock<BTreeMap<BackendKind, String>>,
    /// Streams that go over to another backend, or could not.
    moves: RwLock<BTreeMap<StreamId, MoveSeen>>,
    findings: RwLock<BTreeMap<String, Finding>>,
    /// Findings that are settled, and whether this start found them again.
    pub(super) settled: Mutex<BTreeMap<String, bool>>,
}

/// The first few of such things, each cut to a length, and how many more there are; `None` if there are none. Only those that
/// are named are put into words.
fn name_some<T>(mut all: impl Iterator<Item = T>, kind: &str, say: impl Fn(T) -> String) -> Option<String> {
    let named = all.by_ref().take(TROUBLES_NAMED);
    let named: Vec<String> = named.map(|one| words::cut(&say(one), TROUBLE_BYTES)).collect();
    let more = all.count();
    let mut text = named.join("; ");
    if more > 0 {
        text += &format!("; and {more} more {}", words::plural(more as u64, kind));
    }
    (!named.is_empty()).then_some(text)
}

impl Catalogue {
    /// The stream of that name.
    pub fn get(&self, account: &str, name: &str) -> Option<Arc<StreamEntry>> {
        self.streams.read().get(account, name).cloned()
    }

    /// The name of a stream of an account, but for the one that is named, that has subjects in common with these, or is going to.
    /// Two streams must not: the refusal is [`STREAM_SUBJECT_OVERLAP`](crate::reject::STREAM_SUBJECT_OVERLAP).
    pub fn overlapping(&self, account: &str, name: &str, subjects: &[String]) -> Option<Arc<str>> {
        self.streams.read().overlapping(account, name, subjects)
    }

    /// The streams of an account, by name.
    pub fn list(&self, account: &str) -> Vec<Arc<StreamEntry>> {
        self.streams.read().list(account).cloned().collect()
    }

    /// All streams, by account and name.
    pub fn all(&self) -> Vec<Arc<StreamEntry>> {
        self.streams.read().all().cloned().collect()
    }

    /// The journaled streams of a shard.
    pub(crate) fn journaled_of(&self, shard: ShardId) -> Vec<Arc<StreamEntry>> {
        let streams = self.streams.read();
        let own = streams.all().filter(|entry| entry.shard == shard);
        own.filter(|entry| entry.settings.is_journaled()).cloned().collect()
    }

    /// What is wrong with the store: shards whose storage failed and could not be opened anew yet, streams that are
    /// offline, losses that are not settled. Of each kind the first few are named, and how many more there are.
    pub fn trouble(&self) -> Option<String> {
        let (shards, streams, findings) = (self.trouble.read(), self.streams.read(), self.findings.read());
        let offline = streams.all().filter_map(|entry| Some((entry, entry.offline.as_ref()?)));
        let losses = findings.values().filter(|finding| finding.is_loss());
        let told: Vec<String> = [
            name_some(shards.values(), "storage thread", String::clone),
            name_some(self.impaired.read().values(), "backend", String::clone),
            name_some(offline, "offline stream", |(entry, why)| {
                let (name, account) = (&entry.name, &entry.account);
                format!("stream {name} of account {account} is offline: {why}")
            }),
            name_some(losses, "finding", ToString::to_string),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// How far a stream is that goes over to another backend; `None` if it has not begun, or is there.
    pub fn moving(&self, id: StreamId) -> Option<MoveSeen> {
        self.moves.read().get(&id).cloned()
    }

    pub(crate) fn set_moving(&self, id: StreamId, seen: Option<MoveSeen>) {
        match seen {
            Some(seen) => self.moves.write().insert(id, seen),
            None => self.moves.write().remove(&id),
        };
    }

    /// How many streams are offline.
    pub fn offline(&self) -> usize {
        let streams = self.streams.read();
        streams.all().filter(|entry| entry.offline.is_some()).count()
    }

    /// Messages that the streams are known to have lost, as of their last turns: for a metric.
    pub fn lost(&self) -> u64 {
        let streams = self.streams.read();
        let lost = streams.all().map(|entry| entry.stats.lost());
        lost.fold(0, u64::saturating_add)
    }

    pub(crate) fn set_trouble(&self, shard: ShardId, why: Option<String>) {
        match why {
            Some(why) => self.trouble.write().insert(shard, why),
            None => self.trouble.write().remove(&shard),
        };
    }

    pub(super) fn set_impaired(&self, kind: BackendKind, why: Option<String>) {
        match why {
            Some(why) => self.impaired.write().insert(kind, why),
            None => self.impaired.write().remove(&kind),
        };
    }

    pub(crate) fn insert(&self, stream: &Stream, shard: ShardId) {
        self.put(StreamEntry::of(stream, shard));
    }

    /// What was found wrong with the store's own bookkeeping and is not settled, up to
    /// [`FINDINGS_MAX`](crate::finding::FINDINGS_MAX).
    pub fn findings(&self) -> Vec<Finding> {
        self.findings.read().values().take(FINDINGS_MAX).cloned().collect()
    }

    /// All of them by key.
    pub(crate) fn keyed_findings(&self) -> Vec<(String, Finding)> {
        let findings = self.findings.read();
        findings
            .iter()
            .map(|(key, finding)| (key.clone(), finding.clone()))
            .collect()
    }

    /// How many findings there are: for a metric.
    pub fn finding_count(&self) -> usize {
        self.findings.read().len()
    }

    /// Whether a finding was made before. One that is settled is not told again.
    pub(crate) fn has_finding(&self, key: &str) -> bool {
        if let Some(found) = self.settled.lock().get_mut(key) {
            *found = true;
            return true;
        }
        self.findings.read().contains_key(key)
    }

    /// Whether something is lost and not settled.
    pub(crate) fn has_loss(&self) -> bool {
        self.findings.read().values().any(Finding::is_loss)
    }

    /// Whether something is lost and not settled that a shard's journal may tell more of.
    pub(crate) fn is_journal_open(&self, shard: ShardId) -> bool {
        let findings = self.findings.read();
        findings
            .values()
            .filter(|finding| finding.is_loss() && finding.kind != FindingKind::Log)
            .any(|finding| finding.shard.is_none_or(|of| of == shard))
    }

    pub(crate) fn add_finding(&self, key: &str, finding: Finding) {
        self.findings.write().insert(key.to_owned(), finding);
    }

    /// What it told of is no more.
    pub(crate) fn forget_finding(&self, key: &str) {
        self.findings.write().remove(key);
    }

    pub(crate) fn put(&self, entry: StreamEntry) {
        self.seen(entry.id);
        let stats = Arc::clone(&entry.stats);
        let mut streams = self.streams.write();
        let of_another = |there: &Arc<StreamEntry>| there.id != entry.id && there.shard != entry.shard;
        if streams.get(&entry.account, &entry.name).is_some_and(of_another) {
            drop(streams);
            tracing::error!(
                account = %entry.account, stream = %entry.name, log = %entry.id,
                "a stream of shard {} has the name of one that is there: nobody finds it", entry.shard
            );
            stats.release();
            return;
        }
        let placed = streams.apply(Command::Place(Arc::new(entry)));
        drop(streams);
        // One that was opened anew is counted by what shows it now; somebody may look at the former entry for long.
        if let Outcome::Told(Some(before)) = placed
            && !Arc::ptr_eq(&before.stats, &stats)
        {
            before.stats.release();
        }
    }

    pub(crate) fn remove(&self, account: &Arc<str>, name: &Arc<str>, id: StreamId) {
        let gone = self.streams.write().apply(Command::Gone { account, name, id });
        if let Outcome::Told(Some(removed)) = gone {
            removed.stats.release();
            self.set_moving(id, None);
        }
    }

    /// An id was used: it is never given out again. Those that others give out count for nothing.
    pub(crate) fn seen(&self, id: StreamId) {
        if id.is_local() {
            self.last_id.fetch_max(id.0, Ordering::Relaxed);
        }
    }

    /// The journal of a shard may name so many ids which nothing else does, and cannot be read: none of those is given out.
    pub(crate) fn hide_ids(&self, shard: ShardId, count: u64) {
        if shard.is_local() {
            self.hidden_ids.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// All journals were opened: the next ids are above all that any of them may name.
    pub(crate) fn skip_hidden_ids(&self) {
        let hidden = self.hidden_ids.swap(0, Ordering::Relaxed);
        self.last_id.fetch_max(FIRST_STREAM_ID - 1, Ordering::Relaxed);
        self.last_id.fetch_add(hidden, Ordering::Relaxed);
    }

    /// The stream with that log.
    pub fn by_id(&self, id: StreamId) -> Option<Arc<StreamEntry>> {
        let streams = self.streams.read();
        streams.all().find(|entry| entry.id == id).cloned()
    }

    /// Writes a note of the highest id ever given out. One shard at a time: a note that was made earlier must not be
    /// written over a later one, or an id would be given out again.
    pub(crate) fn note_last_id<R>(&self, write: impl FnOnce(KvWrite) -> R) -> R {
        let _alone = self.noting.lock();
        write(self.last_id_write())
    }

    fn last_id_write(&self) -> KvWrite {
        let last = self.last_id.load(Ordering::Relaxed).to_le_bytes();
        (Bytes::from_static(LAST_ID_KEY), Some(Bytes::copy_from_slice(&last)))
    }

    /// The highest id ever given out.
    #[cfg(feature = "conformance")]
    pub(crate) fn last_id(&self) -> StreamId {
        StreamId(self.last_id.load(Ordering::Relaxed))
    }

    pub(super) fn allocate(&self) -> StreamId {
        self.last_id.fetch_max(FIRST_STREAM_ID - 1, Ordering::Relaxed);
        StreamId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

#[cfg(test)]
mod tests;
