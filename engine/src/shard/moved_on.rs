//! What consumers lose with messages that opening a stream finds lost: they forget what they waited for and go on behind it, so
//! that a file that is put back later does not bring it back. It is told at that one opening, which alone has both.

use crate::consumer::ConsumerSnapshot;
use crate::error::Result;
use crate::finding::{Concerned, Finding, FindingKind};
use crate::store::Environment;
use crate::stream::Stream;
use crate::types::{NanoTime, Seq};
use crate::words;

/// Consumers that one text names, and ranges that it names of each.
const NAMED_MAX: usize = 16;

/// Where a stream's consumers are before they forget what is lost. Nothing if all that is lost was known before.
pub(super) fn positions(stream: &Stream) -> Vec<ConsumerSnapshot> {
    match stream.messages.lost_anew {
        true => stream.consumer_snapshots(),
        false => Vec::new(),
    }
}

/// Keeps a finding of what the consumers of a stream have lost since these positions.
///
/// # Errors
/// If the finding cannot be kept.
pub(super) fn tell(env: &Environment, stream: &mut Stream, before: &[ConsumerSnapshot], now: NanoTime) -> Result<()> {
    if !std::mem::take(&mut stream.messages.lost_anew) || before.is_empty() {
        return Ok(());
    }
    let after = stream.consumer_snapshots();
    let lost = before.iter().filter_map(|was| {
        let is = after.iter().find(|is| is.serial == was.serial)?;
        let (waited, unsent) = (forgotten(stream, was, is), skipped(stream, was, is));
        (!waited.is_empty() || unsent > 0).then_some((was, waited, unsent))
    });
    let lost: Vec<_> = lost.collect();
    if lost.is_empty() {
        return Ok(());
    }
    let mut told: Vec<String> = lost
        .iter()
        .take(NAMED_MAX)
        .map(|(was, waited, unsent)| sentence(was, waited, *unsent))
        .collect();
    if lost.len() > NAMED_MAX {
        told.push(format!("and {} more", lost.len() - NAMED_MAX));
    }
    let text = format!(
        "with the messages that stream {} of account {} has lost, {} behind it, also if the messages are put back later: {}",
        stream.name(),
        stream.account(),
        match lost.len() {
            1 => "1 consumer loses what it waited for, and goes on".to_owned(),
            count => format!("{count} consumers lose what they waited for, and go on"),
        },
        told.join("; ")
    );
    let concerned = Concerned {
        log: stream.id().0,
        account: stream.account().to_string(),
        stream: stream.name().to_string(),
        lost: Vec::new(),
    };
    let finding = Finding {
        concerned: vec![concerned],
        ..Finding::new(FindingKind::Log, text, now)
    };
    // A start that ends before this is kept finds it again, and so does whoever only looks. Logs that do not number their changes have
    // the journal's numbers: what was settled once is not what is found later.
    let number = match stream.messages.log_change() {
        0 => stream.position,
        change => change,
    };
    let key = format!("log-{}-consumers-{number:020}", stream.id());
    env.keep_finding(&key, finding)
}

/// What a consumer had sent and waits for no more, because it is lost.
fn forgotten(stream: &Stream, was: &ConsumerSnapshot, is: &ConsumerSnapshot) -> Vec<(Seq, Seq)> {
    let mut ranges: Vec<(Seq, Seq)> = Vec::new();
    let ledger = stream.ledger();
    for &(seq, _, _) in &was.pending {
        if is.pending.binary_search_by_key(&seq, |(seq, _, _)| *seq).is_ok() || !ledger.covers(seq, seq) {
            continue;
        }
        match ranges.last_mut().filter(|(_, last)| last + 1 == seq) {
            Some((_, last)) => *last = seq,
            None => ranges.push((seq, seq)),
        }
    }
    ranges
}

/// How many of the sequences that a consumer had not looked at are lost, and passed over.
fn skipped(stream: &Stream, was: &ConsumerSnapshot, is: &ConsumerSnapshot) -> u64 {
    let lost = stream.ledger().ranges().into_iter();
    let within = lost.map(|(first, last)| {
        let (first, end) = (first.max(was.next), (last + 1).min(is.next));
        end.saturating_sub(first)
    });
    within.sum()
}

fn sentence(was: &ConsumerSnapshot, waited: &[(Seq, Seq)], unsent: u64) -> String {
    let mut text = format!(
        "{} had acknowledged all up to {} and was sent all up to {}",
        was.name,
        was.ack_floor.stream,
        was.next.saturating_sub(1)
    );
    if !waited.is_empty() {
        let named = words::numbered("message", &waited[..waited.len().min(NAMED_MAX)]);
        let more = if waited.len() > NAMED_MAX { " and others" } else { "" };
        text += &format!(", waited for {named}{more}");
    }
    if unsent > 0 {
        text += &format!(", was still to be sent {unsent} of the sequences behind that");
    }
    text
}
