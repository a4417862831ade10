//! The catalogue against the logs that are there, at the start of a store: a log that no stream has is kept and reported,
//! and the stream that it says it belongs to is there, offline.

use std::collections::{BTreeMap, BTreeSet};

use crate::backend::{Backend, LogOptions};
use crate::error::{Error, Result};
use crate::finding::{Concerned, Finding, FindingKind};
use crate::shard::Shard;
use crate::shard::label::LogLabel;
use crate::shard::restore::unfinished;
use crate::shard::snapshot::StreamSnapshot;
use crate::store::{Environment, FIRST_STREAM_ID};
use crate::stream::settings::BackendKind;
use crate::types::{LogId, NanoTime, Seq, ShardId};
use crate::words;

/// Looks at every log of every backend that is open. All shards were opened, and what restores left is gone.
///
/// # Errors
/// If a backend cannot list its logs.
pub(crate) fn look_for_orphans(env: &Environment, shards: &mut BTreeMap<ShardId, Shard>, now: NanoTime) -> Result<()> {
    let mut unread = Vec::new();
    let mut known: BTreeSet<LogId> = env.catalogue.all().iter().map(|entry| entry.id.log()).collect();
    if env.is_image() {
        // A start would have removed them by now.
        let kv = env.backend(BackendKind::Segment)?.kv();
        known.extend(unfinished(kv.as_ref())?.into_iter().map(|(id, _)| id.log()));
    }
    for (kind, backend) in env.opened() {
        if kind == BackendKind::Memory {
            continue;
        }
        for id in backend.list()? {
            let is_journal = shards.keys().any(|shard| shard.journal() == id);
            if is_elsewhere(id) {
                continue;
            }
            if known.contains(&id) || is_journal || shards.values().any(|shard| shard.knows_log(id)) {
                continue;
            }
            match look_at(env, shards, backend.as_ref(), id, &mut unread, now) {
                Ok(finding) => {
                    let key = format!("orphan-{kind}-{id}");
                    finding
                        .into_iter()
                        .for_each(|finding| env.catalogue.add_finding(&key, finding));
                }
                Err(error) => tracing::error!(log = %id, "no stream has this log, and it cannot be looked at: {error}"),
            }
        }
    }
    for (number, shard) in shards {
        let own = unread.extract_if(.., |(of, _)| of == number);
        shard.show_labelled(own.map(|(_, snapshot)| snapshot).collect(), now);
    }
    Ok(())
}

/// How many shards the store is opened with.
fn local(shards: &BTreeMap<ShardId, Shard>) -> usize {
    shards.keys().filter(|shard| shard.is_local()).count()
}

/// Whether what has a log, if anything does, is in a shard that need not be open now, or is its journal. Whoever adds those knows which
/// streams there are.
pub(crate) fn is_elsewhere(id: LogId) -> bool {
    let first = ShardId::FIRST_ADDED.journal();
    !id.stream().is_local() || (first..=ShardId::MAX.journal()).contains(&id)
}

fn look_at(
    env: &Environment,
    shards: &mut BTreeMap<ShardId, Shard>,
    backend: &dyn Backend,
    id: LogId,
    unread: &mut Vec<(ShardId, StreamSnapshot)>,
    now: NanoTime,
) -> Result<Option<Finding>> {
    let label = match backend.label(id) {
        Ok(label) => label.as_deref().and_then(|label| LogLabel::unpack(label).ok()),
        Err(error) => {
            tracing::error!("{error}");
            None
        }
    };
    if is_unread(shards, id, label.as_ref(), unread) {
        return Ok(None);
    }
    let existing = LogOptions {
        existing: true,
        ..LogOptions::default()
    };
    let extent = backend.open(id, &existing)?.0.reader().extent();
    if extent.last == 0 && id.0 >= FIRST_STREAM_ID {
        // A crash came between the making of a log and the journal's word of it: nothing was answered.
        tracing::info!(log = %id, "no stream has this log, and nothing was ever written to it; it is kept");
        return Ok(None);
    }
    let held = format!(
        "log {id} with {} is there, and no stream has it; it is kept",
        words::count(extent.count, "message")
    );
    let Some(label) = label else {
        tracing::error!("{held}");
        return Ok(Some(finding(held, Vec::new(), now)));
    };
    let text = format!(
        "{held}. By its label it is that of stream {} of account {}",
        label.name, label.account
    );
    let concerned = Concerned {
        log: id.0,
        account: label.account.clone(),
        stream: label.name.clone(),
        lost: Vec::new(),
    };
    let number = crate::store::shard_for(&label.account, &label.name, local(shards));
    // Nothing in the journal is needed for it.
    let snapshot = label.snapshot(number, Seq::MAX);
    match (snapshot, shards.get_mut(&number)) {
        (Some(snapshot), Some(shard)) if env.catalogue.get(&label.account, &label.name).is_none() => {
            let why = Error::damaged(format!(
                "its entry in the catalogue is lost; its messages are kept in log {id}"
            ));
            shard.note_offline(&snapshot, &why, now);
        }
        _ => tracing::error!("{text}"),
    }
    Ok(Some(finding(text, vec![concerned], now)))
}

/// Whether a log may be that of a stream which only a journal tells of that cannot be read. If its label says so, the stream is
/// added to those, with its shard.
fn is_unread(
    shards: &BTreeMap<ShardId, Shard>,
    id: LogId,
    label: Option<&LogLabel>,
    unread: &mut Vec<(ShardId, StreamSnapshot)>,
) -> bool {
    let Some(label) = label else {
        let is_unknown = shards.values().any(Shard::is_unread);
        if is_unknown {
            tracing::warn!(log = %id, "it is not known whose log this is until all journals can be read");
        }
        return is_unknown;
    };
    let number = crate::store::shard_for(&label.account, &label.name, local(shards));
    let is_unread = shards.get(&number).is_some_and(Shard::is_unread);
    if is_unread {
        unread.extend(label.snapshot(number, Seq::MAX).map(|snapshot| (number, snapshot)));
    }
    is_unread
}

fn finding(text: String, concerned: Vec<Concerned>, now: NanoTime) -> Finding {
    Finding {
        concerned,
        ..Finding::new(FindingKind::Orphan, text, now)
    }
}
