//! Exporting: a stream of a closed store is written as a backup that nats-server restores, or as lines of JSON.

mod folder;
mod lines;
mod output;

use std::io;
use std::path::Path;

use serde::Serialize;
use weir_backup::{Begun, Reading};
use weir_engine::Seq;
use weir_engine::store::OpeningProgress;
use weir_engine::stream::{Message, Stream};

use crate::error::{Error, Result};
use crate::image::Looking;
use folder::Folder;
use lines::Lines;

/// Ranges of damaged messages that are told.
const DAMAGED_MAX: usize = 1000;

/// What a stream is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A folder as `nats stream backup` makes it.
    #[default]
    Backup,
    /// A file with lines of JSON.
    Jsonl,
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
    /// The stream's first sequence.
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
    /// Why the stream is offline, if it is; what could be read of it was written.
    pub offline: Option<String>,
}

impl Exported {
    /// Whether something is missing in what was written that the stream had.
    pub fn is_damaged(&self) -> bool {
        self.damaged_messages > 0 || self.lost > 0 || self.offline.is_some()
    }

    fn note_damaged(&mut self, seqs: &[Seq]) {
        for &seq in seqs {
            self.damaged_messages += 1;
            let ranges = self.damaged.len();
            match self.damaged.last_mut() {
                Some((_, last)) if *last + 1 == seq => *last = seq,
                _ if ranges < DAMAGED_MAX => self.damaged.push((seq, seq)),
                _ => {}
            }
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
    let mut looking = Looking::at(path, progress.clone())?;
    let id = looking.the_stream(&options.stream, options.account.as_deref())?;
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
        offline: None,
    };
    let of = state.messages;
    let sink = match options.format {
        Format::Backup => Folder::begin(out, &config, state, &consumers).map(Sink::Folder),
        Format::Jsonl => Lines::begin(out, config, stream.created(), state, consumers).map(Sink::Lines),
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
