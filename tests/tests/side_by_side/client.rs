//! A client that speaks raw bytes, and keeps all that it gets.

use std::io::ErrorKind;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use weir_tests::certificates::Certificates;
use weir_tests::peer::Peer;

use super::settled;
use super::wire::{self, Wire};

pub struct Client {
    wire: Box<dyn Wire>,
    pending: Vec<u8>,
    /// Lines that came and were not taken yet; messages with their bodies.
    got: Vec<String>,
    /// What INFO said, each time that it came.
    pub infos: Vec<Value>,
    pub closed: bool,
    /// Nothing came that was waited for: nobody listens to it any more, and the connection is there.
    given_up: bool,
    pings: usize,
    pongs: usize,
    /// Messages that came.
    messages: usize,
    /// PINGs that the server said.
    pub pinged: usize,
    /// Where messages want their answers.
    replies: Vec<String>,
}

impl Client {
    /// Connects, and says CONNECT with this JSON: `-` for none. A seed in `seed` has the nonce signed, one in `proxy_seed` as a proxy.
    pub fn connect(peer: &Peer, certificates: &Certificates, way: &str, connect: &str) -> Result<Self> {
        let (before, wire) = wire::connect(peer, certificates, way)?;
        let mut client = Self {
            wire,
            pending: Vec::new(),
            got: Vec::new(),
            infos: Vec::new(),
            closed: false,
            given_up: false,
            pings: 0,
            pongs: 0,
            messages: 0,
            pinged: 0,
            replies: Vec::new(),
        };
        if !before.is_empty() {
            client.infos.push(wire::info(&before)?);
        }
        while client.infos.is_empty() && !client.closed {
            client.more();
        }
        if connect == "-" || client.closed {
            return Ok(client);
        }
        let connect = client.words(connect)?;
        client.send(&format!("CONNECT {connect}\r\n"));
        client.settle();
        Ok(client)
    }

