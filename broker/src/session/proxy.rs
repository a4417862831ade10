//! Proxies that speak for clients, and prove it by signing what the client was to sign.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use weir_jwt::has_signed;
use weir_wire::Connect;
use weir_wire::proxy::{ENOUGH, Start, read_start};

use super::Session;
use crate::limits::{PROXY_HEADER, PROXY_HEADER_POLL};
use crate::link::CloseReason;

/// Who speaks for a client.
pub(super) enum Proxy {
    /// Nobody.
    None,
    /// The proxy with this key, which is trusted.
    Trusted(Arc<str>),
    /// Somebody who is not.
    Unknown,
}

/// Takes the header that stands at the start of a connection, if one does; where the client is, if it says so.
async fn take_header(socket: &TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut start = [0; ENOUGH];
    let mut seen = 0;
    loop {
        let there = socket.peek(&mut start).await?;
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let found = read_start(&start[..there]).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        match found {
            Start::Nothing => return Ok(None),
            Start::Header(length, source) => return discard(socket, length).await.map(|()| source),
            // What is there already is told at once each time.
            Start::NeedMore if there == seen => sleep(PROXY_HEADER_POLL).await,
            Start::NeedMore => seen = there,
        }
    }
}

/// Reads so many bytes and forgets them.
async fn discard(socket: &TcpStream, mut length: usize) -> io::Result<()> {
    let mut sink = [0; 512];
    while length > 0 {
        socket.readable().await?;
        let some = length.min(sink.len());
        match socket.try_read(&mut sink[..some]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => length -= read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Session {
    /// Has a proxy say where the client is, if proxies do. The end, if what it says is wrong, or nothing comes in time.
    pub(super) async fn locate(&self) -> ControlFlow<CloseReason> {
        if self.located.load(Ordering::Relaxed) {
            return ControlFlow::Continue(());
        }
        let Some(socket) = self.link.socket() else {
            return ControlFlow::Continue(());
        };
        let taken = timeout(PROXY_HEADER, take_header(socket)).await;
        match taken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(source) => {
                if let Some(source) = source {
                    self.link.set_peer(source);
                }
                self.located.store(true, Ordering::Relaxed);
                ControlFlow::Continue(())
            }
            Err(error) => {
                let peer = self.link.peer();
                tracing::warn!("Error reading PROXY protocol header from {peer}: {error}");
                ControlFlow::Break(CloseReason::ProtocolViolation)
            }
        }
    }

    /// Who speaks for a client that says this.
    pub(super) fn proxy(&self, connect: &Connect) -> Proxy {
        let options = self.hall.context.live.read();
        if connect.proxy_sig.is_empty() || options.proxies.is_empty() {
            return Proxy::None;
        }
        let mut keys = options.proxies.iter();
        match keys.find(|key| has_signed(key, &self.nonce, &connect.proxy_sig)) {
            Some(key) => Proxy::Trusted(key.as_str().into()),
            None => Proxy::Unknown,
        }
    }
}
