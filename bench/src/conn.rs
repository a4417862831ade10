//! One blocking connection: a receive buffer that is parsed in place and a send buffer that is
//! written with as few system calls as the scenario allows.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::encode;
use crate::error::{LoadError, Result};
use crate::frame::{self, Frame, MAX_BODY_BYTES, Msg};
use crate::way::Entrance;
use crate::wire::websocket::WebSocket;
use crate::wire::{Wait, Wire};

/// Receive buffer at the start, in bytes. It grows only for what does not fit.
pub const RECEIVE_BYTES: usize = 256 << 10;
/// The same of a connection on which nothing much comes.
pub const RECEIVE_LITTLE: usize = 4 << 10;

/// How long a server may take to accept a connection and say INFO.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Subscription id of the inbox of every connection.
pub const INBOX_SID: u64 = 1;

/// Bytes that were received and not parsed yet.
#[derive(Debug)]
pub struct Frames {
    buf: Vec<u8>,
    start: usize,
    end: usize,
}

impl Frames {
    /// The next whole frame in the buffer, or `None` when more must be received first.
    ///
    /// # Errors
    /// [`LoadError::Protocol`] on bytes that are not NATS.
    pub fn pop(&mut self) -> Result<Option<Frame<'_>>> {
        match frame::parse(&self.buf[self.start..self.end])? {
            Some((frame, used)) => {
                self.start += used;
                Ok(Some(frame))
            }
            None => Ok(None),
        }
    }

    /// Room to receive into; what is unparsed moves to the front first.
    fn room(&mut self) -> Result<&mut [u8]> {
        if self.start > 0 {
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buf.len() {
            if self.buf.len() > 2 * MAX_BODY_BYTES {
                return Err(LoadError::Protocol("a frame is larger than the limit".into()));
            }
            self.buf.resize(self.buf.len() * 2, 0);
        }
        Ok(&mut self.buf[self.end..])
    }
}

/// A connection to a server, after CONNECT.
#[derive(Debug)]
pub struct Conn {
    stream: Wire,
    /// What has been received. Public beside `out`, so that an answer can be encoded while a
    /// message is still borrowed.
    pub frames: Frames,
    /// What will be sent by [`Conn::flush`].
    pub out: Vec<u8>,
    info: String,
    inbox: String,
    next_request: u64,
}

