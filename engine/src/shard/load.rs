//! Opening a single stream: as the last checkpoint or the journal has it, with what it has lost since, and what of that is there again.

use std::ops::ControlFlow;

use crate::backend::LogReader;
use crate::error::{Kind, Result};
use crate::finding::{Concerned, Finding, FindingKind, RANGES_MAX};
use crate::index::Census;
use crate::shard::aside::{Looked, Outlook};
use crate::shard::command::Command;
use crate::shard::moved_on;
use crate::shard::offline::but_for_room;
use crate::shard::recover::each_portion;
use crate::shard::snapshot::{StreamSnapshot, ledger_key, load_dedup, stream_key};
use crate::store::{Environment, KnownLog};
use crate::stream::LACKED;
use crate::stream::Stream;
use crate::stream::ledger::{Ledger, Loss};
use crate::stream::messages::Identity;
use crate::stream::settings::BackendKind;
use crate::types::{NanoTime, Seq, StreamId};
use crate::words;

/// What the last checkpoint has of a stream.
pub(super) fn saved(env: &Environment, id: StreamId) -> Result<Option<StreamSnapshot>> {
    let json = env.backend(BackendKind::Segment)?.kv().get(&stream_key(id))?;
    json.map(|json| StreamSnapshot::read(&json, Some(id))).transpose()
}

/// The last journal record that the last checkpoint has of a stream; 0 if it has nothing of it.
pub(super) fn saved_position(env: &Environment, id: StreamId) -> Result<Seq> {
    Ok(saved(env, id)?.map_or(0, |snapshot| snapshot.position))
}

/// What the last checkpoint knows of a stream to be lost.
pub(super) fn saved_ledger(env: &Environment, id: StreamId) -> Result<Ledger> {
    let Some(json) = env.backend(BackendKind::Segment)?.kv().get(&ledger_key(id))? else {
        return Ok(Ledger::default());
    };
    Ok(Ledger::read(&json).unwrap_or_else(|error| {
        tracing::error!(log = %id, "what it has lost: {error}");
        Ledger::default()
    }))
}

/// Opens a stream as the last checkpoint has it.
pub(super) fn load_saved(env: &Environment, snapshot: StreamSnapshot, now: NanoTime) -> Result<Stream> {
    let (position, log_last, log_change) = (snapshot.position, snapshot.log_last, snapshot.log_change);
    let (first, census, up_to) = (snapshot.first, snapshot.census, snapshot.last);
    // The log was synced before the snapshot was written.
    let mut stream = load_stream(env, snapshot, now, true)?;
    stream.position = position;
    // Stores of earlier versions do not know it yet.
    stream.unsaved = log_change == 0 && stream.messages.log_change() > 0;
    let kv = env.backend(BackendKind::Segment)?.kv();
    load_dedup(kv.as_ref(), &mut stream, up_to)?;
    // Those that have left the window since they were written, the next message would let go of.
    if let Some(last) = stream.messages.last_time() {
        stream.expire_ids(last);
    }
    stream.messages.ledger = saved_ledger(env, stream.id())?;
    let not_removed = stream.messages.ledger.not_removed(first);
    remove_purged(&mut stream, now)?;
    if take_back(&mut stream)? {
        stream.unsaved = true;
        end_findings(env, &stream)?;
    }
    let known = stream.messages.ledger.clone();
    stream.unsaved |= note_lost(&mut stream, now);
    let there = stream.messages.log_last();
    if there < log_last {
        tracing::error!(
            stream = %stream.name(),
            "the log ends at {there}, and once had everything up to {log_last}: what is missing is lost"
        );
        // What is below the first was removed before.
        stream
            .messages
            .ledger
            .note(first.max(there + 1), log_last, 0, now, "the log has lost its end");
        stream.unsaved = true;
    }
    if let Some(census) = census {
        note_exchanged(&mut stream, (first, log_last), census, now)?;
    }
    stream.messages.lost_anew = stream.messages.ledger.messages() > known.messages();
    let is_told = stream.messages.revived.is_some();
    tell_of_revived(env, &mut stream, first, &not_removed, now)?;
    if !is_told {
        tell_of_gone(env, &stream, &known, now)?;
    }
    Ok(stream)
}

