//! What is to be done about a store, by what opening and checking it finds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use weir_backends::root::StoreDir;
use weir_backends::segment::misplaced::{Misplaced, is_segment_name, misplaced};
use weir_engine::consumer::ConsumerSnapshot;
use weir_engine::shard::label::LogLabel;
use weir_engine::stream::settings::BackendKind;
use weir_engine::{Kind, LogId, LogOptions, LogRef, Seq, StreamId, words};

use super::Options;
use super::report::{Action, Doing};
use crate::error::{Error, Result};
use crate::image::Looking;
use crate::verify::{self, Standing, What};

/// Damaged sequences of one stream that are read, so that what is lost of it is noted, at most.
const READ_MAX: usize = 1_000_000;

/// Consumers whose positions one line names, at most.
const CONSUMERS_NAMED: usize = 64;

/// A log that no stream has.
pub(super) struct Orphan {
    pub log: LogRef,
    pub label: LogLabel,
    pub action: Action,
}

/// A stream whose log is gone.
pub(super) struct Forgotten {
    pub id: StreamId,
    pub backend: BackendKind,
    /// The folder of its log, or of its whole backend.
    pub folder: PathBuf,
    /// What became of its messages.
    pub gone: String,
    /// Where its consumers were, as the last checkpoint has it.
    pub consumers: Vec<ConsumerSnapshot>,
    pub action: Action,
}

/// All of it.
#[derive(Default)]
pub(super) struct Plan {
    /// Folders of logs that no stream has, with nothing of their own in them.
    pub emptied: Vec<(PathBuf, Action)>,
    pub orphans: Vec<Orphan>,
    pub forgotten: Vec<Forgotten>,
    /// What only somebody can do something about.
    pub kept: Vec<Action>,
    /// Sequences that are damaged and of which no server has noted it, by account and stream.
    pub damaged: BTreeMap<(String, String), BTreeSet<Seq>>,
    /// Files and folders that are bad, or that change, with the reason.
    pub bad: Vec<(PathBuf, String)>,
    /// Whether something is found that is to be settled.
    pub settle: Option<Action>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.emptied.is_empty() && self.orphans.is_empty() && self.forgotten.is_empty() && self.settle.is_none()
    }
}

/// `found` is what a verification says of the store; `left` are the logs whose folders files of other logs were moved out of, or are
/// to be.
pub(super) fn make(
    looking: &mut Looking,
    found: &verify::Report,
    options: &Options,
    left: &BTreeSet<LogId>,
) -> Result<Plan> {
    let mut plan = Plan::default();
    find_emptied(looking, left, &mut plan)?;
    find_orphans(looking, &mut plan)?;
    find_offline(looking, options, &mut plan)?;
    find_losses(looking, found, &mut plan);
    keep_bookkeeping(looking, &mut plan);
    Ok(plan)
}

/// Whatever is done changes the catalogue, and frees the journals that it applies: with both, and what else is copied, all of it can
/// be undone.
fn keep_bookkeeping(looking: &Looking, plan: &mut Plan) {
    if plan.orphans.is_empty() && plan.forgotten.is_empty() && plan.settle.is_none() {
        return;
    }
    let why = match (plan.forgotten.is_empty(), plan.orphans.is_empty()) {
        (false, _) => {
            "the catalogue, which has what is known of streams that go on without their messages, and where their consumers were"
        }
        (true, false) => "the catalogue, which has lost streams",
        (true, true) => "the catalogue, in which losses are noted and settled, and consumers go on behind what is lost",
    };
    let segment = looking.store.root().join("segment");
    let mut kept: Vec<(PathBuf, String)> = Vec::new();
    for folder in ["kv", "kv2"] {
        kept.push((segment.join(folder), why.to_owned()));
    }
    for shard in looking.image.shards() {
        let has_tail = looking
            .image
            .journal(shard)
            .is_ok_and(|journal| journal.reader.extent().count > 0);
        if has_tail {
            let why = format!(
                "the journal of shard {shard}, which has what came after the last checkpoint; it goes with the catalogue (segment/kv and \
                 segment/kv2), and is put back with that"
            );
            kept.push((segment.join("logs").join(shard.journal().to_string()), why));
        }
    }
    kept.retain(|(path, _)| path.is_dir());
    // Folders before the files in them: what is there already is not copied again.
    kept.append(&mut plan.bad);
    plan.bad = kept;
}

