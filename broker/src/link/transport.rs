//! What a link's bytes come in and go out by.
//!
//! There are two ways out. Whoever has something to send tries the first, [`Transport::send_now`], on its own thread and without
//! waiting. What that leaves is written by a task on the link's own thread, by [`Transport::write_some`]. Of a transport that changes
//! bytes on their way (encrypts them, say) only threads for connections have the first, so that no storage thread does its work.

use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::{CloseReason, tls, websocket};

/// The way out.
pub(super) enum Transport {
    /// A TCP socket, which any thread may write to.
    Plain(OwnedWriteHalf),
    /// One that TLS may come upon.
    Tls(Arc<tls::Socket>),
    /// Frames of WebSocket.
    WebSocket(Arc<websocket::Outgoing>),
}

/// The way in, which only the connection's task has.
pub(crate) enum Incoming {
    /// A TCP socket.
    Plain(OwnedReadHalf),
    /// One that TLS may come upon.
    Tls(Box<tls::Incoming>),
    /// Frames of WebSocket.
    WebSocket(Box<websocket::Incoming>),
}

/// What became of bytes that were to be sent without waiting.
pub(crate) enum Sent {
    /// So many of them are on their way.
    Some(usize),
    /// None now: the link's own task has to wait for that.
    Later,
    /// None ever again.
    Failed,
}

impl Transport {
    /// Both ways of a TCP connection.
    pub fn plain(stream: TcpStream) -> (Self, Incoming) {
        let (incoming, outgoing) = stream.into_split();
        (Self::Plain(outgoing), Incoming::Plain(incoming))
    }

    /// The same of one that TLS may come upon.
    pub fn tls(stream: TcpStream) -> (Self, Incoming) {
        let (socket, incoming) = tls::Socket::new(stream);
        (Self::Tls(socket), Incoming::Tls(Box::new(incoming)))
    }

    /// Sends as much as goes without waiting; what has to be changed on its way only if that may be `here`.
    #[inline]
    pub fn send_now(&self, bytes: &[u8], here: bool) -> Sent {
        match self {
            Self::Plain(socket) => send_now(socket.as_ref(), bytes),
            Self::Tls(socket) => socket.send_now(bytes, here),
            Self::WebSocket(frames) => frames.send_now(bytes, here),
        }
    }

    /// Whether bytes are changed on their way, so that they are sent on the link's own thread only.
    pub fn changes_bytes(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(socket) => socket.is_sealed(),
            Self::WebSocket(_) => true,
        }
    }

    /// Waits until some of `bytes` are on their way, on the link's own thread. Returns how many; of a transport that wraps
    /// them up, 0 while a part of the parcel is.
    pub async fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(socket) => return socket.write_some(bytes).await,
            Self::WebSocket(frames) => return frames.write_some(bytes).await,
        };
        let socket: &TcpStream = socket.as_ref();
        loop {
            socket.writable().await?;
            match socket.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    /// Ends both ways at once; whoever waits for one of them is woken by it.
    pub fn hang_up(&self, reason: Option<CloseReason>) {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(socket) => return socket.hang_up(reason.is_some_and(|reason| !reason.is_abrupt())),
            Self::WebSocket(frames) => return frames.hang_up(reason),
        };
        let socket: &TcpStream = socket.as_ref();
        // Fails only when the peer was faster.
        let _ = rustix::net::shutdown(socket.as_fd(), Shutdown::Both);
    }
}

/// Sends as much as a socket takes without waiting.
#[inline]
pub(super) fn send_now(socket: &TcpStream, bytes: &[u8]) -> Sent {
    loop {
        match rustix::net::send(socket.as_fd(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) => return Sent::Some(sent),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Sent::Later,
            Err(_) => return Sent::Failed,
        }
    }
}

impl Incoming {
    /// Reads what is there into the free part of `buf`, or has the task woken when something is. 0: the peer has no more.
    #[inline]
    pub fn poll_read(&mut self, context: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(sealed) => {
                let room = buf.capacity() - buf.len();
                return sealed.poll_read(context, buf, room);
            }
            Self::WebSocket(frames) => return frames.poll_read(context, buf),
        };
        let reading = pin!(socket.read_buf(buf));
        reading.poll(context)
    }
}