    /// What it says of itself.
    fn words(&self, connect: &str) -> Result<Value> {
        let mut connect: Value = serde_json::from_str(connect).with_context(|| format!("not JSON: {connect}"))?;
        let nonce = self.infos[0]["nonce"].as_str().unwrap_or_default();
        let sign = |seed: &str| -> Result<(String, String)> {
            let key = KeyPair::from_seed(seed)?;
            let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(nonce.as_bytes())?);
            Ok((key.public_key(), signature))
        };
        if let Some(seed) = connect["seed"].as_str() {
            let (key, signature) = sign(seed)?;
            connect["sig"] = json!(signature);
            if connect["jwt"].is_null() {
                connect["nkey"] = json!(key);
            }
        }
        if let Some(seed) = connect["proxy_seed"].as_str() {
            connect["proxy_sig"] = json!(sign(seed)?.1);
        }
        if let Some(fields) = connect.as_object_mut() {
            fields.remove("seed");
            fields.remove("proxy_seed");
        }
        for (key, default) in [
            ("verbose", false),
            ("pedantic", false),
            ("headers", true),
            ("no_responders", true),
        ] {
            if connect[key].is_null() {
                connect[key] = json!(default);
            }
        }
        Ok(connect)
    }

    /// Says an operation; messages have what stands behind a `|`, of which `*N` stands for N bytes.
    pub fn say(&mut self, operation: &str) {
        let (line, payload) = operation.split_once('|').unwrap_or((operation, ""));
        let payload = match payload.strip_prefix('*').and_then(|count| count.parse().ok()) {
            Some(count) => "x".repeat(count),
            None => payload.to_owned(),
        };
        match line.split_once(" HEADERS ") {
            Some((line, headers)) => {
                let block = format!("NATS/1.0\r\n{}\r\n\r\n", headers.trim().replace("; ", "\r\n"));
                let (head, all) = (block.len(), block.len() + payload.len());
                self.send(&format!("H{line} {head} {all}\r\n{block}{payload}\r\n"));
            }
            None if line.starts_with("PUB") => {
                self.send(&format!("{line} {}\r\n{payload}\r\n", payload.len()));
            }
            None => self.send(&format!("{line}\r\n")),
        }
    }

    pub fn send(&mut self, text: &str) {
        // A server that refuses may have closed by now, which the next read says.
        let _ = self.wire.write_all(text.as_bytes());
        let _ = self.wire.flush();
    }

    /// Waits until all that was said is worked off, or the connection has ended.
    pub fn settle(&mut self) {
        self.send("PING\r\n");
        self.pings += 1;
        while !self.closed && self.pongs < self.pings {
            self.more();
        }
    }

    /// Whether the server has closed the connection.
    pub fn has_ended(&self) -> bool {
        self.closed && !self.given_up
    }

    /// How many messages came.
    pub fn heard(&self) -> usize {
        self.messages
    }

    /// Waits until so many messages came.
    pub fn hear(&mut self, count: usize) {
        while !self.closed && self.messages < count {
            self.more();
        }
    }

    /// Waits until the server says PING.
    pub fn hear_ping(&mut self) {
        while !self.closed && self.pinged == 0 {
            self.more();
        }
    }

    /// Waits until the server has closed the connection.
    pub fn end(&mut self) {
        while !self.closed {
            self.more();
        }
    }

    /// Where messages since the last time want their answers.
    pub fn replies(&mut self) -> Vec<String> {
        std::mem::take(&mut self.replies)
    }

    /// What came since the last time. Messages that came one behind the other are in no particular order, nor are subscriptions that a
    /// reload forbids.
    pub fn take(&mut self) -> Vec<String> {
        let mut told = std::mem::take(&mut self.got);
        let forbidden = |line: &str| line.starts_with("-ERR 'Permissions Violation for Subscription");
        for run in told.chunk_by_mut(|a, b| (is_message(a) && is_message(b)) || (forbidden(a) && forbidden(b))) {
            run.sort();
        }
        if self.closed {
            told.push("(closed)".to_owned());
        }
        told
    }

    /// Takes what came, or waits for more to come.
    fn more(&mut self) {
        if self.operation() {
            return;
        }
        let mut chunk = [0; 16 * 1024];
        match self.wire.read(&mut chunk) {
            Ok(0) => self.closed = true,
            Ok(read) => self.pending.extend_from_slice(&chunk[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.got.push("(nothing came)".to_owned());
                (self.closed, self.given_up) = (true, true);
            }
            // Refused, or cut off.
            Err(_) => self.closed = true,
        }
        // Whatever there is of it.
        while self.closed && self.operation() {}
    }

    /// Takes a whole operation of what came. False: there is none.
    fn operation(&mut self) -> bool {
        let Some(at) = self.pending.windows(2).position(|found| found == b"\r\n") else {
            return false;
        };
        let line = String::from_utf8_lossy(&self.pending[..at]).into_owned();
        let mut taken = at + 2;
        match line.as_str() {
            "PONG" => self.pongs += 1,
            "PING" => {
                self.pinged += 1;
                self.pending.drain(..taken);
                self.send("PONG\r\n");
                return true;
            }
            info if info.starts_with("INFO ") => self.infos.extend(wire::info(info.as_bytes()).ok()),
            message if is_message(message) => {
                let words: Vec<&str> = message.split(' ').collect();
                let sizes = if message.starts_with('H') { 2 } else { 1 };
                let size: usize = words.last().and_then(|size| size.parse().ok()).unwrap_or(0);
                let head = match sizes {
                    2 => words[words.len() - 2].parse().unwrap_or(0),
                    _ => 0,
                };
                let Some(body) = self.pending.get(taken..taken + size) else {
                    return false;
                };
                if self.pending.len() < taken + size + 2 {
                    return false;
                }
                // Some messages of nats-server's own have two blanks there.
                if words.len() == 4 + sizes && !words[3].is_empty() {
                    self.replies.push(words[3].to_owned());
                }
                let said = words[..words.len() - sizes].join(" ");
                let (headers, payload) = body.split_at(head.min(size));
                let headers = String::from_utf8_lossy(headers).replace("\r\n", "; ");
                let payload = String::from_utf8_lossy(payload).into_owned();
                taken += size + 2;
                self.messages += 1;
                self.got.push(settled::message(&said, &headers, &payload));
            }
            _ => self.got.push(settled::line(&line)),
        }
        self.pending.drain(..taken);
        true
    }

    /// What a request comes back with: the payload, `None` where nobody is there, or what the server says instead.
    pub fn ask(&mut self, subject: &str, payload: &str) -> Result<Answer> {
        let inbox = format!("{}{}", settled::INBOX, self.pings);
        self.say(&format!("SUB {inbox} 9999"));
        self.settle();
        let told = self.take();
        if told
            .iter()
            .any(|line| line.starts_with("-ERR") || line.starts_with('('))
        {
            return Ok(Answer::Lines(told));
        }
        self.say(&format!("PUB {subject} {inbox}|{payload}"));
        let mut raw = None;
        let own = |line: &String| line.contains(&format!("{inbox} 9999 ")) || !is_message(line);
        while !self.closed && !self.got.iter().any(own) {
            raw = self.peek(&inbox).or(raw);
            self.more();
        }
        let mut told = self.take();
        told.retain(own);
        self.say("UNSUB 9999");
        self.settle();
        self.replies();
        match raw {
            Some(raw) => Ok(Answer::Said(raw)),
            _ => Ok(Answer::Lines(told)),
        }
    }

    /// The payload of a message that is next, if it is there as a whole and has no headers.
    fn peek(&self, inbox: &str) -> Option<String> {
        let at = self.pending.windows(2).position(|found| found == b"\r\n")?;
        let line = String::from_utf8_lossy(&self.pending[..at]).into_owned();
        if !line.starts_with(&format!("MSG {inbox} 9999 ")) {
            return None;
        }
        let size: usize = line.rsplit(' ').next()?.parse().ok()?;
        let body = self.pending.get(at + 2..at + 2 + size)?;
        Some(String::from_utf8_lossy(body).into_owned())
    }
}

