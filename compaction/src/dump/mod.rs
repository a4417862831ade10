//! Shows the messages of a stream, in order. Nothing is written.

mod form;

use std::ops::ControlFlow;
use std::path::Path;

use bytes::Bytes;
use weir_engine::store::OpeningProgress;
use weir_engine::stream::Message;
use weir_engine::stream::ledger::Ledger;
use weir_engine::{NanoTime, Seq, StreamId};

pub use form::{Body, Form};

use crate::error::{Error, Result};
use crate::image::Looking;
use crate::messages::{Messages, Next};

/// What to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The stream's name.
    pub stream: String,
    /// Its account; needed if several have a stream of that name.
    pub account: Option<String>,
    /// Only messages whose subjects match any of these; all match if there are none.
    pub subjects: Vec<String>,
    /// The first sequence.
    pub from: Seq,
    /// The last sequence.
    pub to: Seq,
    /// Only messages stored at this time or later.
    pub since: Option<NanoTime>,
    /// Only messages stored before this time.
    pub until: Option<NanoTime>,
    /// So many messages at most.
    pub limit: u64,
}

impl Options {
    /// All messages of a stream.
    pub fn of(stream: &str) -> Self {
        Self {
            stream: stream.to_owned(),
            account: None,
            subjects: Vec::new(),
            from: 1,
            to: Seq::MAX,
            since: None,
            until: None,
            limit: u64::MAX,
        }
    }
}

/// Whether a text is a filter of subjects: what is none matches nothing, and the reason should be told instead.
///
/// # Errors
/// Why it is none.
pub fn check_filter(filter: &str) -> std::result::Result<(), &'static str> {
    if weir_subject::is_valid_subject(filter.as_bytes()) {
        return Ok(());
    }
    let mut parts = filter.split('.').rev();
    let is_rest = |part: &str| part == ">";
    Err(match parts.next() {
        _ if filter.split('.').any(str::is_empty) => "it has an empty part between dots, or at an end",
        Some(_) if parts.any(is_rest) => "> stands at the end only",
        _ => "it has white space in it",
    })
}

/// The options' filters, if they are filters.
pub(crate) fn check_filters(options: &Options) -> Result<()> {
    for filter in &options.subjects {
        check_filter(filter).map_err(|why| Error::Filter {
            filter: filter.clone(),
            why,
        })?;
    }
    Ok(())
}

/// What there is of a stream.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// A message.
    Message(&'a Message),
    /// Sequences, the lowest and the highest, whose messages are damaged or lost, and why.
    Lost(Seq, Seq, &'a str),
    /// The stream is offline, with the reason; what can be read of it is shown.
    Offline(&'a str),
}

/// What was shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dumped {
    /// Messages.
    pub messages: u64,
    /// Whether something of what was asked for is damaged or lost, and nobody has settled that.
    pub damaged: bool,
    /// How many things are wrong elsewhere in the store, as far as opening it tells.
    pub elsewhere: u64,
}

/// Shows messages of the stream of a store until told to stop; what is lost of those asked for first.
///
/// # Errors
/// If there is no store or no such stream, a filter is none, a server has it open, or it cannot be read.
pub fn dump(
    path: &Path,
    options: &Options,
    opening: Option<OpeningProgress>,
    show: &mut dyn FnMut(Shown<'_>) -> ControlFlow<()>,
) -> Result<Dumped> {
    let mut looking = Looking::at(path, opening)?;
    let id = looking.the_stream(&options.stream, options.account.as_deref())?;
    let elsewhere = crate::elsewhere::beside(&looking, &options.stream, &[id])?;
    Ok(Dumped {
        elsewhere,
        ..dump_of(&mut looking, id, options, show)?
    })
}

/// The same of a store that is open.
pub(crate) fn dump_of(
    looking: &mut Looking,
    id: StreamId,
    options: &Options,
    show: &mut dyn FnMut(Shown<'_>) -> ControlFlow<()>,
) -> Result<Dumped> {
    check_filters(options)?;
    let no_such = || Error::NoSuchStream {
        wanted: options.stream.clone(),
        there: Vec::new(),
    };
    let found = looking.image.stream(id).ok_or_else(no_such)?;
    let offline = found.entry.offline.as_ref().map(ToString::to_string);
    let stream = found.stream.ok_or_else(|| Error::Offline {
        name: options.stream.clone(),
        why: offline.clone().unwrap_or_default(),
    })?;
    let mut dumped = Dumped::default();
    if let Some(why) = &offline {
        dumped.damaged = true;
        if show(Shown::Offline(why)).is_break() {
            return Ok(dumped);
        }
    }
    let (mut from, mut to) = (options.from.max(1), options.to);
    if let Some(since) = options.since {
        from = from.max(stream.seq_at(since).map_err(Error::Unreadable)?);
    }
    if let Some(until) = options.until {
        let end = stream.seq_at(until).map_err(Error::Unreadable)?;
        to = to.min(end.saturating_sub(1));
    }
    let ledger = stream.ledger().clone();
    for loss in ledger.losses().iter().filter(|_| ledger.unsettled() > 0) {
        let (first, last) = (loss.first.max(from), loss.last.min(to));
        if loss.settled || first > last {
            continue;
        }
        // What the index still has is met below, in its place and with the file.
        for (first, last) in without(first, last, &stream.live(first, last).map_err(Error::Unreadable)?) {
            dumped.damaged = true;
            if show(Shown::Lost(first, last, &loss.why)).is_break() {
                return Ok(dumped);
            }
        }
    }
    let filters = options.subjects.iter().filter(|filter| *filter != ">");
    let filters = filters.map(|filter| Bytes::copy_from_slice(filter.as_bytes()));
    let mut messages = Messages::new(from, to, filters.collect());
    while dumped.messages < options.limit
        && let Some(next) = messages.next(stream).map_err(Error::Unreadable)?
    {
        let shown = match &next {
            Next::Message(message) => {
                dumped.messages += 1;
                show(Shown::Message(message))
            }
            Next::Damaged(seq) => {
                dumped.damaged |= !(ledger.covers(*seq, *seq) && is_settled(&ledger, *seq));
                let why = match stream.message(*seq) {
                    Err(error) => error.message,
                    Ok(_) => "it cannot be read".to_owned(),
                };
                show(Shown::Lost(*seq, *seq, &why))
            }
        };
        if shown.is_break() {
            break;
        }
    }
    Ok(dumped)
}

/// Whether somebody has settled that a message which is noted as lost is.
fn is_settled(ledger: &Ledger, seq: Seq) -> bool {
    let mut of = ledger
        .losses()
        .iter()
        .filter(|loss| loss.first <= seq && seq <= loss.last);
    ledger.unsettled() == 0 || of.any(|loss| loss.settled)
}

/// The ranges between sequences, which are in order, from `first` to `last`.
fn without(first: Seq, last: Seq, seqs: &[Seq]) -> Vec<(Seq, Seq)> {
    let mut ranges = Vec::new();
    let mut next = first;
    for &seq in seqs {
        if next < seq {
            ranges.push((next, seq - 1));
        }
        next = seq + 1;
    }
    if next <= last {
        ranges.push((next, last));
    }
    ranges
}
