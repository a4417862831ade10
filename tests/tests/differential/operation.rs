//! What is asked of both servers.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One thing to do, the same on both servers.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The stream it is about; empty if it is about the account.
    pub stream: String,
    pub action: Action,
}

#[derive(Clone, Debug)]
pub enum Action {
    /// A message is published with a reply subject, and what comes back is compared.
    Request(Request),
    /// As [`Action::Request`]; the consumer it creates is described and deleted at once, for it would go by itself some
    /// seconds later, on each server at its own time.
    Ephemeral(Request),
    /// The reply subject of a message that this consumer delivered gets `request`'s payload. Which of them: `pick`,
    /// modulo their number.
    Ack {
        consumer: String,
        pick: usize,
        payload: Vec<u8>,
    },
}

#[derive(Clone, Debug)]
pub struct Request {
    pub subject: String,
    /// Without the first and the last line.
    pub headers: Vec<(String, String)>,
    pub payload: Vec<u8>,
    pub expect: Expect,
}

/// When the answer is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// After one message.
    One,
    /// After one message, which may well not come.
    Perhaps,
    /// After that many messages, or a status other than a heartbeat.
    Upto(usize),
}

impl Operation {
    /// A call of the API.
    pub fn api(stream: &str, call: impl fmt::Display, payload: impl Into<Vec<u8>>) -> Operation {
        Operation::request(stream, format!("$JS.API.{call}"), payload, Expect::One)
    }

    pub fn request(stream: &str, subject: impl Into<String>, payload: impl Into<Vec<u8>>, expect: Expect) -> Operation {
        Operation {
            stream: stream.to_owned(),
            action: Action::Request(Request {
                subject: subject.into(),
                headers: Vec::new(),
                payload: payload.into(),
                expect,
            }),
        }
    }

    pub fn with_headers(mut self, headers: Vec<(String, String)>) -> Operation {
        if let Action::Request(request) | Action::Ephemeral(request) = &mut self.action {
            request.headers = headers;
        }
        self
    }

    /// Whether it asks for information, and changes nothing.
    pub fn only_looks(&self) -> bool {
        let kind = self.kind();
        kind == "INFO" || kind.ends_with(".INFO") || kind.ends_with(".LIST") || kind.ends_with(".NAMES")
    }

    /// What kind of operation it is, for telling differences apart.
    pub fn kind(&self) -> String {
        match &self.action {
            Action::Request(request) | Action::Ephemeral(request) => request.kind(),
            Action::Ack { payload, .. } => {
                let word = payload.split(|byte| *byte == b' ').next().unwrap_or_default();
                format!("ACK {}", String::from_utf8_lossy(word))
            }
        }
    }

    pub fn subject(&self) -> &str {
        match &self.action {
            Action::Request(request) | Action::Ephemeral(request) => &request.subject,
            Action::Ack { .. } => "",
        }
    }
}

impl Request {
    fn kind(&self) -> String {
        let Some(call) = self.subject.strip_prefix("$JS.API.") else {
            return "publish".to_owned();
        };
        let words = call
            .split('.')
            .take_while(|word| word.bytes().all(|byte| byte.is_ascii_uppercase()));
        words.collect::<Vec<_>>().join(".")
    }

    /// The header block; empty without headers.
    pub fn block(&self) -> Vec<u8> {
        if self.headers.is_empty() {
            return Vec::new();
        }
        let lines: String = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        format!("NATS/1.0\r\n{lines}\r\n").into_bytes()
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.action {
            Action::Request(request) => write!(f, "{request}"),
            Action::Ephemeral(request) => write!(f, "{request} (then info, delete)"),
            Action::Ack {
                consumer,
                pick,
                payload,
            } => write!(
                f,
                "ack of {}.{consumer}'s delivery {pick}: {}",
                self.stream,
                shown(payload)
            ),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.subject)?;
        for (name, value) in &self.headers {
            write!(f, "[{name}: {value}] ")?;
        }
        f.write_str(&shown(&self.payload))
    }
}

/// Bytes for people: as text if they are, and not all of it if it is long.
pub fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 1200;
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("base64 {}", STANDARD.encode(bytes)),
    };
    match text.char_indices().nth(LONGEST) {
        None => text,
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], bytes.len()),
    }
}
