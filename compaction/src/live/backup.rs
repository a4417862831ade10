//! Backups of a running server's streams, as `nats stream backup` and `restore` make them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use weir_engine::NanoTime;
use weir_engine::json::parse_time;

use super::lines::{count, restore_lines};
use super::lost::{Losses, ranges_of};
use super::{Server, ask, failed, refused};
use crate::error::{Error, Result};
use crate::export::{Exported, Format, Output};
use crate::import::{ARCHIVE, DESCRIPTION};

/// Bytes of a piece.
const CHUNK: usize = 128 << 10;
/// The status with which a backup ends well.
const ENDS_WELL: u16 = 204;

/// A backup that was taken, and what is to be known of it besides.
pub(super) struct Taken {
    /// Configuration and state, as they stand beside a backup.
    pub description: Value,
    /// When the stream was made, if the server says so.
    pub created: Option<NanoTime>,
    consumers: Vec<String>,
    /// What the stream had lost before.
    before: Losses,
    /// What it has lost now: the server notes a damaged message when it meets it.
    after: Losses,
}

impl Taken {
    /// What the report says of it, as a backup.
    pub fn exported(&self, stream: &str) -> Exported {
        let state = &self.description["state"];
        let number = |field: &str| state[field].as_u64().unwrap_or(0);
        let (first_seq, last_seq) = (number("first_seq"), number("last_seq"));
        let met = self.after.newer_than(&self.before, first_seq, last_seq);
        // Beyond those that are listed it is only counted.
        let unlisted = self.after.total - self.after.total.min(self.before.total);
        let (lost, lost_ranges) = match self.before.are_open() {
            true => (self.before.open(), ranges_of(&self.before.listed)),
            false => (0, Vec::new()),
        };
        Exported {
            account: String::new(),
            stream: stream.to_owned(),
            format: Format::Backup,
            messages: number("messages"),
            first_seq,
            last_seq,
            consumers: self.consumers.clone(),
            damaged: ranges_of(&met),
            damaged_messages: (met.len() as u64).max(unlisted),
            lost,
            lost_ranges,
            offline: None,
            elsewhere: 0,
        }
    }
}

/// Writes a stream as a backup into a folder that is not there, or is empty. `progress` is told of the bytes that came.
///
/// # Errors
/// If the server does not answer or refuses it, it breaks off, or the folder cannot be written. Then nothing is left of it.
pub fn backup(
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
    let mut output = Output::default();
    output.folder(out).map_err(output_failed)?;
    let path = out.join(ARCHIVE);
    let mut archive = output.file(&path).map_err(output_failed)?;
    let taken = fetch(server, stream, no_consumers, out, &mut archive, progress)?;
    let finish = || -> std::io::Result<()> {
        archive.sync_all()?;
        let mut file = output.file(&out.join(DESCRIPTION))?;
        file.write_all(&serde_json::to_vec_pretty(&taken.description)?)?;
        file.sync_all()?;
        File::open(out)?.sync_all()?;
        output.finish();
        Ok(())
    };
    finish().map_err(output_failed)?;
    let mut exported = taken.exported(stream);
    if exported.is_damaged() {
        // The stream counts messages that are damaged.
        let mut archive = File::open(&path).map_err(|error| Error::source(&path, error))?;
        exported.messages = count(&mut archive, &path, &taken.description)?;
    }
    Ok(exported)
}

