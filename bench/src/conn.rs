//! One blocking connection: a receive buffer that is parsed in place and a send buffer that is
//! written with as few system calls as the scenario allows.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::encode;
use crate::error::{LoadError, Result};
use crate::frame::{self, Frame, MAX_BODY_BYTES, Msg};
use crate::wire::Wire;

/// Receive buffer at the start, in bytes. It grows only for a body that does not fit.
const RECEIVE_BYTES: usize = 256 << 10;

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
    /// `patience` is how long a read or write may wait before the run fails.
    ///
    /// # Errors
    /// Connection refused, the server's `-ERR`, or silence.
    pub fn connect(addr: SocketAddr, patience: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, CONNECT_PATIENCE)
            .map_err(LoadError::io(format!("connecting to {addr}")))?;
        stream.set_nodelay(true).map_err(LoadError::io("TCP_NODELAY"))?;
        stream
            .set_read_timeout(Some(CONNECT_PATIENCE))
            .map_err(LoadError::io("read timeout"))?;
        stream
            .set_write_timeout(Some(patience))
            .map_err(LoadError::io("write timeout"))?;
        let mut conn = Self {
            stream: Wire::Plain(stream),
            frames: Frames {
                buf: vec![0; RECEIVE_BYTES],
                start: 0,
                end: 0,
            },
            out: Vec::with_capacity(64 << 10),
            info: String::new(),
            inbox: format!("_INBOX.{}.", unique()),
            next_request: 0,
        };
        conn.info = conn.read_info()?;
        if conn.info.contains("\"tls_required\":true") {
            conn.stream = conn.stream.encrypt()?;
        }
        let connect = concat!(
            r#"CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"#,
            r#""protocol":1,"echo":true,"lang":"weir-load","name":"weir-load","version":""#,
            env!("CARGO_PKG_VERSION"),
            "\"}\r\n"
        );
        conn.out.extend_from_slice(connect.as_bytes());
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
        let got = self.stream.read(room).map_err(|e| match e.kind() {
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
        match self.stream.read_now(room) {
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
        let sent = self.stream.write_all(&self.out).and_then(|()| self.stream.flush());
        sent.map_err(LoadError::io("sending"))?;
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
