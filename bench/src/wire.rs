//! What a connection goes over: a socket, TLS on one, or a WebSocket on either.

pub mod tls;
pub mod websocket;

use std::io::{self, Read, Write};
use std::net::TcpStream;

use rustix::net::RecvFlags;

use crate::error::Result;
use tls::Tls;
use websocket::WebSocket;

/// Bytes to and from a server.
#[derive(Debug)]
pub enum Wire {
    /// As they are.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<Tls>),
    /// In frames.
    WebSocket(Box<WebSocket>),
}

/// How long a read may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// As long as the socket's timeout says.
    Patiently,
    /// Not at all.
    No,
}

/// Reads what is there from a socket.
///
/// # Errors
/// The socket's; [`io::ErrorKind::WouldBlock`] if nothing is there and nobody waits.
fn receive(socket: &TcpStream, room: &mut [u8], wait: Wait) -> io::Result<usize> {
    match wait {
        Wait::Patiently => {
            let mut socket = socket;
            socket.read(room)
        }
        Wait::No => Ok(rustix::net::recv(socket, room, RecvFlags::DONTWAIT)?.1),
    }
}

impl Wire {
    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.socket(),
            Self::WebSocket(websocket) => websocket.under().socket(),
        }
    }

    /// Goes on by TLS with a server that is called `localhost` in its certificate.
    ///
    /// # Errors
    /// Nobody said whom to trust; the server does not want TLS 1.3, or is somebody else.
    pub fn encrypt(self) -> Result<Self> {
        match self {
            Self::Plain(socket) => Ok(Self::Tls(Box::new(Tls::begin(socket)?))),
            Self::Tls(_) | Self::WebSocket(_) => Ok(self),
        }
    }

    /// The version of TLS and its cipher; `None` without TLS.
    pub fn security(&self) -> Option<String> {
        match self {
            Self::Tls(tls) => Some(tls.security()),
            Self::WebSocket(websocket) => websocket.under().security(),
            Self::Plain(_) => None,
        }
    }

    /// Reads what is there, at least a byte. 0: the server has no more.
    ///
    /// # Errors
    /// The socket's; [`io::ErrorKind::WouldBlock`] if nothing is there and nobody waits, or for too long;
    /// [`io::ErrorKind::InvalidData`] for what is not TLS or not WebSocket.
    pub fn read(&mut self, room: &mut [u8], wait: Wait) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => receive(socket, room, wait),
            Self::Tls(tls) => tls.read(room, wait),
            Self::WebSocket(websocket) => websocket.read(room, wait),
        }
    }

    /// Sends all of it, by WebSocket as one frame.
    ///
    /// # Errors
    /// The socket's.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes),
            Self::Tls(tls) => tls.write(bytes),
            Self::WebSocket(websocket) => websocket.write(bytes),
        }
    }
}
