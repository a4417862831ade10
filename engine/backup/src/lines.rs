//! A stream as lines of JSON, for people and their tools: the first line is the stream without its messages, then comes a
//! line for each message, in the order of their sequences, then one that says that this is the end.
//!
//! ```text
//! {"format":"weir-stream","version":1,"config":{…},"created":"…","state":{…},"consumers":[{"config":{…},"state":{…}}]}
//! {"seq":1,"time":"2026-11-27T21:00:00.123456789Z","subject":"orders.eu","headers":"TkFUUy8xLjANCg0K","data":"aGk="}
//! {"end":true}
//! ```
//!
//! Headers (the whole block) and data are base64; headers are left out where there are none. A subject that is no UTF-8 stands as
//! base64 in `subject_base64`.

use std::borrow::Cow;
use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use weir_engine::json::{format_time, parse_time};
use weir_engine::stream::{Message, StreamConfig};
use weir_engine::{NanoTime, Seq};

use crate::archive::{BackupConsumer, BackupState, MessageLimits, broken, check_message};

/// What the first line says that it begins.
pub const FORMAT: &str = "weir-stream";
/// The version of the format.
pub const VERSION: u32 = 1;
/// The last line.
pub const END: &[u8] = b"{\"end\":true}\n";

/// The first line: a stream without its messages.
#[derive(Debug, Deserialize, Serialize)]
pub struct Head {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The stream's configuration.
    pub config: StreamConfig,
    /// When it was made, by RFC 3339; empty if that is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created: String,
    /// What it held when this was written.
    #[serde(default)]
    pub state: BackupState,
    /// Its consumers, with their names in their configurations.
    #[serde(default)]
    pub consumers: Vec<BackupConsumer>,
}

/// A line behind the first.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A message.
    Message(Message),
    /// Nothing follows.
    End,
}

#[derive(Deserialize, Serialize)]
struct MessageLine<'a> {
    #[serde(default)]
    seq: Seq,
    #[serde(default, borrow)]
    time: Cow<'a, str>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    subject: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    subject_base64: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    headers: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    data: Cow<'a, str>,
    #[serde(default, skip_serializing)]
    end: bool,
}

impl Head {
    /// Of a stream with that configuration, which was made then.
    pub fn new(
        config: StreamConfig,
        created: Option<NanoTime>,
        state: BackupState,
        consumers: Vec<BackupConsumer>,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            config,
            created: created.map(|time| format_time(Some(time))).unwrap_or_default(),
            state,
            consumers,
        }
    }

    /// Reads the first line.
    ///
    /// # Errors
    /// It is none, or one of a later version.
    pub fn parse(line: &[u8]) -> io::Result<Self> {
        let head: Self = serde_json::from_slice(line).map_err(|error| broken(format!("line 1: {error}")))?;
        if head.format != FORMAT {
            return Err(broken(format!(
                "line 1: the format is {:?}, not {FORMAT:?}",
                head.format
            )));
        }
        if head.version != VERSION {
            let found = head.version;
            return Err(broken(format!(
                "line 1: version {found} is not known here, only {VERSION}"
            )));
        }
        head.state.check()?;
        Ok(head)
    }

    /// When the stream was made, if that is said.
    pub fn created(&self) -> Option<NanoTime> {
        parse_time(&self.created).ok().flatten()
    }

    /// The line, with its end.
    pub fn to_line(&self) -> Vec<u8> {
        // All of it has a form in JSON.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// Adds the line of a message to `out`, with its end.
pub fn put_message(message: &Message, out: &mut Vec<u8>) {
    let text = std::str::from_utf8(&message.subject).ok();
    let line = MessageLine {
        seq: message.seq,
        time: format_time(Some(message.time)).into(),
        subject: text.map(Cow::Borrowed),
        subject_base64: text.is_none().then(|| BASE64_STANDARD.encode(&message.subject).into()),
        headers: (!message.headers.is_empty()).then(|| BASE64_STANDARD.encode(&message.headers).into()),
        data: BASE64_STANDARD.encode(&message.payload).into(),
        end: false,
    };
    // Numbers and texts are written to memory.
    let _ = serde_json::to_writer(&mut *out, &line);
    out.push(b'\n');
}

/// Reads the line of that number behind the first. No message has more than `max_payload` bytes.
///
/// # Errors
/// It makes no sense, or no stream can have such a message.
pub fn parse_line(line: &[u8], number: u64, max_payload: u64) -> io::Result<Line> {
    let failed = |why: &dyn std::fmt::Display| broken(format!("line {number}: {why}"));
    let line: MessageLine<'_> = serde_json::from_slice(line).map_err(|error| failed(&error))?;
    if line.end {
        return Ok(Line::End);
    }
    let decode = |text: &str| BASE64_STANDARD.decode(text).map(Bytes::from);
    let subject = match (line.subject, line.subject_base64) {
        (Some(text), None) => Ok(text.into_owned().into()),
        (None, Some(text)) => decode(&text).map_err(|error| failed(&format_args!("subject_base64: {error}"))),
        _ => Err(failed(&"either subject or subject_base64 is needed")),
    };
    let time: Option<NanoTime> = parse_time(&line.time).map_err(|error| failed(&error))?;
    let message = Message {
        seq: line.seq,
        time: time.unwrap_or(0),
        subject: subject?,
        headers: decode(line.headers.as_deref().unwrap_or_default())
            .map_err(|error| failed(&format_args!("headers: {error}")))?,
        payload: decode(&line.data).map_err(|error| failed(&format_args!("data: {error}")))?,
    };
    if message.seq == 0 {
        return Err(failed(&"a message needs a sequence"));
    }
    let limits = MessageLimits {
        max_payload,
        max_msg_size: None,
    };
    check_message(&message, &limits).map_err(|error| failed(&error))?;
    Ok(Line::Message(message))
}

#[cfg(test)]
mod tests;
