//! A store as it stands on disk, opened to be looked at: what tools work on.
//!
//! Catalogue, journals and logs are read by the very steps of a start, so that what a tool shows is what a server would
//! serve, and what it finds is what a server would find. Only that nothing is written, and nothing decided: messages that
//! became too old meanwhile are still there. What the journals hold beyond the logs is kept in memory, a checkpoint's worth for
//! each shard.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::backend::{Backend, Kv, LogReader, Recovery};
use crate::error::{Error, Kind, Result};
use crate::finding::{FINDING_PREFIX, Finding};
use crate::orphans::{is_elsewhere, look_for_orphans};
use crate::shard::Shard;
use crate::shard::holes::{covered_key, covered_of};
use crate::shard::restore::unfinished;
use crate::shard::snapshot::{STREAM_PREFIX, StoreSnapshot, StreamSnapshot, ledger_key, stream_key};
use crate::shard::suspended::open_to_read;
use crate::store::{Environment, OpenBackend, OpeningProgress, StreamEntry, local_shards, read_store, take_findings};
use crate::stream::Stream;
use crate::stream::ledger::Ledger;
use crate::stream::settings::BackendKind;
use crate::types::{LogId, LogRef, NanoTime, Seq, ShardId, StreamId};

/// The store.
pub struct Image {
    env: Arc<Environment>,
    format: Option<StoreSnapshot>,
    shards: BTreeMap<ShardId, Shard>,
    journals: BTreeMap<ShardId, Result<Recovery>>,
    /// The keys of findings that servers made, and the keys of those that are settled.
    kept: Kept,
    /// What of the catalogue makes no sense, one line each.
    problems: Vec<String>,
}

#[derive(Default)]
struct Kept {
    open: Vec<String>,
    settled: Vec<String>,
}

/// A stream of an image.
pub struct ImageStream<'a> {
    /// As the catalogue shows it; if it is offline, with the reason.
    pub entry: Arc<StreamEntry>,
    /// The stream; `None` if it is offline and nothing of it can be read.
    pub stream: Option<&'a mut Stream>,
}

/// What an image has of a shard's journal.
pub struct ImageJournal {
    /// Reads it.
    pub reader: Arc<dyn LogReader>,
    /// What opening it found.
    pub recovery: Recovery,
    /// Up to which record checkpoints cover it, if they say so.
    pub covered: Option<Seq>,
}

impl Kept {
    fn read(kv: &dyn Kv, problems: &mut Vec<String>) -> Result<Self> {
        let mut kept = Self::default();
        kv.scan(FINDING_PREFIX, None, &mut |key, value| {
            let key = String::from_utf8_lossy(&key[FINDING_PREFIX.len()..]).into_owned();
            match crate::json::from_json::<Finding>(value) {
                Ok(finding) if finding.settled => kept.settled.push(key),
                Ok(_) => kept.open.push(key),
                Err(error) => problems.push(format!("the finding {key} makes no sense: {error}")),
            }
            ControlFlow::Continue(())
        })?;
        Ok(kept)
    }
}

/// The shards that what the store holds needs.
fn shards_needed(root: &dyn Backend) -> Result<Vec<ShardId>> {
    let logs = root.list()?;
    let mut needed: BTreeSet<ShardId> = (0..=ShardId::MAX.0)
        .map(ShardId)
        .filter(|shard| logs.contains(&shard.journal()))
        .collect();
    root.kv().scan(STREAM_PREFIX, None, &mut |_, value| {
        needed.extend(StreamSnapshot::read(value, None).map(|snapshot| snapshot.shard));
        ControlFlow::Continue(())
    })?;
    needed.retain(|shard| *shard <= ShardId::MAX);
    let local = needed.iter().filter(|shard| shard.is_local()).max();
    let mut all = local_shards(local.map_or(0, |shard| shard.0 as usize + 1));
    all.extend(needed.into_iter().filter(|shard| !shard.is_local()));
    Ok(all)
}

type Opened = Result<(Shard, Result<Recovery>)>;

