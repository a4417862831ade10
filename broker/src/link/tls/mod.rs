//! A socket that TLS may come upon: the bytes go as they are at first, and encrypted once a handshake was had.
//!
//! What is sent is encrypted on the link's own thread, or, if it is little, on another one for connections; what comes is decrypted on
//! the link's own. Whoever writes has what was encrypted last taken by the socket before more is, so that no more waits in here than
//! one parcel.

mod handshake;
mod incoming;
pub(crate) mod names;
mod peer;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use rustix::net::{SendFlags, Shutdown};
use rustls::ServerConnection;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::transport::Sent;
use crate::limits::TLS_PARCEL;
pub(crate) use handshake::HandshakeError;
pub(crate) use incoming::Incoming;
pub(crate) use peer::names_of;
pub use peer::{Certificate, TlsFacts};

/// A socket, and TLS on it if there is any yet. Shared by the way in and the way out.
pub(crate) struct Socket {
    stream: TcpStream,
    /// A [`Mode`].
    mode: AtomicU8,
    /// It has become another.
    changed: Notify,
    /// Nothing more goes out.
    closed: AtomicBool,
    state: Mutex<State>,
}

/// How bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As they are.
    Clear,
    /// None of ours now: a handshake is under way.
    Handshake,
    /// Encrypted.
    Sealed,
}

/// What both ways work with.
#[derive(Default)]
struct State {
    connection: Option<Box<ServerConnection>>,
    /// Bytes that were encrypted last, and are not all with the socket.
    hold: usize,
}

/// What rustls writes to and reads from, without waiting.
struct Raw<'a>(&'a TcpStream);

impl io::Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same where nobody may wait for the socket: from any thread.
struct Now<'a>(&'a TcpStream);

impl io::Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(rustix::net::send(self.0.as_fd(), bytes, flags)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket {
    /// The socket, before anything has come in.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Both ways of a connection, without TLS yet.
    pub fn new(stream: TcpStream) -> (Arc<Self>, Incoming) {
        let socket = Arc::new(Self {
            stream,
            mode: AtomicU8::new(Mode::Clear as u8),
            changed: Notify::new(),
            closed: AtomicBool::new(false),
            state: Mutex::default(),
        });
        (Arc::clone(&socket), Incoming::new(socket))
    }

    fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Acquire) {
            mode if mode == Mode::Clear as u8 => Mode::Clear,
            mode if mode == Mode::Sealed as u8 => Mode::Sealed,
            _ => Mode::Handshake,
        }
    }

    /// Whether what is sent is encrypted.
    pub fn is_sealed(&self) -> bool {
        self.mode() == Mode::Sealed
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Sends as much as goes without waiting, if it need not be encrypted or that may be done `here`.
    pub fn send_now(&self, bytes: &[u8], here: bool) -> Sent {
        match self.mode() {
            Mode::Clear => super::transport::send_now(&self.stream, bytes),
            Mode::Sealed if here => match self.try_write(bytes) {
                Ok(sent) => Sent::Some(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Later,
                Err(_) => Sent::Failed,
            },
            _ => Sent::Later,
        }
    }

    /// Waits until some of `bytes` are on their way. Returns how many, once all of a parcel is: 0 before that, and it is to be
    /// called again with the same.
    pub async fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let changed = self.changed.notified();
            if self.mode() == Mode::Handshake && !self.is_closed() {
                changed.await;
                continue;
            }
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                done => return done,
            }
        }
    }

    /// The same without waiting.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.lock();
        if self.is_closed() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let State { connection, hold } = &mut *state;
        let Some(connection) = connection else {
            return match self.mode() {
                Mode::Handshake => Err(io::ErrorKind::WouldBlock.into()),
                _ => self.stream.try_write(bytes),
            };
        };
        if *hold == 0 {
            let parcel = &bytes[..bytes.len().min(TLS_PARCEL)];
            *hold = io::Write::write(&mut connection.writer(), parcel)?;
        }
        let mut moved = false;
        while connection.wants_write() {
            match connection.write_tls(&mut Raw(&self.stream)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => moved = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && moved => return Ok(0),
                Err(error) => return Err(error),
            }
        }
        Ok(std::mem::take(hold))
    }

    /// Waits until the socket takes something.
    pub async fn writable(&self) -> io::Result<()> {
        self.stream.writable().await
    }

    /// Whether it does, or has the task woken when it does.
    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_write_ready(context)
    }

    /// Sends this last, as far as it goes without waiting and nothing unfinished stands before it.
    pub fn say_last(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        if self.is_closed() || state.hold != 0 {
            return;
        }
        // Whoever does not read does not hear it.
        match &mut state.connection {
            Some(connection) => {
                let _ = io::Write::write(&mut connection.writer(), bytes);
                let _ = connection.write_tls(&mut Now(&self.stream));
            }
            None => drop(super::transport::send_now(&self.stream, bytes)),
        }
    }

    /// Says this, and that nothing follows; the peer may still have something to say.
    pub fn finish(&self, bytes: &[u8]) {
        self.say_last(bytes);
        let mut state = self.state.lock();
        if let State {
            connection: Some(connection),
            hold: 0,
        } = &mut *state
        {
            connection.send_close_notify();
            let _ = connection.write_tls(&mut Now(&self.stream));
        }
        // Fails only when the peer was faster.
        let _ = rustix::net::shutdown(self.stream.as_fd(), Shutdown::Write);
    }

    /// Ends both ways at once; whoever waits for one of them is woken by it. `gently`: the peer is told that this is the end, and not
    /// somebody on the way who cut the rest off.
    pub fn hang_up(&self, gently: bool) {
        let first = !self.closed.swap(true, Ordering::AcqRel);
        // It is not waited for whoever encrypts a parcel at this moment.
        if gently
            && first
            && let Some(mut state) = self.state.try_lock()
            && let State { connection, hold: 0 } = &mut *state
            && let Some(connection) = connection
        {
            connection.send_close_notify();
            let _ = connection.write_tls(&mut Now(&self.stream));
        }
        // Fails only when the peer was faster.
        let _ = rustix::net::shutdown(self.stream.as_fd(), Shutdown::Both);
        self.changed.notify_waiters();
    }
}
