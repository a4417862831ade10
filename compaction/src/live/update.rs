//! What a stream's metadata say of its storage, changed while it goes on: a server of Weir's carries it out.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use weir_engine::Compression;
use weir_engine::stream::settings::BackendKind;

use super::{Server, failed, failed_for};
use crate::error::{Error, Result};

/// The key of a stream's metadata that says where its messages are.
const KEY: &str = "weir.backend";
/// How long between two looks at a stream that goes over.
const LOOK: Duration = Duration::from_millis(250);

/// After how long without a message more the waiting ends.
const STALLED: Duration = Duration::from_secs(60);

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Updated {
    /// The stream.
    pub stream: String,
    /// The key of its metadata.
    pub key: String,
    /// Its value before; `None` if it had none.
    pub before: Option<String>,
    /// Its value now.
    pub now: String,
    /// Messages that it has.
    pub messages: u64,
    /// What is to be known besides.
    pub text: String,
}

/// Has a stream go over to another backend, and waits until it is there. `progress` is told how many messages are copied, and of how
/// many, where the server says so.
///
/// # Errors
/// If the server does not answer or refuses it, is none of Weir's, or says that the stream stays where it was; or nothing more is copied for
/// a minute.
pub fn move_to(
    server: &Server,
    stream: &str,
    to: BackendKind,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Updated> {
    let mut updated = set(server, stream, KEY, &to.to_string())?;
    let (mut copied, mut since) = (None, Instant::now());
    loop {
        let info = info(server, stream)?;
        updated.messages = info["state"]["messages"].as_u64().unwrap_or(0);
        let moving = &info["moving"];
        if moving.is_null() {
            updated.text = format!("its messages are in {to}");
            return Ok(updated);
        }
        if let Some(why) = moving["why"].as_str() {
            let text = format!("stream {stream} stays where it was: {why}");
            return Err(match moving["damaged"].as_bool() {
                Some(true) => Error::ServerDamaged { text },
                // The server goes on trying.
                _ => failed_for(
                    format_args!(
                        "{text}. The server tries it again each minute, until that is mended or {KEY} is {} again",
                        moving["from"].as_str().unwrap_or_default()
                    ),
                    "mend what it names, or set the backend that it has",
                ),
            });
        }
        let done = moving["done"].as_u64();
        if done != copied {
            (copied, since) = (done, Instant::now());
        } else if since.elapsed() > STALLED {
            return Err(failed(format_args!(
                "stream {stream} is not in {to} yet, and for {} s nothing more of it was copied: its log or another stream's may wait for room on                  the disk (the server's log and /healthz say why). The server goes on by itself, and `weir inspect` tells how far it is",
                STALLED.as_secs()
            )));
        }
        progress(stream, moving["done"].as_u64().unwrap_or(0), updated.messages);
        std::thread::sleep(LOOK);
    }
}

/// Has the messages of a stream compressed otherwise.
///
/// # Errors
/// If the server does not answer or refuses it, or is none of Weir's.
pub fn compress(server: &Server, stream: &str, compression: Compression) -> Result<Updated> {
    let mut updated = set(server, stream, "weir.compression", &compression.to_string())?;
    updated.text = "new messages are compressed like that, and the server rewrites the others by and by".to_owned();
    Ok(updated)
}

fn info(server: &Server, stream: &str) -> Result<Value> {
    server.ask(&format!("STREAM.INFO.{stream}"), &Value::Null)
}

fn set(server: &Server, stream: &str, key: &str, value: &str) -> Result<Updated> {
    let info = info(server, stream)?;
    let mut config = info["config"].clone();
    if server.weir_version()?.is_none() {
        return Err(failed_for(
            format_args!(
                "{} is no server of Weir's: it has one backend, and takes {key} for a word like any other",
                server.url()
            ),
            "name a server of Weir's; `weir export` and `weir import` take the stream there",
        ));
    }
    let before = config["metadata"][key].as_str().map(str::to_owned);
    match config["metadata"].as_object_mut() {
        Some(metadata) => drop(metadata.insert(key.to_owned(), value.into())),
        None => config["metadata"] = json!({key: value}),
    }
    server.ask(&format!("STREAM.UPDATE.{stream}"), &config)?;
    Ok(Updated {
        stream: stream.to_owned(),
        key: key.to_owned(),
        before,
        now: value.to_owned(),
        messages: info["state"]["messages"].as_u64().unwrap_or(0),
        text: String::new(),
    })
}