/// Opens shards side by side, as a start does.
fn open_all(which: Vec<ShardId>, env: &Arc<Environment>, now: NanoTime) -> Vec<(ShardId, Opened)> {
    std::thread::scope(|scope| {
        let open = |id| move || open_to_read(id, env, now);
        let begun: Vec<_> = which.into_iter().map(|id| (id, scope.spawn(open(id)))).collect();
        let panicked = || Err(Error::closed("opening a shard panicked: please report it"));
        let ended = begun
            .into_iter()
            .map(|(id, shard)| (id, shard.join().unwrap_or_else(|_| panicked())));
        ended.collect()
    })
}

impl Image {
    /// Opens a store. `read` opens its backends without writing; `there` are those that have files. The caller keeps servers
    /// out meanwhile. `now` is when what is found is said to be found.
    ///
    /// # Errors
    /// If the catalogue cannot be read, or a later version wrote it. Of whatever else is wrong it is told: of streams in
    /// [`Image::streams`], of journals in [`Image::journal`], of the rest in [`Image::findings`] and [`Image::problems`].
    pub fn open(
        read: OpenBackend,
        there: &[BackendKind],
        now: NanoTime,
        progress: Option<OpeningProgress>,
    ) -> Result<Self> {
        let env = Environment::of_image(read, Arc::new(move || now), progress);
        let mut problems = Vec::new();
        let root = env.backend(BackendKind::Segment)?;
        for &kind in there {
            if let Err(error) = env.backend(kind) {
                // Streams that need it are offline with that reason.
                tracing::warn!("whether {kind} has logs that the catalogue does not is not known: {error}");
            }
        }
        let kv = root.kv();
        let format = match read_store(kv.as_ref()) {
            Ok(Some(format)) => Some(format),
            Ok(None) => {
                problems.push("the record of the store's format version and shards is missing".to_owned());
                None
            }
            Err(error) if error.kind == Kind::Unsupported => return Err(error),
            Err(error) => {
                let text = format!("the record of the store's format version and shards makes no sense: {error}");
                problems.push(text);
                None
            }
        };
        let which = match &format {
            Some(format) => {
                let added = format.added.iter().filter(|shard| **shard <= ShardId::MAX);
                local_shards(format.shards).into_iter().chain(added.copied()).collect()
            }
            None => shards_needed(root.as_ref())?,
        };
        let kept = Kept::read(kv.as_ref(), &mut problems)?;
        take_findings(&env, now)?;
        let (mut shards, mut journals) = (BTreeMap::new(), BTreeMap::new());
        for (id, opened) in open_all(which, &env, now) {
            let (shard, journal) = opened?;
            shard.show_streams();
            shards.insert(id, shard);
            journals.insert(id, journal);
        }
        look_for_orphans(&env, &mut shards, now)?;
        problems.extend(env.opened().iter().filter_map(|(_, backend)| backend.impaired()));
        Ok(Self {
            env,
            format,
            shards,
            journals,
            kept,
            problems,
        })
    }

    /// The version of what the engine wrote; `None` if the store's own record is missing or damaged.
    pub fn format_version(&self) -> Option<u32> {
        self.format.as_ref().map(|format| format.version)
    }

    /// The shards that there are, each with a journal, in order.
    pub fn shards(&self) -> Vec<ShardId> {
        self.shards.keys().copied().collect()
    }

    /// What of the catalogue or of a backend makes no sense, one line each.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// What backends cannot do, and why: these lines are among the [`problems`](Self::problems).
    pub fn impairments(&self) -> Vec<(BackendKind, String)> {
        let opened = self.env.opened().into_iter();
        opened
            .filter_map(|(kind, backend)| Some((kind, backend.impaired()?)))
            .collect()
    }

    /// Whether opening a stream's log found something lost or damaged that nobody has settled.
    pub fn has_lost(&self, id: StreamId) -> bool {
        let entry = self.env.catalogue.by_id(id);
        let stream = entry.and_then(|entry| self.shards.get(&entry.shard)?.stream_of_image(id));
        stream.is_some_and(|stream| stream.ledger().unsettled() > 0)
    }

    /// The streams, by account and name.
    pub fn entries(&self) -> Vec<Arc<StreamEntry>> {
        self.env.catalogue.all()
    }

