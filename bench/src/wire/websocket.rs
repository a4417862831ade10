//! A WebSocket (RFC 6455) on a socket or on TLS, as clients of NATS use it: everything that is sent at once is one binary frame, however many
//! messages that holds, and what comes is a stream of bytes, wherever its frames begin and end.

mod frame;

use std::io;

use memchr::memmem;

use super::{Wait, Wire};
use crate::error::{LoadError, Result};
pub use frame::{Opcode, Unframer, mask};

/// The key of the RFC's example: what it is to be answered with is known.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// See [`KEY`].
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// A server's answer is no longer than this, in bytes.
const HEAD_MAX: usize = 16 << 10;

/// A WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    under: Wire,
    unframer: Unframer,
    /// Came behind the answer to the request.
    early: Vec<u8>,
    /// What is sent.
    out: Vec<u8>,
}

impl WebSocket {
    /// Makes a WebSocket of what is beneath it.
    ///
    /// # Errors
    /// The server does not want that.
    pub fn begin(mut under: Wire) -> Result<Self> {
        let peer = under
            .socket()
            .peer_addr()
            .map_err(LoadError::io("asking for a WebSocket"))?;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {peer}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        let asking = || LoadError::io("asking for a WebSocket");
        under.write(request.as_bytes()).map_err(asking())?;
        let mut head = Vec::new();
        let end = loop {
            if let Some(at) = memmem::find(&head, b"\r\n\r\n") {
                break at + 4;
            }
            let mut piece = [0; 2048];
            let got = under.read(&mut piece, Wait::Patiently).map_err(asking())?;
            head.extend_from_slice(&piece[..got]);
            if got == 0 || head.len() > HEAD_MAX {
                return Err(refused(&head));
            }
        };
        let early = head.split_off(end);
        accept(&head)?;
        Ok(Self {
            under,
            unframer: Unframer::default(),
            early,
            out: Vec::new(),
        })
    }

    /// What is beneath it.
    pub fn under(&self) -> &Wire {
        &self.under
    }

    /// See [`super::Wire::read`].
    ///
    /// # Errors
    /// The same.
    pub fn read(&mut self, room: &mut [u8], wait: Wait) -> io::Result<usize> {
        loop {
            let got = match self.early.is_empty() {
                true => self.under.read(room, wait)?,
                false => {
                    let got = self.early.len().min(room.len());
                    room[..got].copy_from_slice(&self.early[..got]);
                    self.early.drain(..got);
                    got
                }
            };
            if got == 0 {
                return Ok(0);
            }
            let data = self.unframer.strip(&mut room[..got])?;
            if let Some(ping) = self.unframer.take_ping() {
                self.send(Opcode::Pong, &ping)?;
            }
            if data > 0 {
                return Ok(data);
            }
            if let Some(reason) = self.unframer.closed() {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, reason));
            }
        }
    }

    /// See [`super::Wire::write`].
    ///
    /// # Errors
    /// The same.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.send(Opcode::Binary, bytes)
    }

    fn send(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        self.out.clear();
        mask(&mut self.out, opcode, rand::random(), payload);
        self.under.write(&self.out)
    }
}

/// Whether this answer makes the socket a WebSocket.
fn accept(head: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let switching = lines.next().is_some_and(|status| status.starts_with("HTTP/1.1 101 "));
    let accepted = lines
        .filter_map(|line| line.split_once(':'))
        .any(|(name, value)| name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == ACCEPT);
    match switching && accepted {
        true => Ok(()),
        false => Err(refused(head)),
    }
}

fn refused(head: &[u8]) -> LoadError {
    let text = String::from_utf8_lossy(&head[..head.len().min(200)]);
    LoadError::Protocol(format!("the request for a WebSocket was answered with {text:?}"))
}

#[cfg(test)]
mod tests;