/// A purge came over messages that were missing then: if somebody has put them back, they go now.
fn remove_purged(stream: &mut Stream, now: NanoTime) -> Result<()> {
    // What the journal has yet to tell of is above the last one.
    let purged = stream.messages.ledger.purged_below().min(stream.messages.last() + 1);
    if stream.messages.index.first().is_none_or(|first| first >= purged) {
        return Ok(());
    }
    stream.unsaved = true;
    let seqs = Vec::new();
    stream.replay(Command::Remove { first: purged, seqs }, now)
}

/// What counted as lost because a file was gone is there again, for somebody has put that back: it is lost no more. Answers whether
/// there was any.
fn take_back(stream: &mut Stream) -> Result<bool> {
    let back = stream.there_again(&stream.messages.ledger)?;
    for &(first, last) in &back {
        tracing::warn!(stream = %stream.name(), "{}: counted as lost, and there again", words::numbered("message", &[(first, last)]));
        let live = stream.live(first, last)?.len() as u64;
        stream.messages.ledger.take_back(first, last);
        stream.messages.ledger.found_again(live);
    }
    let messages = &mut stream.messages;
    if messages.ledger.explains(messages.surplus) {
        // Nothing that removed them is lost: they were missing when the newest write was made.
        messages.revived = None;
        messages
            .places
            .retain(|place| !place.contains("more than its newest write counts"));
    }
    Ok(!back.is_empty())
}

/// What told that files of a log are gone, all of whose messages are there again, is over: nobody has to settle it.
fn end_findings(env: &Environment, stream: &Stream) -> Result<()> {
    let prefix = gone_key(stream.id());
    for (key, finding) in env.catalogue.keyed_findings() {
        let mut lost = finding.concerned.iter().flat_map(|concerned| &concerned.lost);
        let is_all_told = finding
            .concerned
            .iter()
            .all(|concerned| concerned.lost.len() < RANGES_MAX);
        let is_lost = |loss: &Loss, (first, last): &(Seq, Seq)| loss.first <= *last && *first <= loss.last;
        let losses = stream.messages.ledger.losses();
        if key.starts_with(&prefix) && is_all_told && !lost.any(|range| losses.iter().any(|loss| is_lost(loss, range)))
        {
            env.end_finding(&key)?;
        }
    }
    Ok(())
}

/// What the keys of findings begin with that files of a log are gone.
fn gone_key(id: StreamId) -> String {
    format!("log-{id}-gone-")
}

/// Tells of files of a log that are gone, or of an older log that lies in its place: what a stream loses with those is no matter of one
/// record, and somebody may still have them. `known` is what was known to be lost before.
fn tell_of_gone(env: &Environment, stream: &Stream, known: &Ledger, now: NanoTime) -> Result<()> {
    let key = format!("{}{:020}", gone_key(stream.id()), stream.messages.log_change());
    tell_of(env, stream, key, now, &|loss| {
        loss.is_gone() && !known.covers(loss.first, loss.last)
    })
}

/// The same, of what only the log had of all that the journal tells of.
fn tell_of_lacked(env: &Environment, stream: &Stream, now: NanoTime) -> Result<()> {
    if !stream.messages.ledger.losses().iter().any(|loss| loss.why == LACKED) {
        return Ok(());
    }
    let known = saved_ledger(env, stream.id())?;
    let key = format!("{}{:020}-end", gone_key(stream.id()), stream.messages.log_change());
    tell_of(env, stream, key, now, &|loss| {
        loss.why == LACKED && !known.covers(loss.first, loss.last)
    })
}

fn tell_of(
    env: &Environment,
    stream: &Stream,
    key: String,
    now: NanoTime,
    is_told: &dyn Fn(&Loss) -> bool,
) -> Result<()> {
    let gone: Vec<_> = stream
        .messages
        .ledger
        .losses()
        .iter()
        .filter(|loss| is_told(loss))
        .collect();
    let Some(first) = gone.first() else {
        return Ok(());
    };
    let ranges: Vec<(Seq, Seq)> = gone
        .iter()
        .map(|loss| (loss.first, loss.last))
        .take(RANGES_MAX)
        .collect();
    let text = format!(
        "the log of stream {} of account {} lacks messages that it had: {}; if somebody has its files, stop the server and put them back",
        stream.name(),
        stream.account(),
        first.why
    );
    let finding = Finding {
        concerned: vec![Concerned {
            log: stream.id().0,
            account: stream.account().to_string(),
            stream: stream.name().to_string(),
            lost: ranges,
        }],
        ..Finding::new(FindingKind::Log, text, now)
    };
    env.keep_finding(&key, finding)
}