    /// A stream.
    pub fn stream(&mut self, id: StreamId) -> Option<ImageStream<'_>> {
        let entry = self.env.catalogue.by_id(id)?;
        let shard = self.shards.get_mut(&entry.shard)?;
        let stream = shard.readable_stream(id);
        Some(ImageStream { entry, stream })
    }

    /// The logs of streams that are offline and of which nothing tells but the labels of their logs: the catalogue has lost them, and
    /// the journal what made them.
    pub fn labelled(&self) -> Vec<LogRef> {
        let entries = self.env.catalogue.all().into_iter();
        let labelled = entries.filter(|entry| {
            let shard = self.shards.get(&entry.shard);
            shard.is_some_and(|shard| shard.is_by_label(entry.id))
        });
        labelled.map(|entry| entry.log()).collect()
    }

    /// What the last checkpoint has of a stream; `None` if it has nothing, or that makes no sense.
    pub fn saved(&self, id: StreamId) -> Result<Option<StreamSnapshot>> {
        let json = self.kv()?.get(&stream_key(id))?;
        Ok(json.and_then(|json| StreamSnapshot::read(&json, Some(id)).ok()))
    }

    /// What the last checkpoint has of what a stream has lost; `None` if that makes no sense.
    pub fn saved_ledger(&self, id: StreamId) -> Result<Option<Ledger>> {
        Ok(match self.kv()?.get(&ledger_key(id))? {
            Some(json) => Ledger::read(&json).ok(),
            None => Some(Ledger::default()),
        })
    }

    /// The journal of a shard.
    ///
    /// # Errors
    /// Why it could not be opened.
    pub fn journal(&self, shard: ShardId) -> Result<ImageJournal> {
        let missing = || Error::invalid(format!("there is no shard {shard}"));
        let recovery = self.journals.get(&shard).ok_or_else(missing)?.clone()?;
        let reader = self.shards.get(&shard).ok_or_else(missing)?.journal_reader();
        let covered = self.kv()?.get(&covered_key(shard))?;
        Ok(ImageJournal {
            reader,
            recovery,
            covered: covered.as_deref().and_then(covered_of),
        })
    }

    /// Whether a record of a shard's journal, by the number that it had first, counts for its stream: not if it is of a turn that a start
    /// gives up, or has given up, as the stream's log does not have the bodies that were left to it.
    pub fn counts(&self, shard: ShardId, id: StreamId, at: Seq) -> bool {
        let shard = self.shards.get(&shard);
        shard.is_none_or(|shard| shard.record_counts(id, at))
    }

    /// What is wrong with the store's own bookkeeping and not settled, by key: what servers found and kept, and what a start
    /// would find now.
    pub fn findings(&self) -> Vec<(String, Finding)> {
        self.env.catalogue.keyed_findings()
    }

    /// Whether a server has found that, and kept it.
    pub fn is_kept(&self, key: &str) -> bool {
        self.kept.open.iter().any(|kept| kept == key)
    }

    /// Whether somebody has settled that.
    pub fn is_settled(&self, key: &str) -> bool {
        self.kept.settled.iter().any(|settled| settled == key)
    }

    /// The logs of the backends that were opened which neither a stream nor a shard has, and which the next start does not remove.
    ///
    /// # Errors
    /// If a backend cannot list its logs.
    pub fn orphans(&self) -> Result<Vec<LogRef>> {
        let streams = self.env.catalogue.all();
        let unfinished = unfinished(self.kv()?.as_ref())?;
        let owned = |id: LogId| {
            is_elsewhere(id)
                || self.shards.keys().any(|shard| shard.journal() == id)
                || streams.iter().any(|entry| entry.id.log() == id)
                || unfinished.iter().any(|(going, _)| going.log() == id)
                || self.shards.values().any(|shard| shard.knows_log(id))
        };
        let mut orphans = Vec::new();
        for (kind, backend) in self.env.opened() {
            let logs = backend.list()?.into_iter().filter(|id| !owned(*id));
            orphans.extend(logs.map(|id| LogRef { backend: kind, id }));
        }
        Ok(orphans)
    }

    /// A backend, opened to be read.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn backend(&self, kind: BackendKind) -> Result<Arc<dyn Backend>> {
        self.env.backend(kind)
    }

    /// The catalogue's key-value space.
    ///
    /// # Errors
    /// If its backend cannot be opened; it was.
    pub fn kv(&self) -> Result<Arc<dyn Kv>> {
        Ok(self.env.backend(BackendKind::Segment)?.kv())
    }
}
