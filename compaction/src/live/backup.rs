//! Backups of a running server's streams, as `nats stream backup` and `restore` make them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use weir_engine::Seq;

use super::{Server, ask, failed, refusal};
use crate::error::{Error, Result};
use crate::export::{Exported, Format, Output};
use crate::import::{ARCHIVE, DESCRIPTION};

/// Bytes of a piece.
const CHUNK: usize = 128 << 10;
/// The status with which a backup ends well.
const ENDS_WELL: u16 = 204;

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
    let consumers: Vec<String> = match no_consumers {
        true => Vec::new(),
        false => {
            let names = server.list(&format!("CONSUMER.NAMES.{stream}"), "consumers", &json!({}))?;
            names
                .iter()
                .filter_map(|name| Some(name.as_str()?.to_owned()))
                .collect()
        }
    };
    let mut output = Output::default();
    output.folder(out).map_err(output_failed)?;
    let mut archive = output.file(&out.join(ARCHIVE)).map_err(output_failed)?;
    let client = &server.client;
    let description = server.runtime.block_on(async {
        let inbox = client.new_inbox();
        let mut chunks = client.subscribe(inbox.clone()).await.map_err(failed)?;
        let body = json!({"deliver_subject": inbox, "no_consumers": no_consumers, "chunk_size": CHUNK});
        let call = format!("STREAM.SNAPSHOT.{stream}");
        let answer = ask(client, &call, &body).await?;
        if let Some(why) = refusal(&answer) {
            return Err(failed(format_args!("the server refuses {call}: {why}")));
        }
        let mut received = 0;
        while let Some(chunk) = chunks.next().await {
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
    let finish = || -> std::io::Result<()> {
        archive.sync_all()?;
        let mut file = output.file(&out.join(DESCRIPTION))?;
        file.write_all(&serde_json::to_vec_pretty(&description)?)?;
        file.sync_all()?;
        File::open(out)?.sync_all()?;
        output.finish();
        Ok(())
    };
    finish().map_err(output_failed)?;
    let state = &description["state"];
    let number = |field: &str| state[field].as_u64().unwrap_or(0);
    let lost: Vec<Seq> = state["lost"]["msgs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect();
    Ok(Exported {
        account: String::new(),
        stream: stream.to_owned(),
        format: Format::Backup,
        messages: number("messages"),
        first_seq: number("first_seq"),
        last_seq: number("last_seq"),
        consumers,
        damaged: Vec::new(),
        damaged_messages: 0,
        lost: lost.len() as u64,
        offline: None,
    })
}

/// Brings a backup into a server, under another name if there is one; what the server says of the stream then. `progress` is told of
/// the bytes that went, and of how many.
///
/// # Errors
/// If the folder is no backup, or the server does not answer or refuses it. Nothing is there then.
pub fn restore(server: &Server, from: &Path, name: Option<&str>, progress: &mut dyn FnMut(u64, u64)) -> Result<Value> {
    let not_a_source = || Error::NotASource {
        path: from.to_path_buf(),
    };
    let description = fs::read(from.join(DESCRIPTION)).map_err(|_| not_a_source())?;
    let mut description: Value = serde_json::from_slice(&description).map_err(|_| not_a_source())?;
    if let Some(name) = name {
        description["config"]["name"] = name.into();
    }
    let name = description["config"]["name"]
        .as_str()
        .ok_or_else(not_a_source)?
        .to_owned();
    let path = from.join(ARCHIVE);
    let source = |error| Error::source(&path, error);
    let mut archive = File::open(&path).map_err(source)?;
    let of = archive.metadata().map_err(source)?.len();
    let begun = server.ask(&format!("STREAM.RESTORE.{name}"), &description)?;
    let to = begun["deliver_subject"].as_str().unwrap_or_default().to_owned();
    let client = &server.client;
    server.runtime.block_on(async {
        let mut piece = vec![0; CHUNK];
        let mut done = 0;
        loop {
            let len = archive.read(&mut piece).map_err(source)?;
            // An empty one is the end.
            let payload = Bytes::copy_from_slice(&piece[..len]);
            let answer = client.request(to.clone(), payload).await.map_err(failed)?;
            if len == 0 || !answer.payload.is_empty() {
                let answer: Value = serde_json::from_slice(&answer.payload).map_err(failed)?;
                return match refusal(&answer) {
                    Some(why) => Err(failed(format_args!("the server refuses the backup: {why}"))),
                    None => Ok(answer),
                };
            }
            done += len as u64;
            progress(done, of);
        }
    })
}
