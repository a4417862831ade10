//! Requests whose targets have characters in them that must be escaped, and are not: `curl '…/connz?acc=A&filter_subject=orders.>'` sends
//! them as they are, and nats-server takes them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read at once.
const CHUNK: usize = 4096;

/// A connection on which what is wrong in the first line of a request comes escaped. What stands behind a request as its body would be taken
/// for another one, so such a request has to be the last one.
pub(super) struct Escaped<S> {
    stream: S,
    place: Place,
    /// What was read and is not handed on.
    pending: Vec<u8>,
    at: usize,
}

/// In which line of a request the next byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The first one: whether there was anything but its end.
    Target(bool),
    /// One of the headers: whether there was anything but its end.
    Header(bool),
}

impl<S> Escaped<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            place: Place::Target(false),
            pending: Vec::new(),
            at: 0,
        }
    }

    fn take(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            // Ends of lines before a request are passed over.
            (Place::Target(false), b'\n') => Place::Target(false),
            (Place::Target(true), b'\n') | (Place::Header(true), b'\n') => Place::Header(false),
            (Place::Header(false), b'\n') => Place::Target(false),
            (place, b'\r') => place,
            (Place::Target(_), _) => Place::Target(true),
            (Place::Header(_), _) => Place::Header(true),
        };
        let wrong = matches!(
            byte,
            b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80..
        );
        match self.place {
            Place::Target(true) if wrong => self.pending.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            _ => self.pending.push(byte),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Escaped<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.at == self.pending.len() {
            let mut chunk = [0; CHUNK];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            self.pending.clear();
            self.at = 0;
            for byte in read.filled() {
                self.take(*byte);
            }
        }
        let taken = buf.remaining().min(self.pending.len() - self.at);
        buf.put_slice(&self.pending[self.at..self.at + taken]);
        self.at += taken;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Escaped<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