/// Has the server make a backup, and writes it to a file; `out` is what it is called.
///
/// # Errors
/// If the server does not answer or refuses it, it breaks off, or the file cannot be written.
pub(super) fn fetch(
    server: &Server,
    stream: &str,
    no_consumers: bool,
    out: &Path,
    archive: &mut File,
    progress: &mut dyn FnMut(u64),
) -> Result<Taken> {
    let output_failed = |error| Error::Output {
        path: out.to_path_buf(),
        error,
    };
    let consumers: Vec<String> = match no_consumers {
        true => Vec::new(),
        false => {
            let names = server.list(&format!("CONSUMER.NAMES.{stream}"), "consumers")?;
            let names = names.found.iter();
            names.filter_map(|name| Some(name.as_str()?.to_owned())).collect()
        }
    };
    let info = || server.ask(&format!("STREAM.INFO.{stream}"), &Value::Null);
    let before = info()?;
    let client = &server.client;
    let description = server.runtime.block_on(async {
        let inbox = client.new_inbox();
        let mut chunks = client.subscribe(inbox.clone()).await.map_err(failed)?;
        let body = json!({"deliver_subject": inbox, "no_consumers": no_consumers, "chunk_size": CHUNK});
        let call = format!("STREAM.SNAPSHOT.{stream}");
        let answer = ask(server, &call, &body).await?;
        if let Some(error) = refused(&call, &answer) {
            return Err(error);
        }
        let mut received = 0;
        while let Some(chunk) = server.unless_hindered(&call, chunks.next()).await? {
            if chunk.payload.is_empty() {
                let status = chunk.status.map(|status| status.as_u16());
                // A nats-server says nothing of a backup that fits into one piece.
                return match status == Some(ENDS_WELL) || (status.is_none() && received < CHUNK as u64) {
                    true => Ok(json!({"config": answer["config"], "state": answer["state"]})),
                    false => Err(failed(format_args!(
                        "the backup broke off: {}",
                        chunk
                            .description
                            .unwrap_or_else(|| "the server does not say why".to_owned())
                    ))),
                };
            }
            archive.write_all(&chunk.payload).map_err(output_failed)?;
            received += chunk.payload.len() as u64;
            progress(received);
            if let Some(reply) = chunk.reply {
                client.publish(reply, Bytes::new()).await.map_err(failed)?;
            }
        }
        Err(failed("the connection ended before the backup"))
    })?;
    let after = info()?;
    let created = before["created"].as_str();
    Ok(Taken {
        description,
        created: created.and_then(|created| parse_time(created).ok().flatten()),
        consumers,
        before: Losses::of(&before["state"]),
        after: Losses::of(&after["state"]),
    })
}

/// Brings a backup, or a file with lines of JSON, into a server, under another name if there is one; what the server says of the stream then. `progress` is told of
/// the bytes that went, and of how many.
///
/// # Errors
/// If the folder is no backup, or the server does not answer or refuses it. Nothing is there then.
pub fn restore(server: &Server, from: &Path, name: Option<&str>, progress: &mut dyn FnMut(u64, u64)) -> Result<Value> {
    if from.is_file() {
        return restore_lines(server, from, name, progress);
    }
    let not_a_source = || Error::NotASource {
        path: from.to_path_buf(),
    };
    let description = fs::read(from.join(DESCRIPTION)).map_err(|_| not_a_source())?;
    let mut description: Value = serde_json::from_slice(&description).map_err(|_| not_a_source())?;
    if let Some(name) = name {
        description["config"]["name"] = name.into();
    }
    if !description["config"]["name"].is_string() {
        return Err(not_a_source());
    }
    let path = from.join(ARCHIVE);
    let source = |error| Error::source(&path, error);
    let mut archive = File::open(&path).map_err(source)?;
    let of = archive.metadata().map_err(source)?.len();
    send(server, &description, &mut archive, &path, of, progress)
}

/// Sends a backup of so many bytes; `path` is what it is called.
///
/// # Errors
/// If it cannot be read, or the server does not answer or refuses it.
pub(super) fn send(
    server: &Server,
    description: &Value,
    archive: &mut File,
    path: &Path,
    of: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Value> {
    let source = |error| Error::source(path, error);
    let name = description["config"]["name"].as_str().unwrap_or_default();
    let begun = server.ask(&format!("STREAM.RESTORE.{name}"), description)?;
    let to = begun["deliver_subject"].as_str().unwrap_or_default().to_owned();
    let client = &server.client;
    server.runtime.block_on(async {
        let mut piece = vec![0; CHUNK];
        let mut done = 0;
        loop {
            let len = archive.read(&mut piece).map_err(source)?;
            // An empty one is the end.
            let payload = Bytes::copy_from_slice(&piece[..len]);
            let asked = client.request(to.clone(), payload);
            let answer = server
                .unless_hindered("a piece of the backup", asked)
                .await?
                .map_err(failed)?;
            if len == 0 || !answer.payload.is_empty() {
                let answer: Value = serde_json::from_slice(&answer.payload).map_err(failed)?;
                return match refused("the backup", &answer) {
                    Some(error) => Err(error),
                    None => Ok(answer),
                };
            }
            done += len as u64;
            progress(done, of);
        }
    })
}