/// Folders that were copied into the store under another name, once the files in them are away: a label that is another log's, or
/// nothing at all, is left.
fn find_emptied(looking: &Looking, left: &BTreeSet<LogId>, plan: &mut Plan) -> Result<()> {
    let image = &looking.image;
    if image.shards().into_iter().any(|shard| image.journal(shard).is_err()) {
        // Such a journal may have streams that nothing else tells of.
        return Ok(());
    }
    let segment = image.backend(BackendKind::Segment).map_err(Error::Unreadable)?;
    let of_another = |id| matches!(segment.label(id), Err(error) if error.kind == Kind::Damaged);
    let mut orphans = image.orphans().map_err(Error::Unreadable)?;
    orphans.retain(|log| log.backend == BackendKind::Segment && (left.contains(&log.id) || of_another(log.id)));
    if orphans.is_empty() {
        return Ok(());
    }
    let logs = looking.store.root().join("segment/logs");
    let away = misplaced(&logs).map_err(Error::Unreadable)?;
    for LogRef { id, .. } in orphans {
        let folder = logs.join(id.to_string());
        if !has_own_files(&folder, id, &away)? {
            let text = format!(
                "{} is moved away: no stream has a log of that name, and no file in it is of one",
                folder.display()
            );
            plan.emptied.push((folder, Action::new(Doing::Folder, text).of_log(id)));
        }
    }
    Ok(())
}

