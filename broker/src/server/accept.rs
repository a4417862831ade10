//! The listener for client connections.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, lookup_host};

use super::Server;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::limits::{ACCEPT_BACKOFF_MAX, ACCEPT_BACKOFF_MIN, LISTEN_BACKLOG};

/// Opens a listening socket on `host:port`; port 0 takes a free one.
pub(crate) async fn listen(host: &str, port: u16) -> std::io::Result<TcpListener> {
    let mut last = None;
    // Without brackets, as names in `getaddrinfo` are.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    for address in lookup_host((name, port)).await? {
        match listen_on(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::Error::other("the host name has no address")))
}

fn listen_on(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A server that is started again must not wait for the connections of the one before to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_BACKLOG.unsigned_abs())
}

impl Server {
    /// Opens the client port; what was opened is in [`Server::client_address`].
    pub(super) async fn open_client_port(self: &Arc<Self>) -> Result<TcpListener> {
        let (host, port) = (&self.options.host, self.options.port);
        let failed = |source| Error::Listen {
            address: format!("{host}:{port}"),
            source,
        };
        let listener = listen(host, port).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
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
                    pause = ACCEPT_BACKOFF_MIN;
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
