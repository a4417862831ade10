//! One stream and its consumers.

use std::collections::BTreeMap;
use std::path::Path;

use weir_engine::consumer::{AckPolicy, ConsumerInfo, SeqPair};
use weir_engine::image::Image;
use weir_engine::store::StreamEntry;
use weir_engine::stream::ledger::Ledger;
use weir_engine::stream::settings::IndexKind;
use weir_engine::stream::{Stream, StreamState};
use weir_engine::{Result, Seq, StreamId};

use super::Options;
use super::histogram::{Histogram, histogram};
use super::places::{is_noted, relative};
use super::report::{ConsumerReport, LossReport, PendingReport, Position, StreamReport, SubjectReport, TailReport};
use super::top::top_subjects;

/// What is told of the damage of streams.
pub(super) struct Told<'a> {
    /// The folder of the store.
    pub root: &'a Path,
    pub problems: &'a mut Vec<String>,
    /// What is settled.
    pub settled: &'a mut Vec<String>,
}

/// What is read of a stream's messages.
#[derive(Default)]
struct Held {
    state: StreamState,
    top: Option<Vec<SubjectReport>>,
    histogram: Option<Histogram>,
    consumers: Vec<ConsumerReport>,
}

/// Tells what there is of a stream; `None` if the image has none with that log. `options` says what of it.
///
/// # Errors
/// If the catalogue cannot be read.
pub(super) fn report(
    image: &mut Image,
    id: StreamId,
    tail: TailReport,
    options: &Options,
    told: &mut Told<'_>,
) -> Result<Option<StreamReport>> {
    let saved = image.saved(id)?;
    let ledger = image.saved_ledger(id)?;
    let Some(mut shown) = image.stream(id) else {
        return Ok(None);
    };
    let entry = shown.entry;
    let name = format!("{}/{}", entry.account, entry.name);
    let mut problems = Vec::new();
    let ledger = ledger.unwrap_or_else(|| {
        problems.push("what it has lost makes no sense".to_owned());
        Ledger::default()
    });
    let mut ledger = ledger;
    let mut held = None;
    if let Some(stream) = &mut shown.stream {
        // A start takes off what is there again.
        for (first, last) in stream.there_again(&ledger)? {
            ledger.take_back(first, last);
        }
        match read(stream, options) {
            Ok(read) => held = Some(read),
            Err(error) => problems.push(error.message),
        }
    }
    problems.extend(entry.offline.as_ref().map(ToString::to_string));
    let readable = held.is_some();
    let held = held.unwrap_or_else(|| {
        let mut held = Held::default();
        if let Some(saved) = &saved {
            (held.state.last_seq, held.state.last_time) = (saved.last, saved.last_time);
            held.state.first_seq = if saved.last == 0 { 0 } else { saved.last + 1 };
        }
        held
    });
    let stream = shown.stream.as_deref();
    let log_last = saved.as_ref().map_or(0, |saved| saved.log_last);
    let is_noted = stream.is_none_or(|stream| is_noted(&ledger, stream, log_last));
    let is_settled = |line: &&String| ledger.places().contains(&relative(told.root, line));
    let damage = stream.map_or(&[][..], Stream::damaged_places);
    let (settled, places): (Vec<_>, Vec<_>) = damage.iter().partition(is_settled);
    let tell = |line: &String| format!("stream {name}: {line}");
    told.settled.extend(settled.into_iter().map(tell));
    told.problems.extend(places.iter().copied().chain(&problems).map(tell));
    let extent = stream.map(|stream| stream.log_reader().extent());
    let damaged = extent.map_or(0, |extent| extent.damaged);
    let gone = stream.map(Stream::log_lost).unwrap_or_default().into_iter();
    let gone = gone.fold(0, |sum: u64, lost| sum.saturating_add(lost.last - lost.first + 1));
    // As a start would have it.
    let noted = stream.map_or(0, |stream| stream.ledger().messages());
    let StreamEntry { settings, shard, .. } = *entry;
    Ok(Some(StreamReport {
        log: id.to_string(),
        shard,
        backend: settings.backend.to_string(),
        durability: crate::unfinished::durability(settings.durability),
        compression: settings.compression.to_string(),
        index: match settings.index {
            IndexKind::Resident => "resident",
            IndexKind::Paged => "paged",
        }
        .to_owned(),
        subject_filters: entry.config.subjects.clone(),
        created: entry.created,
        first_seq: held.state.first_seq,
        last_seq: held.state.last_seq,
        first_time: held.state.first_time,
        last_time: held.state.last_time,
        messages: held.state.messages,
        bytes: held.state.bytes,
        disk_bytes: extent.map_or(0, |extent| extent.disk_bytes),
        subjects: held.state.num_subjects,
        digest: held.state.digest.map(|digest| digest.to_string()),
        top_subjects: held.top,
        histogram: held.histogram,
        consumers: held.consumers,
        damaged,
        damaged_places: match (damaged, damage.len() as u64) {
            (0, _) => 0,
            (damaged, 0) => damaged,
            (_, places) => places,
        },
        // A backend that knows no ranges counts messages.
        damaged_messages: if gone > 0 { gone } else { damaged },
        lost_unnoted: noted.saturating_sub(ledger.messages()),
        damaged_unsettled: match ledger.unsettled() == 0 && is_noted {
            true => 0,
            false => damaged,
        },
        lost: losses(&ledger),
        lost_messages: ledger.messages(),
        lost_unsettled: ledger.unsettled(),
        places_to_settle: if is_noted { places.len() as u64 } else { 0 },
        torn_bytes: stream.map_or(0, Stream::torn_bytes),
        journal_tail: tail,
        readable,
        account: entry.account.to_string(),
        name: entry.name.to_string(),
    }))
}

