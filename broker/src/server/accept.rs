//! The listener for client connections.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, lookup_host};

use super::Server;
use crate::error::{Error, Result};
use crate::limits::{ACCEPT_BACKOFF_MAX, ACCEPT_BACKOFF_MIN, LISTEN_BACKLOG, REFUSALS};
use crate::session::Client;

/// Opens a listening socket on `host:port`; port 0 takes a free one. The address is the one to tell: that of the host as it
/// was given, with the port that was taken.
pub(crate) async fn listen(host: &str, port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let mut last = None;
    // Without brackets, as names in `getaddrinfo` are.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    for address in lookup_host((name, port)).await? {
        let opened = match address.ip() {
            // All of IPv4 means all there is, as with nats-server; a host without IPv6 refuses that.
            IpAddr::V4(ip) if ip.is_unspecified() => {
                let all = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
                listen_on(all).or_else(|_| listen_on(address))
            }
            _ => listen_on(address),
        };
        match opened.and_then(|listener| Ok((listener.local_addr()?.port(), listener))) {
            Ok((taken, listener)) => return Ok((listener, SocketAddr::new(address.ip(), taken))),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("the host name has no address")))
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // Whatever the host's own setting is.
        socket.set_only_v6(false)?;
    }
    // A server that is started again must not wait for the connections of the one before to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl Server {
    /// Opens the client port; what was opened is in [`Server::client_address`].
    pub(super) async fn open_client_port(self: &Arc<Self>) -> Result<TcpListener> {
        let (host, port) = (&self.options.host, self.options.port);
        let failed = |source| Error::Listen {
            address: format!("{host}:{port}"),
            source,
        };
        let (listener, address) = listen(host, port).await.map_err(failed)?;
        // Opened once per server, by `start`.
        let _ = self.client_address.set(address);
        Ok(listener)
    }

    /// Accepts connections until the server stops doing so.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut closing = self.accepting.subscribe();
        let mut pause = ACCEPT_BACKOFF_MIN;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = closing.wait_for(|accepting| !accepting) => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Those of IPv4 come as such, also through a socket that takes both.
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    pause = ACCEPT_BACKOFF_MIN;
                    // Those over the limit are told so by their own task, but there is a limit to that as well.
                    if self.threads.connections() >= self.connections_max.saturating_add(REFUSALS) {
                        tracing::debug!("{peer} - maximum connections exceeded, and too many being told so");
                        continue;
                    }
                    // Costs latency only; refused on sockets that are closed already.
                    let _ = stream.set_nodelay(true);
                    if let (Ok(stream), Some(home)) = (stream.into_std(), self.threads.quietest()) {
                        let server = Arc::clone(&self);
                        home.adopt(stream, move |stream, home| Client::run(server, home, stream, peer));
                    }
                }
                Err(error) => {
                    tracing::error!("Temporary Client Accept Error ({error}), sleeping {pause:?}");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_BACKOFF_MAX);
                }
            }
        }
    }
}
