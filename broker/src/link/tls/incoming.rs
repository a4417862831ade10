//! The way in: what came, decrypted if it has to be.

use std::cell::RefCell;
use std::io::{self, BufRead};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use rustls::ServerConnection;

use super::{Mode, Raw, Socket};
use crate::limits::{TLS_READ_MAX, TLS_READ_MIN};

thread_local! {
    /// What comes is not kept, but given to rustls at once, so that all links of a thread read into the same.
    pub(super) static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; TLS_READ_MAX].into());
}

/// The way in. Keeps memory only for what came and was not taken yet.
pub(crate) struct Incoming {
    pub(super) socket: Arc<Socket>,
    /// Decrypted and not taken: no more than a read and a record.
    rest: BytesMut,
    /// Why nothing more comes.
    end: Option<io::Result<()>>,
}

impl Incoming {
    pub(super) fn new(socket: Arc<Socket>) -> Self {
        Self {
            socket,
            rest: BytesMut::new(),
            end: None,
        }
    }

    /// Reads up to `room` bytes of what is there to the end of `buf`, or has the task woken when something is. 0: the peer has no more.
    pub fn poll_read(&mut self, context: &mut Context<'_>, buf: &mut BytesMut, room: usize) -> Poll<io::Result<usize>> {
        let before = buf.len();
        if !self.rest.is_empty() {
            let taken = self.rest.split_to(room.min(self.rest.len()));
            buf.extend_from_slice(&taken);
            if self.rest.is_empty() {
                // What is rarely needed is not kept.
                self.rest = BytesMut::new();
            }
            return Poll::Ready(Ok(taken.len()));
        }
        loop {
            if let Some(end) = self.end.take() {
                return Poll::Ready(end.map(|()| 0));
            }
            let read = match self.socket.mode() {
                Mode::Sealed => {
                    // Behind the handshake may have come more.
                    self.decrypt(&[], buf, before + room);
                    if buf.len() == before && self.end.is_none() {
                        ready!(self.socket.stream.poll_read_ready(context))?;
                        self.read_sealed(buf, before + room)
                    } else {
                        Ok(())
                    }
                }
                _ => {
                    ready!(self.socket.stream.poll_read_ready(context))?;
                    match self.socket.stream.try_read_buf(&mut (&mut *buf).limit(room)) {
                        Ok(read) => return Poll::Ready(Ok(read)),
                        Err(error) => Err(error),
                    }
                }
            };
            if buf.len() > before {
                return Poll::Ready(Ok(buf.len() - before));
            }
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(()) => {}
            }
        }
    }

    fn read_sealed(&mut self, buf: &mut BytesMut, full: usize) -> io::Result<()> {
        SCRATCH.with_borrow_mut(|scratch| {
            let wanted = (full - buf.len()).clamp(TLS_READ_MIN, scratch.len());
            match self.socket.stream.try_read(&mut scratch[..wanted])? {
                0 => self.end = Some(Ok(())),
                read => self.decrypt(&scratch[..read], buf, full),
            }
            Ok(())
        })
    }

    /// Puts what was sent in there into `buf`, up to `full` bytes, and keeps what is more.
    fn decrypt(&mut self, mut sealed: &[u8], buf: &mut BytesMut, full: usize) {
        let mut state = self.socket.state.lock();
        let Some(connection) = &mut state.connection else {
            return;
        };
        loop {
            self.end = drain(connection, buf, full, &mut self.rest);
            if self.end.is_some() || sealed.is_empty() {
                break;
            }
            let fed = connection.read_tls(&mut sealed);
            let processed = fed.and_then(|_| {
                let processed = connection.process_new_packets();
                processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
            });
            if let Err(error) = processed {
                // What came before it counts, and is all that does.
                let _ = drain(connection, buf, full, &mut self.rest);
                self.end = Some(Err(error));
                break;
            }
        }
        // Answers of TLS itself go out while nobody else writes; what does not go now goes before what is written next.
        if state.hold == 0
            && let Some(connection) = &mut state.connection
            && connection.wants_write()
        {
            let _ = connection.write_tls(&mut Raw(&self.socket.stream));
        }
    }
}

/// Takes what is decrypted: into `buf` up to `full` bytes, the rest into `rest`. The end, if the peer has said it.
fn drain(
    connection: &mut ServerConnection,
    buf: &mut BytesMut,
    full: usize,
    rest: &mut BytesMut,
) -> Option<io::Result<()>> {
    let mut reader = connection.reader();
    loop {
        let length = match reader.fill_buf() {
            Ok([]) => return Some(Ok(())),
            Ok(plain) => {
                let here = plain.len().min(full.saturating_sub(buf.len()));
                buf.extend_from_slice(&plain[..here]);
                rest.extend_from_slice(&plain[here..]);
                plain.len()
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) => return Some(Err(error)),
        };
        reader.consume(length);
    }
}