/// A file of the log that is missing may have had as many messages as it removed of those before it: then the log counts right, and yet
/// some are gone and others are back. `census` is of what it had up to `log_last` when the checkpoint was written; what was removed
/// since makes it fewer, and nothing else may make it others.
fn note_exchanged(stream: &mut Stream, (first, log_last): (Seq, Seq), census: Census, now: NanoTime) -> Result<()> {
    let messages = &mut stream.messages;
    let absent = std::mem::take(&mut messages.absent);
    let Some(mut there) = messages.index.census().filter(|_| !absent.is_empty()) else {
        return Ok(());
    };
    messages
        .index
        .each_live(log_last + 1, Seq::MAX - 1, &mut |seq| there.leave_out(seq))?;
    if there.count != census.count || there.sum == census.sum {
        return Ok(());
    }
    let named = &absent[..absent.len().min(RANGES_MAX)];
    let why = format!(
        "a file of it is missing, which had as many messages as it removed; in it {} may have been",
        words::numbered("message", named)
    );
    tracing::error!(stream = %messages.name, "the log has as many messages as it should have, and others: {why}");
    for (low, high) in absent {
        // What is below the first was removed before.
        messages
            .ledger
            .note(low.max(first), high, 0, now, "a file of the log is missing");
    }
    messages.revived.get_or_insert(why);
    stream.unsaved = true;
    Ok(())
}

/// Messages that were removed may be there again, because the log has lost the writes that removed them. Those below the first one
/// that a checkpoint has go once more, but for the ranges `not_removed`: those counted as lost, so that the first one came of that, and
/// what of them somebody has put back stays. Of others it is told.
fn tell_of_revived(
    env: &Environment,
    stream: &mut Stream,
    first: Seq,
    not_removed: &[(Seq, Seq)],
    now: NanoTime,
) -> Result<()> {
    let Some(mut why) = stream.messages.revived.take() else {
        return Ok(());
    };
    let below = not_removed.first().map_or(first, |(low, _)| *low);
    let mut seqs = Vec::new();
    for (at, (_, high)) in not_removed.iter().enumerate() {
        let next = not_removed.get(at + 1).map_or(first, |(low, _)| *low);
        if high + 1 < next {
            seqs.extend(stream.live(high + 1, next - 1)?);
        }
    }
    if below > 1 || !seqs.is_empty() {
        stream.replay(Command::Remove { first: below, seqs }, now)?;
        stream.unsaved = true;
    }
    let mut kept = Vec::new();
    for &(low, high) in not_removed {
        let live = stream.live(low, high)?;
        kept.extend(live.first().copied().zip(live.last().copied()));
    }
    if !kept.is_empty() {
        let named = words::numbered("message", &kept[..kept.len().min(RANGES_MAX)]);
        why += &format!("; {named}, which counted as lost, are there again, and stay");
    }
    let key = format!("log-{}-{:020}", stream.id(), stream.messages.log_change());
    let text = format!(
        "the log of stream {} of account {} has lost writes: {why}; messages that these removed may be there again",
        stream.name(),
        stream.account()
    );
    env.keep_finding(&key, Finding::new(FindingKind::Log, text, now))
}

/// Opens a stream as the journal says that it was made. The log of a new stream may have to be made; one that was
/// restored has its messages in it.
pub(super) fn load_created(env: &Environment, snapshot: StreamSnapshot, now: NanoTime) -> Result<Stream> {
    let restored = snapshot.last >= snapshot.config.first_seq.max(1);
    let first = snapshot.first;
    let mut stream = load_stream(env, snapshot, now, restored)?;
    // What a start before this one found, and no checkpoint has yet.
    let known = saved_ledger(env, stream.id())?;
    note_lost(&mut stream, now);
    let is_told = stream.messages.revived.is_some();
    tell_of_revived(env, &mut stream, first, &[], now)?;
    if !is_told {
        tell_of_gone(env, &stream, &known, now)?;
    }
    Ok(stream)
}

/// Notes what opening the log found lost; answers whether something of it was not known before.
pub(super) fn note_lost(stream: &mut Stream, now: NanoTime) -> bool {
    let lost = stream.messages.log_lost();
    stream.messages.ledger.note_found(&lost, now)
}