/// What comes of a request.
pub enum Answer {
    Said(String),
    Lines(Vec<String>),
}

pub fn is_message(line: &str) -> bool {
    line.starts_with("MSG ") || line.starts_with("HMSG ")
}

impl Client {
    /// The next message, as it is: where it wants its answer, its headers, its body. `None`: the connection has ended.
    pub fn question(&mut self) -> Option<(String, String, Vec<u8>)> {
        loop {
            if let Some(at) = self.pending.windows(2).position(|found| found == b"\r\n") {
                let line = String::from_utf8_lossy(&self.pending[..at]).into_owned();
                if is_message(&line) {
                    let words: Vec<&str> = line.split(' ').collect();
                    let size: usize = words.last()?.parse().ok()?;
                    let head = match line.starts_with('H') {
                        true => words[words.len() - 2].parse().ok()?,
                        false => 0,
                    };
                    if let Some(body) = self.pending.get(at + 2..at + 2 + size)
                        && self.pending.len() >= at + 4 + size
                    {
                        let (headers, body) = (
                            String::from_utf8_lossy(&body[..head]).into_owned(),
                            body[head..].to_vec(),
                        );
                        let reply = words.get(3)?.to_string();
                        self.pending.drain(..at + 4 + size);
                        return Some((reply, headers, body));
                    }
                } else if self.operation() {
                    continue;
                }
            }
            let mut chunk = [0; 16 * 1024];
            match self.wire.read(&mut chunk) {
                Ok(0) => return None,
                Ok(read) => self.pending.extend_from_slice(&chunk[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return None,
            }
        }
    }

    /// Publishes bytes.
    pub fn bytes(&mut self, subject: &str, payload: &[u8]) {
        self.send(&format!("PUB {subject} {}\r\n", payload.len()));
        let _ = self.wire.write_all(payload);
        self.send("\r\n");
    }
}