impl Conn {
    /// Connects, negotiates, subscribes the connection's inbox and waits for the first PONG.
    ///
    /// `patience` is how long a read or write may wait before the run fails, `receive` how large the receive buffer is at first.
    ///
    /// # Errors
    /// Connection refused, the server's `-ERR`, or silence; TLS that was to be and is not.
    pub fn connect(entrance: &Entrance, receive: usize, patience: Duration) -> Result<Self> {
        let addr = entrance.addr;
        let stream = TcpStream::connect_timeout(&addr, CONNECT_PATIENCE)
            .map_err(LoadError::io(format!("connecting to {addr}")))?;
        stream.set_nodelay(true).map_err(LoadError::io("TCP_NODELAY"))?;
        stream
            .set_read_timeout(Some(CONNECT_PATIENCE))
            .map_err(LoadError::io("read timeout"))?;
        stream
            .set_write_timeout(Some(patience))
            .map_err(LoadError::io("write timeout"))?;
        let stream = match (entrance.websocket, entrance.tls) {
            (true, true) => Wire::WebSocket(Box::new(WebSocket::begin(Wire::Plain(stream).encrypt()?)?)),
            (true, false) => Wire::WebSocket(Box::new(WebSocket::begin(Wire::Plain(stream))?)),
            (false, _) => Wire::Plain(stream),
        };
        let mut conn = Self {
            stream,
            frames: Frames {
                buf: vec![0; receive],
                start: 0,
                end: 0,
            },
            out: Vec::new(),
            info: String::new(),
            inbox: format!("_INBOX.{}.", unique()),
            next_request: 0,
        };
        conn.info = conn.read_info()?;
        if conn.info.contains("\"tls_required\":true") {
            conn.stream = conn.stream.encrypt()?;
        } else if entrance.tls && !entrance.websocket {
            return Err(LoadError::Protocol("the server does not ask for TLS".into()));
        }
        let mut connect = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true, "protocol": 1, "echo": true,
            "lang": "weir-load", "name": "weir-load", "version": env!("CARGO_PKG_VERSION"),
        });
        if let Some(login) = &entrance.login {
            connect["user"] = json!(login.user);
            connect["pass"] = json!(login.password);
        }
        conn.out.extend_from_slice(format!("CONNECT {connect}\r\n").as_bytes());
        let wildcard = format!("{}*", conn.inbox);
        encode::subscribe(&mut conn.out, &wildcard, INBOX_SID);
        conn.round_trip()?;
        conn.stream
            .socket()
            .set_read_timeout(Some(patience))
            .map_err(LoadError::io("read timeout"))?;
        Ok(conn)
    }

    fn read_info(&mut self) -> Result<String> {
        loop {
            if let Some(frame) = self.frames.pop()? {
                return match frame {
                    Frame::Info(json) => Ok(String::from_utf8_lossy(json).into_owned()),
                    other => Err(LoadError::Protocol(format!("INFO expected, got {other:?}"))),
                };
            }
            self.fill()?;
        }
    }

    /// The version of TLS and its cipher; `None` without TLS.
    pub fn security(&self) -> Option<String> {
        self.stream.security()
    }

    /// The JSON of the server's INFO.
    pub fn info(&self) -> &str {
        &self.info
    }

    /// Prefix of the reply subjects that this connection listens to; ends with a dot.
    pub fn inbox(&self) -> &str {
        &self.inbox
    }

    /// Receives once, waiting up to the patience of the connection.
    ///
    /// # Errors
    /// Silence and a closed connection are errors.
    pub fn fill(&mut self) -> Result<()> {
        let room = self.frames.room()?;
        let got = self.stream.read(room, Wait::Patiently).map_err(|e| match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                LoadError::Protocol("the server has been silent for too long".into())
            }
            _ => LoadError::io("receiving")(e),
        })?;
        self.filled(got)
    }

    /// Receives what is there without waiting, and answers or reports control frames.
    ///
    /// For connections that only publish; a message is an error.
    ///
    /// # Errors
    /// `-ERR`, a message, or a closed connection.
    pub fn poll_control(&mut self) -> Result<()> {
        let room = self.frames.room()?;
        match self.stream.read(room, Wait::No) {
            Ok(got) => self.filled(got)?,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(LoadError::io("receiving")(e)),
        }
        while let Some(frame) = self.frames.pop()? {
            if let Some(msg) = message(frame, &mut self.out)? {
                return Err(LoadError::Verify(format!("unexpected message {msg:?}")));
            }
        }
        Ok(())
    }

    fn filled(&mut self, got: usize) -> Result<()> {
        if got == 0 {
            return Err(LoadError::Protocol("the server closed the connection".into()));
        }
        self.frames.end += got;
        Ok(())
    }

    /// Sends everything in `out`.
    ///
    /// # Errors
    /// A closed connection, or a server that does not read.
    pub fn flush(&mut self) -> Result<()> {
        self.stream.write(&self.out).map_err(LoadError::io("sending"))?;
        self.out.clear();
        Ok(())
    }

    /// Flushes, and waits until the server has processed everything that was sent.
    ///
    /// # Errors
    /// As [`Conn::fill`]; a message that arrives meanwhile is an error.
    pub fn round_trip(&mut self) -> Result<()> {
        self.out.extend_from_slice(b"PING\r\n");
        self.flush()?;
        loop {
            while let Some(frame) = self.frames.pop()? {
                if frame == Frame::Pong {
                    return Ok(());
                }
                if let Some(msg) = message(frame, &mut self.out)? {
                    return Err(LoadError::Verify(format!("unexpected message {msg:?}")));
                }
            }
            self.fill()?;
        }
    }

    /// Publishes to a subject that is not allowed.
    ///
    /// # Errors
    /// The server does not say that it is not allowed.
    pub fn expect_denied(&mut self, subject: &str) -> Result<()> {
        encode::publish(&mut self.out, subject.as_bytes(), b"", b"");
        let wanted = format!("Permissions Violation for Publish to \"{subject}\"");
        match self.round_trip() {
            Err(LoadError::Protocol(text)) if text.contains(&wanted) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(LoadError::Verify(format!(
                "{subject} is not allowed, and the server let it pass"
            ))),
        }
    }

    /// Publishes `body` with a reply inbox and returns the body of the answer.
    ///
    /// # Errors
    /// No responders, or no answer within `patience`.
    pub fn request(&mut self, subject: &str, body: &[u8], patience: Duration) -> Result<Vec<u8>> {
        let reply = format!("{}{}", self.inbox, self.next_request);
        self.next_request += 1;
        encode::publish(&mut self.out, subject.as_bytes(), reply.as_bytes(), body);
        self.flush()?;
        let until = Instant::now() + patience;
        while Instant::now() < until {
            while let Some(frame) = self.frames.pop()? {
                let Some(msg) = message(frame, &mut self.out)? else {
                    continue;
                };
                // An answer to an earlier request that timed out is not ours.
                if msg.subject != reply.as_bytes() {
                    continue;
                }
                if msg.status() == Some(503) {
                    return Err(LoadError::Api(format!("nobody answers on {subject}")));
                }
                return Ok(msg.payload.to_vec());
            }
            if !self.out.is_empty() {
                self.flush()?;
            }
            self.fill()?;
        }
        Err(LoadError::Api(format!("no answer on {subject} within {patience:?}")))
    }
}

/// The message of a frame, or `None` for a control frame that was dealt with: PING is answered
/// into `out`.
///
/// # Errors
/// `-ERR`, with its text.
pub fn message<'a>(frame: Frame<'a>, out: &mut Vec<u8>) -> Result<Option<Msg<'a>>> {
    match frame {
        Frame::Msg(msg) => Ok(Some(msg)),
        Frame::Ping => {
            out.extend_from_slice(b"PONG\r\n");
            Ok(None)
        }
        Frame::Pong | Frame::Ok | Frame::Info(_) => Ok(None),
        Frame::Err(text) => Err(LoadError::Protocol(format!("-ERR {}", String::from_utf8_lossy(text)))),
    }
}

/// Eight characters that no other run has used, for subjects and names.
pub fn unique() -> String {
    format!("{:08x}", rand::random::<u32>())
}