fn read(stream: &mut Stream, options: &Options) -> Result<Held> {
    let state = stream.state()?;
    let top = options.top_subjects.map(|top| top_subjects(stream, top)).transpose()?;
    let histogram = match options.histogram {
        true => Some(histogram(stream, crate::image::now())?),
        false => None,
    };
    let mut names = stream.consumer_names();
    if let Some(wanted) = &options.consumer {
        names.retain(|name| **name == **wanted);
    }
    // Nothing that a time decides is shown.
    let infos = names.iter().filter_map(|name| stream.consumer_info(name, 0));
    Ok(Held {
        state,
        top,
        histogram,
        consumers: infos
            .map(|info| match options.consumer {
                Some(_) => with_details(stream, consumer(info)),
                None => consumer(info),
            })
            .collect(),
    })
}

fn consumer(info: ConsumerInfo) -> ConsumerReport {
    ConsumerReport {
        name: info.name.consumer.to_string(),
        durable: info.config.is_durable(),
        deliver_subject: info.config.is_push().then(|| info.config.deliver_subject.clone()),
        filters: info.config.filters().into_iter().map(Into::into).collect(),
        ack_policy: match info.config.ack_policy {
            AckPolicy::None => "none",
            AckPolicy::All => "all",
            AckPolicy::Explicit => "explicit",
            AckPolicy::FlowControl => "flow_control",
        }
        .to_owned(),
        created: info.created,
        delivered: position(info.delivered),
        ack_floor: position(info.ack_floor),
        ack_pending: info.num_ack_pending,
        redelivered: info.num_redelivered,
        digest: info.digest.to_string(),
        pending: None,
        config: None,
    }
}

/// What there is to say of a consumer that was asked for.
fn with_details(stream: &Stream, report: ConsumerReport) -> ConsumerReport {
    let mut all = stream.consumer_backups().into_iter();
    let Some(consumer) = all.find(|consumer| consumer.name == report.name) else {
        return report;
    };
    let often: BTreeMap<Seq, u64> = consumer.deliveries.iter().copied().collect();
    let pending = consumer
        .pending
        .iter()
        .map(|&(stream_seq, consumer_seq, sent)| PendingReport {
            stream_seq,
            consumer_seq,
            sent,
            deliveries: often.get(&stream_seq).copied().unwrap_or(1),
        });
    ConsumerReport {
        pending: Some(pending.collect()),
        config: serde_json::to_value(&consumer.config).ok(),
        ..report
    }
}

fn position(pair: SeqPair) -> Position {
    Position {
        consumer_seq: pair.consumer,
        stream_seq: pair.stream,
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
