//! A client that speaks raw bytes, and keeps all that it gets.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    stream: TcpStream,
    pending: Vec<u8>,
    /// Lines that came; messages with their bodies.
    got: Vec<String>,
    closed: bool,
    /// PONGs that came.
    pongs: usize,
    pings: usize,
    /// Messages that were waited for.
    heard: usize,
    /// Where the last message wants its answer.
    reply: String,
}

impl Client {
    /// Connects, and says CONNECT with this JSON: `-` for none, and a seed in `seed` has the nonce signed; what is in
    /// `behind` is put behind the signature.
    pub fn connect(address: &str, connect: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut client = Self {
            stream,
            pending: Vec::new(),
            got: Vec::new(),
            closed: false,
            pongs: 0,
            pings: 0,
            heard: 0,
            reply: String::new(),
        };
        let info = client.line()?.context("no INFO")?;
        let info: Value = serde_json::from_str(info.strip_prefix("INFO ").context("no INFO")?)?;
        for told in ["auth_required", "tls_required", "tls_verify", "tls_available"] {
            if info[told] == json!(true) {
                client.got.push(told.to_owned());
            }
        }
        if info["nonce"].is_string() {
            client.got.push("nonce".to_owned());
        }
        if connect == "-" {
            return Ok(client);
        }
        let mut connect: Value = serde_json::from_str(connect).with_context(|| format!("not JSON: {connect}"))?;
        if let Some(seed) = connect["seed"].as_str() {
            let key = KeyPair::from_seed(seed)?;
            let nonce = info["nonce"].as_str().unwrap_or_default();
            let signature = key.sign(nonce.as_bytes())?;
            let behind = connect["behind"].as_str().unwrap_or_default();
            let sig = BASE64_URL_SAFE_NO_PAD.encode(signature) + behind;
            match connect["jwt"].is_string() {
                true => connect["sig"] = json!(sig),
                false => connect = json!({"nkey": key.public_key(), "sig": sig}),
            }
            if let Some(fields) = connect.as_object_mut() {
                fields.remove("seed");
                fields.remove("behind");
            }
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
        client.send(&format!("CONNECT {connect}\r\n"));
        client.settle()?;
        Ok(client)
    }

    /// Says an operation; messages are empty, or have what stands behind a `|`, and the headers of the JSON before it. `@` is where the last
    /// message wants its answer.
    pub fn say(&mut self, operation: &str) -> Result<()> {
        let (line, payload) = operation.split_once('|').unwrap_or((operation, ""));
        let line = line.replace('@', &self.reply);
        if let Some((line, headers)) = line.strip_prefix("HPUB").and_then(|rest| rest.split_once('{')) {
            let headers: BTreeMap<String, String> = serde_json::from_str(&format!("{{{headers}"))?;
            let block: String = headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}\r\n"))
                .collect();
            let block = format!("NATS/1.0\r\n{block}\r\n");
            let (head, all) = (block.len(), block.len() + payload.len());
            self.send(&format!("HPUB{line}{head} {all}\r\n{block}{payload}\r\n"));
            return self.settle();
        }
        match line.starts_with("PUB") {
            true => self.send(&format!("{line} {}\r\n{payload}\r\n", payload.len())),
            false => self.send(&format!("{line}\r\n")),
        }
        self.settle()
    }

    /// Waits until there is one more message than the last time.
    pub fn hear(&mut self) -> Result<()> {
        let messages = |got: &[String]| got.iter().filter(|line| is_message(line)).count();
        self.heard += 1;
        while messages(&self.got) < self.heard {
            let line = self.line()?.context("closed, and a message was to come")?;
            self.note(line)?;
        }
        Ok(())
    }

    /// Waits until the server has closed the connection.
    pub fn wait_for_end(&mut self) -> Result<()> {
        while !self.closed {
            if let Some(line) = self.line()? {
                self.note(line)?;
            }
        }
        Ok(())
    }

    /// Waits until all that was said is worked off, or the connection has ended.
    pub fn settle(&mut self) -> Result<()> {
        self.send("PING\r\n");
        self.pings += 1;
        while !self.closed && self.pongs < self.pings {
            if let Some(line) = self.line()? {
                self.note(line)?;
            }
        }
        Ok(())
    }

    /// All that came. Messages that came one behind the other are in no particular order.
    pub fn got(&self) -> String {
        let mut told = self.got.clone();
        for run in told.chunk_by_mut(|a, b| is_message(a) && is_message(b)) {
            run.sort();
        }
        if self.closed {
            told.push("(closed)".to_owned());
        }
        told.join("\n")
    }

    fn note(&mut self, mut line: String) -> Result<()> {
        match line.as_str() {
            "PONG" => self.pongs += 1,
            "PING" => {}
            info if info.starts_with("INFO") => {}
            _ => {
                if is_message(&line) {
                    let sizes = if line.starts_with('H') { 2 } else { 1 };
                    let words: Vec<&str> = line.split(' ').collect();
                    let size = words.last().context("no size")?.parse()?;
                    if words.len() == 4 + sizes {
                        words[3].clone_into(&mut self.reply);
                    }
                    let (count, head) = (words.len(), words[..words.len() - sizes].join(" "));
                    let body = settled(&self.body(size)?);
                    // With what differs from run to run in it, its size does.
                    line = match body.contains("Nats-Request-Info") {
                        true => format!("{head} {count} {body}"),
                        false => format!("{line} {body}"),
                    };
                }
                self.got.push(settled(&line));
            }
        }
        Ok(())
    }

    fn body(&mut self, size: usize) -> Result<String> {
        while self.pending.len() < size + 2 {
            if !self.more()? {
                bail!("closed within a message");
            }
        }
        let body = String::from_utf8_lossy(&self.pending[..size])
            .escape_debug()
            .to_string();
        self.pending.drain(..size + 2);
        Ok(body)
    }

    fn send(&mut self, text: &str) {
        // A server that refuses may have closed by now, which the next read says.
        let _ = self.stream.write_all(text.as_bytes());
    }

    /// The next line; `None` once the connection has ended.
    fn line(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(at) = self.pending.windows(2).position(|found| found == b"\r\n") {
                let line = String::from_utf8_lossy(&self.pending[..at]).into_owned();
                self.pending.drain(..at + 2);
                return Ok(Some(line));
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// Reads more. False: the connection has ended.
    fn more(&mut self) -> Result<bool> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.closed = true,
            Ok(read) => self.pending.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.closed = true,
            Err(error) => bail!("{error}; so far: {:?}", self.got),
        }
        Ok(!self.closed)
    }
}

/// Without what differs from run to run.
fn settled(text: &str) -> String {
    let mut text = text.to_owned();
    for (before, ends) in [
        ("_R_.", " "),
        (r#"\"rtt\":"#, ",}"),
        (r#"\"id\":"#, ",}"),
        (r#"\"start\":\""#, "\\"),
        (r#"\"server\":\""#, "\\"),
    ] {
        let mut from = 0;
        while let Some(at) = text[from..].find(before) {
            let start = from + at + before.len();
            let end = text[start..]
                .find(|c| ends.contains(c))
                .map_or(text.len(), |end| start + end);
            text.replace_range(start..end, "…");
            from = start;
        }
    }
    text
}

fn is_message(line: &str) -> bool {
    line.starts_with("MSG ") || line.starts_with("HMSG ")
}