/// Whether a log's folder has files of it, those left out that belong elsewhere.
fn has_own_files(folder: &Path, id: LogId, away: &[Misplaced]) -> Result<bool> {
    let failed = |error| Error::source(folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_segment_name(id, &name) && !away.iter().any(|file| file.path == path) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn find_orphans(looking: &Looking, plan: &mut Plan) -> Result<()> {
    let image = &looking.image;
    let mut best: BTreeMap<LogId, (u64, Orphan)> = BTreeMap::new();
    // Of those that say whose they are, the image shows that stream, offline; of the others it is told here.
    let mut all: BTreeSet<LogRef> = image.orphans().map_err(Error::Unreadable)?.into_iter().collect();
    all.extend(image.labelled());
    for kind in [BackendKind::Segment, BackendKind::RocksDb] {
        let prefix = format!("orphan-{kind}-");
        let findings = image.findings();
        let told = findings
            .iter()
            .filter_map(|(key, _)| key.strip_prefix(&prefix)?.parse().ok());
        all.extend(told.map(|id| LogRef { backend: kind, id }));
    }
    for log in all {
        let LogRef { backend: kind, id } = log;
        if plan
            .emptied
            .iter()
            .any(|(_, action)| action.log == Some(id.to_string()))
        {
            continue;
        }
        let backend = image.backend(kind).map_err(Error::Unreadable)?;
        let existing = LogOptions {
            existing: true,
            ..LogOptions::default()
        };
        let opened = backend.open(id, &existing).map(|(log, _)| log.reader().extent());
        let (count, last) = match &opened {
            Ok(extent) => (extent.count, extent.last),
            Err(error) => {
                let text = format!("log {id} of {kind} is kept: no stream has it, and it cannot be opened: {error}");
                plan.kept.push(Action::new(Doing::Keep, text).of_log(id));
                continue;
            }
        };
        if last == 0 && !image.labelled().contains(&log) {
            // A crash came while it was made: nothing was ever written to it.
            continue;
        }
        let held = format!(
            "log {id} of {kind} with {}, which no stream has",
            words::count(count, "message")
        );
        let label = backend.label(id).ok().flatten();
        let Some(label) = label.and_then(|label| LogLabel::unpack(&label).ok()) else {
            let text = format!(
                "{held}, is kept: it has no label that can be read, so that it is not known whose it is. Put back the catalogue \
                 (segment/kv and segment/kv2) from a backup of the same time, or move the log away"
            );
            plan.kept.push(Action::new(Doing::Keep, text).of_log(id));
            continue;
        };
        let text = format!("{held}, becomes stream {} again, as its label says", label.name);
        let action = Action::new(Doing::Adopt, text)
            .of_stream(&label.account, &label.name)
            .of_log(id);
        let orphan = Orphan { log, label, action };
        match best.get(&id) {
            // A move to another backend that was under way: one of them is a copy that is not whole.
            Some((most, _)) if *most >= count => {
                let text = format!("{held}, is kept: another backend has more of it");
                plan.kept.push(Action::new(Doing::Keep, text).of_log(id));
            }
            _ => {
                best.insert(id, (count, orphan));
            }
        }
    }
    plan.orphans.extend(best.into_values().map(|(_, orphan)| orphan));
    Ok(())
}

/// Streams that stay offline whatever a repair does.
fn find_offline(looking: &mut Looking, options: &Options, plan: &mut Plan) -> Result<()> {
    let entries = looking.image.entries();
    for name in &options.forget {
        let is_there = entries
            .iter()
            .any(|entry| *entry.name == **name && entry.offline.is_some());
        if !is_there {
            let offline = entries.iter().filter(|entry| entry.offline.is_some());
            return Err(Error::NotOffline {
                wanted: name.clone(),
                offline: offline.map(|entry| entry.name.to_string()).collect(),
            });
        }
    }
    for entry in &entries {
        let Some(why) = &entry.offline else { continue };
        if plan.orphans.iter().any(|orphan| orphan.log.id == entry.id.log()) {
            continue;
        }
        let (id, name) = (entry.id, &entry.name);
        let backend = entry.settings.backend;
        let folder = match backend {
            BackendKind::Segment => looking.store.root().join("segment/logs").join(id.to_string()),
            _ => looking.store.root().join("rocksdb"),
        };
        // All that is in one folder goes with it: one that is made for some of its streams would be in the way of the others.
        let of_folder: Vec<_> = match backend {
            BackendKind::Segment => vec![name.to_string()],
            _ => {
                let same = entries.iter().filter(|other| other.settings.backend == backend);
                same.map(|other| other.name.to_string()).collect()
            }
        };
        // The folder is there, and older than the stream, or another store's.
        let is_not_in_folder = backend != BackendKind::Segment && folder.is_dir() && {
            let listed = looking.image.backend(backend).and_then(|backend| backend.list());
            listed.is_ok_and(|there| !there.contains(&id.log()))
        };
        let is_missing = match backend {
            BackendKind::Segment => true,
            _ if folder.is_dir() => is_not_in_folder,
            _ => of_folder.iter().all(|name| options.forget.contains(name)),
        };
        if options.forget.iter().any(|wanted| **wanted == **name) && is_missing {
            let text =
                format!("stream {name} goes on without its messages, at its last sequence. It is offline: {why}");
            let mut action = Action::new(Doing::Forget, text)
                .of_stream(&entry.account, name)
                .of_log(id.log());
            let consumers = positions(looking, id)?;
            action.told = tell_of_positions(&consumers);
            let shown = folder.display();
            let gone = match (backend, folder.exists()) {
                (_, false) => format!("no messages were there to keep: {shown} was missing"),
                (BackendKind::Segment, true) => format!("what was in {shown} is kept in quarantine"),
                (_, true) => format!("no messages were there to keep: {shown} has no log of it"),
            };
            plan.forgotten.push(Forgotten {
                id,
                backend,
                folder,
                gone,
                consumers,
                action,
            });
            continue;
        }
        let forget: Vec<String> = of_folder.iter().map(|name| format!("--forget {name}")).collect();
        let help = match folder.exists() {
            true if is_not_in_folder => format!(
                ". Put back the RocksDB folder that goes with the catalogue (segment/kv and segment/kv2), if it is anywhere; `weir repair {} \
                 --forget {name}` lets the stream go on without its messages, and consumers go on behind these",
                named(&looking.store).display(),
            ),
            true => String::new(),
            false => format!(
                ". Put {} back; `weir repair {} {}` lets {} go on without {} messages, and consumers go on behind these",
                folder.display(),
                named(&looking.store).display(),
                forget.join(" "),
                if of_folder.len() == 1 {
                    "the stream"
                } else {
                    "all its streams"
                },
                if of_folder.len() == 1 { "its" } else { "their" },
            ),
        };
        let text = format!("stream {name} is offline: {why}{help}");
        plan.kept.push(
            Action::new(Doing::Keep, text)
                .of_stream(&entry.account, name)
                .of_log(id.log()),
        );
    }
    Ok(())
}

/// The store, as a tool is told it: the store directory if its folder in it has the name that servers give it.
fn named(store: &StoreDir) -> &Path {
    let root = store.root();
    let outer = root.parent().filter(|outer| StoreDir::new(outer).root() == root);
    outer.filter(|outer| !outer.as_os_str().is_empty()).unwrap_or(root)
}

/// The streams on RocksDB, with what the last checkpoint had of each.
pub(super) fn on_rocksdb(looking: &Looking) -> Result<Vec<String>> {
    let entries = looking.image.entries();
    let of_it = entries
        .iter()
        .filter(|entry| entry.settings.backend == BackendKind::RocksDb);
    let mut told = Vec::new();
    for entry in of_it {
        if let Some(saved) = looking.image.saved(entry.id).map_err(Error::Unreadable)? {
            told.push(format!("stream {}: {}", entry.name, crate::image::had(&saved)));
        }
    }
    if !told.is_empty() {
        told.push("how much of that is in what can be read is known when it is done, and told then".to_owned());
    }
    Ok(told)
}

/// Where the consumers of a stream are that cannot be opened.
fn positions(looking: &Looking, id: StreamId) -> Result<Vec<ConsumerSnapshot>> {
    let saved = looking.image.saved(id).map_err(Error::Unreadable)?;
    Ok(saved.map_or_else(Vec::new, |saved| saved.consumers))
}

fn tell_of_positions(consumers: &[ConsumerSnapshot]) -> Vec<String> {
    if consumers.is_empty() {
        return vec!["the catalogue tells of no consumers".to_owned()];
    }
    let named = consumers.iter().take(CONSUMERS_NAMED).map(|consumer| {
        format!(
            "{} (acknowledged up to {}, sent up to {}, {} not acknowledged)",
            consumer.name,
            consumer.ack_floor.stream,
            consumer.delivered.stream,
            consumer.pending.len()
        )
    });
    let mut named: Vec<String> = named.collect();
    if consumers.len() > CONSUMERS_NAMED {
        named.push(format!("and {} more", consumers.len() - CONSUMERS_NAMED));
    }
    let count = consumers.len() as u64;
    vec![
        format!(
            "the positions of {} go with the messages, also if the log is put back later; at the last checkpoint: {}",
            words::count(count, "consumer"),
            named.join(", ")
        ),
        "the catalogue and the journals are copied into quarantine before: with them and the log in their places, all is as it was now; \
         the positions are there to be read as well, in consumers-<log>.json"
            .to_owned(),
    ]
}

/// What is lost and not settled, so that the store goes on with the rest.
fn find_losses(looking: &Looking, report: &verify::Report, plan: &mut Plan) {
    let open = report.found.iter().filter(|found| found.standing == Standing::Open);
    // What is found, and the streams that it concerns.
    let mut texts: Vec<(String, Vec<String>)> = Vec::new();
    for found in open {
        if !matches!(
            found.what,
            What::Message | What::File | What::Catalogue | What::Journal | What::Log
        ) {
            continue;
        }
        let at = texts.iter().position(|(text, _)| *text == found.text);
        let at = at.unwrap_or_else(|| {
            texts.push((found.text.clone(), Vec::new()));
            texts.len() - 1
        });
        let streams = &mut texts[at].1;
        streams.extend(found.stream.clone().filter(|stream| !streams.contains(stream)));
        if let Some(file) = &found.file
            && file.is_file()
        {
            plan.bad.push((file.clone(), found.text.clone()));
        }
        if let (What::Journal, Some(shard)) = (found.what, found.shard) {
            let journal = shard.journal().to_string();
            let folder = looking.store.root().join("segment/logs").join(journal);
            if folder.is_dir() {
                plan.bad.push((folder, found.text.clone()));
            }
        }
        if let (What::Message, Some(account), Some(stream)) = (found.what, &found.account, &found.stream) {
            let seqs = plan.damaged.entry((account.clone(), stream.clone())).or_default();
            let all = found.lost.iter().flat_map(|(first, last)| *first..=*last);
            seqs.extend(all.take(READ_MAX.saturating_sub(seqs.len())));
        }
    }
    if !texts.is_empty() {
        let mut action = Action::new(
            Doing::Settle,
            "all that can be read is served, what is lost is noted and settled, and what is damaged is copied",
        );
        action.told = texts
            .into_iter()
            .map(|(text, streams)| match streams.len() as u64 {
                0 => text,
                count => format!("{} {}: {text}", words::plural(count, "stream"), streams.join(", ")),
            })
            .collect();
        plan.settle = Some(action);
    }
}
