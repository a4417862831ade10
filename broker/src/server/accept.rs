//! The listeners for client connections.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};

use weir_wire::websocket::Origin;

use super::Server;
use crate::context::{Home, listen};
use crate::error::{Error, Result};
use crate::limits::{ACCEPT_BACKOFF_MAX, ACCEPT_BACKOFF_MIN, REFUSALS};
use crate::link::{Arrival, origins, upgrade};
use crate::session::{Hall, Session};

/// What is spoken at a port.
#[derive(Clone)]
pub(crate) enum Entrance {
    /// The client protocol.
    Plain,
    /// WebSocket, by pages of these origins.
    WebSocket(Arc<[Origin]>),
}

impl Entrance {
    /// Serves one connection until it ends.
    async fn enter(self, hall: Arc<Hall>, home: Home, stream: TcpStream, peer: SocketAddr) {
        let tls = match self {
            Self::Plain => hall.context.tls.client(),
            Self::WebSocket(_) => hall.context.tls.websocket(),
        };
        let arrival = match self {
            Self::Plain if tls.is_some() => Arrival::Tls(stream),
            Self::Plain => Arrival::Plain(stream),
            Self::WebSocket(origins) => {
                let options = hall.context.live.get();
                match upgrade(stream, tls.as_deref(), peer, &options, &origins).await {
                    Some(upgraded) => Arrival::WebSocket(Box::new(upgraded)),
                    None => return,
                }
            }
        };
        Session::run(hall, home, arrival, tls, peer).await;
    }
}

impl Server {
    /// Opens the client port; what was opened is in [`Server::client_address`].
    pub(crate) async fn open_client_port(&self) -> Result<TcpListener> {
        let options = self.options();
        let (host, port) = (&options.host, options.port);
        let failed = |source| Error::Listen {
            address: format!("{host}:{port}"),
            source,
        };
        let (listener, address) = listen(host, port).await.map_err(failed)?;
        self.context.status.set_client_address(address);
        Ok(listener)
    }

    /// Opens the port for WebSockets, if there is one; what was opened is in [`Server::websocket_address`].
    pub(crate) async fn open_websocket_port(&self) -> Result<Option<(TcpListener, Entrance)>> {
        let options = self.options();
        let Some(websocket) = &options.websocket else {
            return Ok(None);
        };
        let failed = |source| Error::Listen {
            address: format!("{}:{}", websocket.host, websocket.port),
            source,
        };
        let origins = origins(websocket).map_err(Error::Options)?;
        let (listener, address) = listen(&websocket.host, websocket.port).await.map_err(failed)?;
        self.context.status.set_websocket_address(address);
        Ok(Some((listener, Entrance::WebSocket(origins.into()))))
    }

    /// Accepts connections until the server stops doing so.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener, entrance: Entrance) {
        let mut closing = self.context.status.accepting();
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
                    if self.context.homes.connections() >= self.connections_max().saturating_add(REFUSALS) {
                        tracing::debug!("{peer} - maximum connections exceeded, and too many being told so");
                        continue;
                    }
                    // Costs latency only; refused on sockets that are closed already.
                    let _ = stream.set_nodelay(true);
                    if let (Ok(stream), Some(home)) = (stream.into_std(), self.context.homes.quietest()) {
                        let (hall, entrance) = (Arc::clone(&self.hall), entrance.clone());
                        home.adopt(stream, move |stream, home| entrance.enter(hall, home, stream, peer));
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
