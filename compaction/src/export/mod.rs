//! Exporting: a stream of a closed store is written as a backup that nats-server restores, or as lines of JSON.

mod folder;
mod lines;
mod output;
mod parquet;

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;
use weir_backup::{Begun, Reading};
use weir_engine::Seq;
use weir_engine::store::OpeningProgress;
use weir_engine::stream::ledger::Ledger;
use weir_engine::stream::{Message, Stream};

use crate::dump::{self, Shown};
use crate::error::{Error, Result};
use crate::image::Looking;
use folder::Folder;
pub(crate) use lines::{Lines, STANDARD_OUTPUT};
pub(crate) use output::Output;
use parquet::Table;

/// Ranges of damaged messages that are told.
const DAMAGED_MAX: usize = 1000;
/// Messages between two words of progress.
const PROGRESS_STEP: u64 = 1000;

/// What a stream is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A folder as `nats stream backup` makes it.
    #[default]
    Backup,
    /// A file with lines of JSON.
    Jsonl,
    /// An Apache Parquet file: see [`export_table`].
    Parquet,
}

/// What is exported.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The stream's name.
    pub stream: String,
    /// Its account; may be left out if the name is in one account only.
    pub account: Option<String>,
    /// As what.
    pub format: Format,
    /// Leave out its consumers.
    pub no_consumers: bool,
}

/// What was exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The stream's account.
    pub account: String,
    /// Its name.
    pub stream: String,
    /// As what.
    pub format: Format,
    /// Messages that were written.
    pub messages: u64,
    /// The stream's first sequence; of a table, which may have a part of it, the first message's.
    pub first_seq: Seq,
    /// Its last.
    pub last_seq: Seq,
    /// The consumers, by name.
    pub consumers: Vec<String>,
    /// Ranges of sequences (both ends included) whose messages are damaged, and are gaps in what was written; up to 1,000.
    pub damaged: Vec<(Seq, Seq)>,
    /// Damaged messages in all.
    pub damaged_messages: u64,
    /// Messages that were lost before, and nobody has settled that.
    pub lost: u64,
    /// Which those are: ranges of sequences, as far as they are known.
    pub lost_ranges: Vec<(Seq, Seq)>,
    /// Why the stream is offline, if it is; what could be read of it was written.
    pub offline: Option<String>,
    /// How many things are wrong elsewhere in the store, as far as opening it tells.
    pub elsewhere: u64,
}

impl Exported {
    /// Whether something is missing in what was written that the stream had.
    pub fn is_damaged(&self) -> bool {
        self.damaged_messages > 0 || self.lost > 0 || self.offline.is_some()
    }

    fn note_damaged(&mut self, seqs: &[Seq]) {
        seqs.iter().for_each(|&seq| self.note_damaged_range(seq, seq));
    }

    fn note_damaged_range(&mut self, from: Seq, to: Seq) {
        self.damaged_messages += to - from + 1;
        let ranges = self.damaged.len();
        match self.damaged.last_mut() {
            Some((_, last)) if *last + 1 == from => *last = to,
            _ if ranges < DAMAGED_MAX => self.damaged.push((from, to)),
            _ => {}
        }
    }
}

/// Writes a stream of the store at a path to `out`: a folder that is not there or empty, or a file that is not there; `-` is the
/// standard output, for lines. `progress` is told how many messages of a stream were read, and how many there are.
///
/// # Errors
/// If there is no store or no such stream, a server has it open, it cannot be read, or the output cannot be written. Then nothing of
/// it is left.
pub fn export(path: &Path, out: &Path, options: &Options, progress: Option<OpeningProgress>) -> Result<Exported> {
    if options.format == Format::Parquet {
        let what = dump::Options {
            account: options.account.clone(),
            ..dump::Options::of(&options.stream)
        };
        return export_table(path, out, &what, progress);
    }
    let mut looking = Looking::at(path, progress.clone())?;
    if out != Path::new(STANDARD_OUTPUT) {
        crate::beside::outside(looking.store.root(), &looking.store, out)?;
    }
    let id = looking.the_stream(&options.stream, options.account.as_deref())?;
    let elsewhere = crate::elsewhere::beside(&looking, &options.stream, &[id])?;
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
    let mut exported = write(stream, out, options, progress)?;
    exported.offline = offline;
    exported.elsewhere = elsewhere;
    Ok(exported)
}

/// Writes messages of a stream, those that `what` chooses, to an Apache Parquet file, which must not be there: columns `seq`, `time`
/// (a timestamp in nanoseconds, UTC), `subject`, `headers` (text of JSON, an object with a list of values for each name; null if there
/// are none) and `data`, compressed with Zstandard. `progress` is told how many messages were written.
///
/// # Errors
/// As those of [`export`].
pub fn export_table(
    path: &Path,
    out: &Path,
    what: &dump::Options,
    progress: Option<OpeningProgress>,
) -> Result<Exported> {
    let mut looking = Looking::at(path, progress.clone())?;
    crate::beside::outside(looking.store.root(), &looking.store, out)?;
    let id = looking.the_stream(&what.stream, what.account.as_deref())?;
    let elsewhere = crate::elsewhere::beside(&looking, &what.stream, &[id])?;
    let entries = looking.image.entries();
    let entry = entries.iter().find(|entry| entry.id == id);
    let account = entry.map(|entry| entry.account.to_string()).unwrap_or_default();
    let of = entry.map_or(0, |entry| entry.stats.messages());
    let exported = table_of(out, what, account, of, progress, &mut |show| {
        dump::dump_of(&mut looking, id, what, show)
    })?;
    Ok(Exported { elsewhere, ..exported })
}