/// Opens a stream from a snapshot that the journal or a checkpoint has; its log must be there if it is an `existing` one.
pub(crate) fn load_stream(
    env: &Environment,
    snapshot: StreamSnapshot,
    now: NanoTime,
    existing: bool,
) -> Result<Stream> {
    let who = Identity {
        id: StreamId(snapshot.id),
        account: snapshot.account.as_str().into(),
        name: snapshot.name.as_str().into(),
        config: snapshot.config,
        settings: snapshot.settings,
        created: snapshot.created,
    };
    let gone = match existing {
        true => saved_ledger(env, who.id)?.gone(),
        false => Vec::new(),
    };
    let known = KnownLog {
        existing,
        synced: snapshot.log_change,
        gone,
    };
    let mut stream = env.open_stream(who, snapshot.last, snapshot.last_time, known)?;
    if snapshot.cleared {
        stream.messages.set_cleared();
    }
    if let Some((first, last)) = snapshot.recompressing {
        stream.messages.recompress(snapshot.settings.compression, first..=last);
    }
    stream.set_next_serial(snapshot.next_serial);
    stream.set_origins(snapshot.origins);
    stream.resume_removals(snapshot.removals)?;
    if let Some(schedules) = snapshot.schedules {
        stream.resume_schedules(&schedules)?;
    }
    for consumer in snapshot.consumers {
        stream.resume_consumer(consumer, now)?;
    }
    Ok(stream)
}

/// Applies one journal record to the one stream that is being opened.
pub(crate) fn replay_one(
    env: &Environment,
    stream: &mut Option<Stream>,
    position: Seq,
    command: Command,
    now: NanoTime,
) -> Result<()> {
    let (position, command) = command.first_written(position);
    match (stream.as_mut(), command) {
        (None, Command::CreateStream { json }) => {
            *stream = Some(load_created(env, StreamSnapshot::read(&json, None)?, now)?);
        }
        (Some(_), Command::DeleteStream) => *stream = None,
        (Some(stream), command) if position > stream.position => stream.replay(command, now)?,
        _ => return Ok(()),
    }
    if let Some(stream) = stream {
        stream.position = position;
        stream.unsaved = true;
    }
    Ok(())
}

/// Opens one stream as [`Shard::open`](crate::shard::Shard::open) does all, but for the last step: its snapshot, its log, and the journal up
/// to `last`. `None` if nothing tells of it.
pub(super) fn load_one(
    env: &Environment,
    journal: &dyn LogReader,
    id: StreamId,
    last: Seq,
    now: NanoTime,
) -> Result<(Option<Stream>, Looked)> {
    let mut stream = match saved(env, id)? {
        Some(snapshot) => Some(load_saved(env, snapshot, now)?),
        None => None,
    };
    let looked = replay_all(env, journal, &mut stream, id, last, now)?;
    Ok((stream, looked))
}

/// Applies what the journal has of one stream up to `last` to what there is of it; answers what its log has of that.
///
/// # Errors
/// If the journal cannot be read, or the stream fails.
pub(super) fn replay_all(
    env: &Environment,
    journal: &dyn LogReader,
    stream: &mut Option<Stream>,
    id: StreamId,
    last: Seq,
    now: NanoTime,
) -> Result<Looked> {
    let mut outlook = Outlook::from(journal, 0)?;
    each_portion(journal, last, &mut |portion| {
        let of_it = portion.commands.into_iter().filter(|(_, of, _)| *of == id);
        for (position, _, command) in of_it {
            if let (Some(stream), Some((first, last))) = (&stream, command.aside(position)) {
                outlook.look(stream, first, last);
            }
            let Some(command) = outlook.counts(journal, position, id, command) else {
                continue;
            };
            replay_one(env, stream, position, command, now)?;
        }
        if let Some(stream) = stream {
            but_for_room(stream.messages.write(false))?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(outlook.looked(id))
}

/// The last step of opening a stream, when the journal has nothing more of it. What is too old at `limits_at` goes.
///
/// # Errors
/// Of kind [`Kind::Full`] if the stream is whole, and only its log has no room for all of it.
pub(super) fn settle(env: &Environment, stream: &mut Stream, now: NanoTime, limits_at: NanoTime) -> Result<()> {
    let end = stream.messages.last() + 1;
    stream.messages.ledger.not_purged_from(end);
    stream.messages.note_unknown();
    let positions = moved_on::positions(stream);
    stream.recovered()?;
    tell_of_lacked(env, stream, now)?;
    moved_on::tell(env, stream, &positions, now)?;
    let written = stream.messages.write(false);
    if let Err(error) = &written
        && error.kind != Kind::Full
    {
        return written;
    }
    stream.enforce_all_limits(limits_at, None)?;
    written
}
