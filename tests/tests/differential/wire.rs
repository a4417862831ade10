//! A NATS connection that hides nothing: subjects, header blocks and payloads as they came, without any client library's
//! reading of them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long the rest of a message may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A message as it was delivered.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The subscription it was delivered to.
    pub subscription: u64,
    pub subject: String,
    pub reply: String,
    /// The header block, or nothing.
    pub headers: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Message {
    /// The code of a status message.
    pub fn status(&self) -> Option<u16> {
        let line = self.headers.strip_prefix(b"NATS/1.0 ")?;
        std::str::from_utf8(line.get(..3)?).ok()?.parse().ok()
    }
}

/// A connection to one server.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    /// What was read and not yet taken.
    unread: Vec<u8>,
}

impl Connection {
    /// Connects to `nats://host:port`.
    pub fn open(url: &str) -> Result<Connection> {
        let address = url.strip_prefix("nats://").unwrap_or(url);
        let socket = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        socket.set_nodelay(true)?;
        let mut connection = Connection {
            socket,
            unread: Vec::new(),
        };
        connection.socket.write_all(
            b"CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1,\
              \"lang\":\"test\",\"version\":\"1\"}\r\n",
        )?;
        Ok(connection)
    }

    /// Sends a message; `headers` is a whole block, or empty for none.
    pub fn publish(&mut self, subject: &str, reply: &str, headers: &[u8], payload: &[u8]) -> Result<()> {
        let mut frame = match headers.len() {
            0 => format!("PUB {subject} {reply} {}\r\n", payload.len()),
            len => format!("HPUB {subject} {reply} {len} {}\r\n", len + payload.len()),
        }
        .into_bytes();
        frame.extend_from_slice(headers);
        frame.extend_from_slice(payload);
        frame.extend_from_slice(b"\r\n");
        self.socket.write_all(&frame)?;
        Ok(())
    }

    /// Subscribes to a subject, under a number of the caller's choosing.
    pub fn subscribe(&mut self, subject: &str, number: u64) -> Result<()> {
        Ok(self
            .socket
            .write_all(format!("SUB {subject} {number}\r\n").as_bytes())?)
    }

    pub fn unsubscribe(&mut self, number: u64) -> Result<()> {
        Ok(self.socket.write_all(format!("UNSUB {number}\r\n").as_bytes())?)
    }

    /// The next message, if there is one before `deadline`.
    pub fn next(&mut self, deadline: Instant) -> Result<Option<Message>> {
        loop {
            let Some(line) = self.line(deadline)? else {
                return Ok(None);
            };
            let mut words = line.split(' ');
            match words.next().unwrap_or_default() {
                "PING" => self.socket.write_all(b"PONG\r\n")?,
                "-ERR" => bail!("the server says {line}"),
                verb @ ("MSG" | "HMSG") => {
                    let words: Vec<&str> = words.collect();
                    return self.message(verb == "HMSG", &words).map(Some);
                }
                _ => {}
            }
        }
    }

    fn message(&mut self, with_headers: bool, words: &[&str]) -> Result<Message> {
        let sizes = if with_headers { 2 } else { 1 };
        let (names, sizes) = words.split_at(words.len().saturating_sub(sizes));
        let sizes: Vec<usize> = sizes.iter().map(|size| size.parse()).collect::<Result<_, _>>()?;
        let total = *sizes.last().context("a message without a size")?;
        let head = if with_headers { sizes[0] } else { 0 };
        let deadline = Instant::now() + LIMIT;
        while self.unread.len() < total + 2 {
            if !self.fill(deadline)? {
                bail!("half a message within {LIMIT:?}");
            }
        }
        let mut body: Vec<u8> = self.unread.drain(..total + 2).collect();
        body.truncate(total);
        let payload = body.split_off(head);
        Ok(Message {
            subscription: names.get(1).context("a message to nobody")?.parse()?,
            subject: names.first().copied().unwrap_or_default().to_owned(),
            reply: names.get(2).copied().unwrap_or_default().to_owned(),
            headers: body,
            payload,
        })
    }

    fn line(&mut self, deadline: Instant) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            if !self.fill(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Reads more; false when nothing came before the deadline.
    fn fill(&mut self, deadline: Instant) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        self.socket.set_read_timeout(Some(left))?;
        let mut piece = [0; 64 << 10];
        match self.socket.read(&mut piece) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(len) => {
                self.unread.extend_from_slice(&piece[..len]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