/// Shows messages to what it is given.
pub(crate) type ShowAll<'a> = &'a mut dyn FnMut(&mut dyn FnMut(Shown<'_>) -> ControlFlow<()>) -> Result<dump::Dumped>;

/// Writes what `show_all` shows to a table; of so many messages, as far as is known.
pub(crate) fn table_of(
    out: &Path,
    what: &dump::Options,
    account: String,
    of: u64,
    progress: Option<OpeningProgress>,
    show_all: ShowAll<'_>,
) -> Result<Exported> {
    let failed = |error| Error::Output {
        path: out.to_path_buf(),
        error,
    };
    let mut exported = Exported {
        account,
        stream: what.stream.clone(),
        format: Format::Parquet,
        messages: 0,
        first_seq: 0,
        last_seq: 0,
        consumers: Vec::new(),
        damaged: Vec::new(),
        damaged_messages: 0,
        lost: 0,
        lost_ranges: Vec::new(),
        offline: None,
        elsewhere: 0,
    };
    let mut table = Table::begin(out).map_err(failed)?;
    let mut outcome = Ok(());
    show_all(&mut |shown| {
        match shown {
            Shown::Message(message) => {
                outcome = table.message(message);
                if exported.messages == 0 {
                    exported.first_seq = message.seq;
                }
                exported.last_seq = message.seq;
                exported.messages += 1;
                if exported.messages.is_multiple_of(PROGRESS_STEP)
                    && let Some(progress) = &progress
                {
                    progress(&exported.stream, exported.messages, of.max(exported.messages));
                }
            }
            Shown::Lost(first, last, _) => exported.note_damaged_range(first, last),
            Shown::Offline(why) => exported.offline = Some(why.to_owned()),
        }
        match outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    outcome.and_then(|()| table.finish()).map_err(failed)?;
    Ok(exported)
}

/// Where messages go.
enum Sink<'a> {
    Folder(Folder<'a>),
    Lines(Lines<'a>),
}

impl Sink<'_> {
    fn message(&mut self, message: &Message) -> io::Result<()> {
        match self {
            Self::Folder(folder) => folder.message(message),
            Self::Lines(lines) => lines.message(message),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Folder(folder) => folder.finish(),
            Self::Lines(lines) => lines.finish(),
        }
    }
}

/// The ranges that a stream has lost and nobody has settled.
fn open_losses(ledger: &Ledger) -> Vec<(Seq, Seq)> {
    let losses = ledger
        .losses()
        .iter()
        .filter(|loss| ledger.unsettled() > 0 && !loss.settled);
    losses.map(|loss| (loss.first, loss.last)).collect()
}

fn write(stream: &mut Stream, out: &Path, options: &Options, progress: Option<OpeningProgress>) -> Result<Exported> {
    let failed = |error| Error::Output {
        path: out.to_path_buf(),
        error,
    };
    let begun = Reading::begin(stream, !options.no_consumers).map_err(Error::Unreadable)?;
    let config = stream.config().clone();
    let Begun {
        state,
        consumers,
        mut reading,
    } = begun;
    let mut exported = Exported {
        account: stream.account().to_string(),
        stream: stream.name().to_string(),
        format: options.format,
        messages: 0,
        first_seq: state.first_seq,
        last_seq: state.last_seq,
        consumers: consumers.iter().map(|consumer| consumer.config.name.clone()).collect(),
        damaged: Vec::new(),
        damaged_messages: 0,
        lost: stream.ledger().unsettled(),
        lost_ranges: open_losses(stream.ledger()),
        offline: None,
        elsewhere: 0,
    };
    let of = state.messages;
    let sink = match options.format {
        Format::Backup => Folder::begin(out, &config, state, &consumers).map(Sink::Folder),
        Format::Jsonl => Lines::begin(out, config, Some(stream.created()), state, consumers).map(Sink::Lines),
        // It has a way of its own.
        Format::Parquet => Err(io::ErrorKind::Unsupported.into()),
    };
    let mut sink = sink.map_err(failed)?;
    loop {
        let from = reading.position();
        let Some(portion) = reading.next(stream).map_err(Error::Unreadable)? else {
            break;
        };
        for message in &portion.messages {
            sink.message(message).map_err(failed)?;
        }
        exported.messages += portion.messages.len() as u64;
        let damaged = reading.damaged(stream, from, &portion).map_err(Error::Unreadable)?;
        exported.note_damaged(&damaged);
        if let Some(progress) = &progress {
            progress(&exported.stream, exported.messages, of);
        }
    }
    sink.finish().map_err(failed)?;
    Ok(exported)
}
