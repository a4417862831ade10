//! Moving streams to another backend, in place: sequences, times, headers, gaps and consumers stay as they are.
//!
//! The store moves each stream as a server does that is told to by the stream's metadata: what ends the process leaves the log it
//! had or the copy whole, and the next run begins the move anew. No limit of the stream is applied to what is moved.

use std::path::{Path, PathBuf};

use serde::Serialize;
use weir_backends::root::StoreDir;
use weir_engine::shard::snapshot::{StreamSnapshot, stream_key};
use weir_engine::store::OpeningProgress;
use weir_engine::stream::settings::BackendKind;
use weir_engine::{Kind, words};

use crate::beside::Beside;
use crate::chosen::{Chosen, chosen, is_broken};
use crate::error::{Error, Result};
use crate::import::Target;
use crate::taken::Taken;

/// What to move, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The backend: [`BackendKind::Segment`] or [`BackendKind::RocksDb`].
    pub to: BackendKind,
    /// Only the streams of this name.
    pub stream: Option<String>,
    /// Only the streams of this account.
    pub account: Option<String>,
}

/// What came of it. The JSON form of this is an interface: fields are added, never renamed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The folder of the store.
    pub path: PathBuf,
    /// The backend that the streams were to go to.
    pub to: BackendKind,
    /// The streams, in the order that they were moved in.
    pub streams: Vec<Converted>,
    /// Streams that were not looked at any more, because of what failed before them.
    pub not_tried: u64,
    /// How many things are wrong elsewhere in the store, where only some streams were asked for.
    pub elsewhere: u64,
    /// Bytes that the files of the store took before.
    pub disk_before: u64,
    /// Bytes that they take now.
    pub disk_after: u64,
    /// What of that was of streams, and what of journals, before.
    pub before: Taken,
    /// What it is now.
    pub after: Taken,
}

/// A stream that was to go over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Converted {
    /// Its account.
    pub account: String,
    /// Its name.
    pub name: String,
    /// The backend that it was in.
    pub from: BackendKind,
    /// What came of it.
    pub outcome: Outcome,
    /// How many messages it has; 0 if that cannot be told.
    pub messages: u64,
    /// Why it is where it was, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What came of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It went over.
    Moved,
    /// It was there already.
    Already,
    /// It is where it was: something of it is damaged, or it is offline.
    Damaged,
    /// It is where it was, for another reason.
    Failed,
}

impl Report {
    /// Whether each stream is where it was to go.
    pub fn is_done(&self) -> bool {
        let done = |stream: &Converted| matches!(stream.outcome, Outcome::Moved | Outcome::Already);
        self.not_tried == 0 && self.streams.iter().all(done)
    }

    /// Whether damage is all that kept streams where they were.
    pub fn is_damaged(&self) -> bool {
        let failed = |stream: &Converted| stream.outcome == Outcome::Failed;
        !self.is_done() && self.not_tried == 0 && !self.streams.iter().any(failed)
    }

    /// Lines, one for each stream. Ends with a newline.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for stream in &self.streams {
            let Converted {
                account, name, from, ..
            } = stream;
            let messages = words::count(stream.messages, "message");
            let why = stream.why.as_deref().unwrap_or_default();
            text += &match stream.outcome {
                Outcome::Moved => format!(
                    "{name} of {account}: {messages} went over from {from} to {}.\n",
                    self.to
                ),
                Outcome::Already => format!("{name} of {account}: {messages}, in {} already.\n", self.to),
                Outcome::Damaged | Outcome::Failed => {
                    format!("{name} of {account} is in {from} as before: {why}.\n")
                }
            };
        }
        if self.streams.is_empty() {
            text += "There is no stream to move.\n";
        }
        if self.not_tried > 0 {
            text += &crate::chosen::not_tried(self.not_tried);
        }
        text + &Taken::said(&self.before, &self.after) + &crate::elsewhere::told(self.elsewhere)
    }
}

