//! What frames go over: a socket, or TLS on one.

use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use rustix::net::{SendFlags, Shutdown};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::link::tls;

/// The way in.
pub(super) enum RawIn {
    Plain(OwnedReadHalf),
    Tls(tls::Incoming),
}

/// The way out.
pub(super) enum RawOut {
    Plain(OwnedWriteHalf),
    Tls(Arc<tls::Socket>),
}

impl RawIn {
    /// Reads up to `room` bytes of what is there to the end of `buf`, or has the task woken when something is. 0: the peer has no more.
    pub fn poll_read(&mut self, context: &mut Context<'_>, buf: &mut BytesMut, room: usize) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => {
                let mut free = buf.limit(room);
                let reading = pin!(socket.read_buf(&mut free));
                reading.poll(context)
            }
            Self::Tls(socket) => socket.poll_read(context, buf, room),
        }
    }
}

impl RawOut {
    /// Writes what goes without waiting. Returns how many bytes that is; if it is not all, it is to be called again with the rest.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_write(bytes),
            Self::Tls(socket) => socket.try_write(bytes),
        }
    }

    /// Waits until the socket takes something.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.writable().await,
            Self::Tls(socket) => socket.writable().await,
        }
    }

    /// Whether it does, or has the task woken when it does.
    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => {
                let socket: &TcpStream = socket.as_ref();
                socket.poll_write_ready(context)
            }
            Self::Tls(socket) => socket.poll_write_ready(context),
        }
    }

    /// Writes all of it.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends this last, as far as it goes without waiting.
    pub fn say_last(&self, bytes: &[u8]) {
        match self {
            // Whoever does not read does not hear it.
            Self::Plain(socket) => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                let _ = rustix::net::send(socket.as_ref().as_fd(), bytes, flags);
            }
            Self::Tls(socket) => socket.say_last(bytes),
        }
    }

    /// The same, and that nothing follows.
    pub fn finish(&self, bytes: &[u8]) {
        match self {
            Self::Plain(socket) => {
                self.say_last(bytes);
                // Fails only when the peer was faster.
                let _ = rustix::net::shutdown(socket.as_ref().as_fd(), Shutdown::Write);
            }
            Self::Tls(socket) => socket.finish(bytes),
        }
    }

    /// Ends both ways at once; whoever waits for one of them is woken by it.
    pub fn hang_up(&self, gently: bool) {
        match self {
            // Fails only when the peer was faster.
            Self::Plain(socket) => drop(rustix::net::shutdown(socket.as_ref().as_fd(), Shutdown::Both)),
            Self::Tls(socket) => socket.hang_up(gently),
        }
    }
}
