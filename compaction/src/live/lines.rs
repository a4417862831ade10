//! Streams of a running server as lines of JSON: by way of a backup, which is of one moment and has the consumers.
//!
//! The backup lies in a file without a name meanwhile, beside the output or in the folder for temporary files: whatever ends the tool
//! leaves nothing of it behind.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use weir_backup::{BackupConsumer, BackupState, Contents, Decoder, Plan, Step, Writer};
use weir_engine::json::format_time;
use weir_engine::stream::validate::ServerLimits;
use weir_engine::stream::{Message, StreamConfig};
use weir_engine::{NanoTime, Record, Seq};

use super::backup::{fetch, send};
use super::{Server, failed};
use crate::error::{Error, Result};
use crate::export::{Exported, Format, Lines, STANDARD_OUTPUT};
use crate::image::now;
use crate::import::LineSource;

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// Writes a stream as lines of JSON to a file that is not there, or with `-` to the standard output. `progress` is told of the bytes
/// that came.
///
/// # Errors
/// If the server does not answer or refuses it, its backups are those of an older nats-server, it breaks off, or the file cannot be
/// written. Then nothing is left of it.
pub fn export_lines(
    server: &Server,
    stream: &str,
    no_consumers: bool,
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Exported> {
    let output_failed = |error| Error::Output {
        path: out.to_path_buf(),
        error,
    };
    // What is there already is refused before the work.
    if out != Path::new(STANDARD_OUTPUT) && out.exists() {
        let error = io::Error::new(ErrorKind::AlreadyExists, "it is there: nothing is written over");
        return Err(output_failed(error));
    }
    let (path, mut spool) = spool(match out == Path::new(STANDARD_OUTPUT) {
        true => None,
        false => Some(out),
    })?;
    let taken = fetch(server, stream, no_consumers, &path, &mut spool, progress)?;
    let description = &taken.description;
    let config: StreamConfig = serde_json::from_value(description["config"].clone()).map_err(failed)?;
    let state: BackupState = serde_json::from_value(description["state"].clone()).map_err(failed)?;
    // Consumers may come behind the messages, and stand before them in the lines.
    let mut messages = 0;
    let contents = read(&mut spool, &config, &state, &mut |portion| {
        messages += portion.len() as u64;
        Ok(())
    })
    .map_err(|error| Error::source(&path, error))?;
    let last = contents.last;
    let consumers: Vec<BackupConsumer> = contents
        .consumers
        .into_iter()
        .map(|consumer| BackupConsumer::of(consumer, last))
        .collect();
    let exported = Exported {
        format: Format::Jsonl,
        messages,
        ..taken.exported(stream)
    };
    let mut lines =
        Lines::begin(out, config.clone(), taken.created, state.clone(), consumers).map_err(output_failed)?;
    let written = read(&mut spool, &config, &state, &mut |portion| {
        portion.iter().try_for_each(|message| lines.message(message))
    });
    written.map_err(output_failed)?;
    lines.finish().map_err(output_failed)?;
    Ok(exported)
}

/// How many messages a backup has.
///
/// # Errors
/// If it makes no sense.
pub(super) fn count(file: &mut File, path: &Path, description: &Value) -> Result<u64> {
    let config: StreamConfig = serde_json::from_value(description["config"].clone()).map_err(failed)?;
    let state: BackupState = serde_json::from_value(description["state"].clone()).map_err(failed)?;
    let mut messages = 0;
    read(file, &config, &state, &mut |portion| {
        messages += portion.len() as u64;
        Ok(())
    })
    .map_err(|error| Error::source(path, error))?;
    Ok(messages)
}

/// Brings lines of JSON into a server, under another name if there is one; what the server says of the stream then. When the stream was
/// made is not told to it: a backup does not say that. `progress` is told of the bytes that went, and of how many.
///
/// # Errors
/// If the lines make no sense or end too early, or the server does not answer or refuses them. Nothing is there then.
pub(super) fn restore_lines(
    server: &Server,
    from: &Path,
    name: Option<&str>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Value> {
    let broken = |error| Error::source(from, error);
    let mut state = BackupState::default();
    // Once for what there is, and once for the work.
    let mut lines = LineSource::at(from)?;
    let mut messages = 0;
    let (mut first, mut last): (Option<(Seq, NanoTime)>, Option<Message>) = (None, None);
    loop {
        let mut portion = lines.portion().map_err(broken)?;
        messages += portion.len() as u64;
        first = first.or(portion.first().map(|message| (message.seq, message.time)));
        match portion.pop() {
            Some(message) => last = Some(message),
            None => break,
        }
    }
    let mut lines = LineSource::at(from)?;
    let mut head = lines.take_head();
    let last_seq: Seq = last.as_ref().map_or(0, |message| message.seq);
    std::mem::swap(&mut state, &mut head.state);
    if let Some(last) = last.filter(|_| last_seq > state.last_seq) {
        (state.last_seq, state.last_ts) = (last.seq, format_time(Some(last.time)));
    }
    // Lines that somebody wrote by hand need not say what the stream held, and a backup must.
    if state.first_seq == 0
        && let Some((seq, time)) = first
    {
        (state.first_seq, state.first_ts) = (seq, format_time(Some(time)));
    }
    for time in [&mut state.first_ts, &mut state.last_ts] {
        if time.is_empty() {
            *time = format_time(None);
        }
    }
    (state.messages, state.consumer_count) = (messages, head.consumers.len());
    let mut config = serde_json::to_value(&head.config).map_err(failed)?;
    if let Some(name) = name {
        config["name"] = name.into();
    }
    let (path, mut spool) = spool(None)?;
    let spool_failed = |error| Error::Output {
        path: path.clone(),
        error,
    };
    let mut writer = Writer::new(&state, now());
    for consumer in &head.consumers {
        writer.consumer(consumer, now()).map_err(spool_failed)?;
    }
    loop {
        let portion = lines.portion().map_err(broken)?;
        if portion.is_empty() {
            break;
        }
        portion.iter().for_each(|message| writer.message(message));
        spool.write_all(&writer.take()).map_err(spool_failed)?;
    }
    spool.write_all(&writer.finish()).map_err(spool_failed)?;
    let of = spool.stream_position().map_err(spool_failed)?;
    spool.rewind().map_err(spool_failed)?;
    let description = json!({"config": config, "state": state});
    send(server, &description, &mut spool, &path, of, progress)
}

/// A file without a name: beside another, or where temporary files are. What it was called is for errors.
fn spool(beside: Option<&Path>) -> Result<(PathBuf, File)> {
    let name = format!(".weir-{}.stream.tar.s2", std::process::id());
    let path = match beside {
        Some(path) => path.with_file_name(name),
        None => std::env::temp_dir().join(name),
    };
    let made = || {
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    };
    match made() {
        Ok(file) => Ok((path, file)),
        Err(error) => Err(Error::Output { path, error }),
    }
}

/// Reads a backup from its beginning, and hands its messages on.
fn read(
    file: &mut File,
    config: &StreamConfig,
    state: &BackupState,
    take: &mut dyn FnMut(&[Message]) -> io::Result<()>,
) -> io::Result<Contents> {
    file.rewind()?;
    let mut decoder = Decoder::trusting(Plan {
        config: config.clone(),
        original: config.name.clone(),
        told: state.clone(),
        limits: ServerLimits::default(),
        max_payload: Record::BODY_MAX as u64,
        now: now(),
    });
    let mut piece = vec![0; PIECE];
    loop {
        let len = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        decoder.push(&piece[..len]);
        loop {
            match decoder.step()? {
                Step::More => break,
                Step::Begin { .. } => {}
                Step::Fill {
                    messages,
                    removals_follow: false,
                } => take(&messages)?,
                Step::Fill { .. } | Step::Remove(_) => {
                    return Err(io::Error::new(
                        ErrorKind::Unsupported,
                        "backups of this server are those of a nats-server before 2.15: `weir export` makes one, and `weir import` brings \
                         it into a store, from where lines can be exported",
                    ));
                }
            }
        }
    }
    decoder.finish().map(|(contents, _)| contents)
}