/// Moves streams of the store in a directory: a server's store directory, or the folder `weir` in it. `progress` is told how many
/// messages of a stream are copied, and of how many.
///
/// # Errors
/// If there is no store, a server has it open, it cannot be read, it has no stream of the wanted name, or this program was built
/// without the backend. What fails for a stream is in the report: damage keeps that stream where it is, and the others go on;
/// anything else ends the work, and what was moved before stays moved.
pub fn convert(path: &Path, options: &Options, progress: Option<OpeningProgress>) -> Result<Report> {
    let dir = crate::key::find(path)?;
    dir.check_built_in(options.to).map_err(Error::Unreadable)?;
    let target = Target::open_existing(path, progress.clone())?;
    let before = Taken::of(&dir);
    let all = target.store().catalogue().all();
    let streams = chosen(&all, options.stream.as_deref(), options.account.as_deref())?;
    let mut report = Report {
        path: dir.root().to_path_buf(),
        to: options.to,
        streams: Vec::new(),
        not_tried: streams.len() as u64,
        elsewhere: match options.stream.is_some() || options.account.is_some() {
            true => crate::elsewhere::in_store(target.store(), &streams),
            false => 0,
        },
        disk_before: before.all(),
        disk_after: 0,
        before,
        after: Taken::default(),
    };
    for stream in &streams {
        report.not_tried -= 1;
        let converted = convert_one(&target, stream, options.to, progress.as_ref());
        let is_over = converted.outcome == Outcome::Failed;
        report.streams.push(converted);
        if is_over {
            break;
        }
    }
    target.close();
    for (converted, stream) in report.streams.iter_mut().zip(&streams) {
        if converted.outcome == Outcome::Moved
            && let Err(why) = check_moved(&dir, stream, options.to)
        {
            converted.outcome = Outcome::Failed;
            converted.why = Some(why);
        }
    }
    // Also of a copy that came to nothing, and of a move that was killed when all was done but this. If it cannot be had now, the next
    // start unlinks what is left, and RocksDB gives back by and by.
    let _ = dir.give_back();
    report.after = Taken::of(&dir);
    report.disk_after = report.after.all();
    Ok(report)
}

/// Does the same to a copy that it makes in `out`, and changes nothing in the store. What is broken off is there as `out` with
/// `.unfinished` behind its name, and the next run begins that anew.
///
/// # Errors
/// As those of [`convert`]; and if `out` is there and not empty, or cannot be written.
pub fn convert_to(path: &Path, out: &Path, options: &Options, progress: Option<OpeningProgress>) -> Result<Report> {
    let beside = Beside::begin(path, out, &mut |_, _, _| {})?;
    match convert(&beside.store(), options, progress) {
        Ok(mut report) => {
            beside.finish()?.path(&mut report.path);
            Ok(report)
        }
        Err(error) => beside.give_up(error),
    }
}

fn convert_one(target: &Target, stream: &Chosen, to: BackendKind, progress: Option<&OpeningProgress>) -> Converted {
    let store = target.store();
    let outcome = store.move_stream(&stream.account, &stream.name, to, &mut |done, of| {
        if let Some(progress) = progress {
            progress(&stream.name, done, of);
        }
    });
    let state = store
        .stream(&stream.account, &stream.name)
        .and_then(|stream| stream.state());
    let (outcome, why) = match outcome {
        Ok(true) => (Outcome::Moved, None),
        Ok(false) => (Outcome::Already, None),
        Err(error) if error.kind == Kind::Damaged || is_broken(stream) => (Outcome::Damaged, Some(error.message)),
        Err(error) => (Outcome::Failed, Some(error.message)),
    };
    Converted {
        account: stream.account.to_string(),
        name: stream.name.to_string(),
        from: stream.settings.backend,
        outcome,
        messages: state.map_or(0, |state| state.messages),
        why,
    }
}

/// Whether the catalogue on disk has a stream where it went: the store does not say how its last checkpoint went.
fn check_moved(dir: &StoreDir, stream: &Chosen, to: BackendKind) -> Result<(), String> {
    let look = || -> weir_engine::Result<_> {
        let json = dir
            .open_read_only(BackendKind::Segment)?
            .kv()
            .get(&stream_key(stream.id))?;
        // What makes no sense is not where it went.
        Ok(json.and_then(|json| serde_json::from_slice::<StreamSnapshot>(&json).ok()))
    };
    match look() {
        Ok(Some(saved)) if saved.settings.backend == to => Ok(()),
        Ok(_) => Err("the store's last checkpoint could not be written".to_owned()),
        Err(error) => Err(error.message),
    }
}
