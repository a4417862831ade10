//! The HTTP request that makes a connection a WebSocket.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::time::timeout;
use weir_wire::Connect;
use weir_wire::websocket::{Head, Origin, Refusal, read_head};

use super::{Incoming, Outgoing, RawIn, RawOut};
use crate::conf::Options;
use crate::conf::options::WebSocket;
use crate::context::Tls;
use crate::limits::{INFLATED_MAX, INFLATED_PAYLOADS, READ_BUFFER_MIN, UPGRADE_TIME};
use crate::link::{TlsFacts, tls};

/// A connection that has become a WebSocket.
pub(crate) struct Upgraded {
    pub(in crate::link) outgoing: Arc<Outgoing>,
    pub(in crate::link) incoming: Box<Incoming>,
    /// Where a proxy says that the client is; for the log.
    pub(in crate::link) forwarded_for: Option<IpAddr>,
    /// What its cookies say of it.
    pub(crate) cookies: Cookies,
    /// What came of its handshake, if there is TLS.
    pub(in crate::link) tls: Option<TlsFacts>,
}

/// Credentials that came with the request, for a client that gives none.
#[derive(Default)]
pub(crate) struct Cookies {
    pub user: Option<String>,
    pub pass: Option<String>,
    pub token: Option<String>,
    pub jwt: Option<String>,
}

impl Cookies {
    /// Adds them to what a client says, where it says nothing.
    pub fn fill(&self, connect: &mut Connect) {
        let fields = [
            (&self.user, &mut connect.user),
            (&self.pass, &mut connect.pass),
            (&self.token, &mut connect.auth_token),
            (&self.jwt, &mut connect.jwt),
        ];
        for (cookie, field) in fields {
            if let (Some(cookie), true) = (cookie, field.is_empty()) {
                field.clone_from(cookie);
            }
        }
    }
}

/// Origins that pages may come from.
///
/// # Errors
/// The first of the texts that is none.
pub(crate) fn origins(websocket: &WebSocket) -> Result<Vec<Origin>, String> {
    let texts = websocket.allowed_origins.iter();
    texts
        .map(|text| Origin::parse(text).map_err(|error| format!("unable to parse allowed origin: {error}")))
        .collect()
}

/// Has TLS on a new connection, if there is to be any, and answers the request that comes. `None`: it is no WebSocket, and that was
/// said.
pub(crate) async fn upgrade(
    stream: TcpStream,
    tls: Option<&Tls>,
    peer: SocketAddr,
    options: &Options,
    origins: &[Origin],
) -> Option<Upgraded> {
    let websocket = options.websocket.as_ref()?;
    let patience = websocket.handshake_timeout.unwrap_or(UPGRADE_TIME);
    let (mut socket, out, facts) = match tls {
        None => {
            let (socket, out) = stream.into_split();
            (RawIn::Plain(socket), RawOut::Plain(out), None)
        }
        Some(tls) => {
            let (out, socket) = tls::Socket::new(stream);
            match out.handshake(&tls.config, &tls.options, false).await {
                Ok(facts) => (RawIn::Tls(socket), RawOut::Tls(out), Some(facts)),
                Err(error) => {
                    tracing::error!("websocket: TLS handshake error from {peer}: {error}");
                    return None;
                }
            }
        }
    };
    let request = negotiate(&mut socket, &out, websocket, origins, facts.is_some());
    let outcome = match timeout(patience, request).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Refusal {
            status: 400,
            reason: "the request took too long".to_owned(),
        }
        .into()),
    };
    match outcome {
        Ok((head, compression)) => {
            let outgoing = Outgoing::new(out, compression);
            let payloads = INFLATED_PAYLOADS.saturating_mul(options.max_payload as u64);
            // Whatever the bounds are, a message of the largest payload and its line fit.
            let max = payloads.min(INFLATED_MAX).max(2 * options.max_payload as u64);
            let cookie = |name: &Option<String>| head.cookie(name.as_deref()?).map(str::to_owned);
            Some(Upgraded {
                incoming: Box::new(Incoming::new(socket, Arc::clone(&outgoing), compression, max)),
                outgoing,
                tls: facts,
                forwarded_for: head.forwarded_for(),
                cookies: Cookies {
                    user: cookie(&websocket.user_cookie),
                    pass: cookie(&websocket.pass_cookie),
                    token: cookie(&websocket.token_cookie),
                    jwt: cookie(&websocket.jwt_cookie),
                },
            })
        }
        Err(Failure::Refused(refusal)) => {
            tracing::error!("{peer} - websocket handshake error: {}", refusal.reason);
            // Whoever asks wrongly need not be waited for.
            out.finish(&refusal.response());
            None
        }
        Err(Failure::Gone) => None,
    }
}

enum Failure {
    /// It is to be told so.
    Refused(Refusal),
    /// There is nobody to be told.
    Gone,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Reads the request, and grants it. Returns it, and whether messages may be compressed.
async fn negotiate(
    socket: &mut RawIn,
    out: &RawOut,
    websocket: &WebSocket,
    origins: &[Origin],
    tls: bool,
) -> Result<(Head, bool), Failure> {
    let mut bytes = BytesMut::with_capacity(READ_BUFFER_MIN);
    let (head, length) = loop {
        if poll_fn(|context| socket.poll_read(context, &mut bytes, READ_BUFFER_MIN)).await? == 0 {
            return Err(Failure::Gone);
        }
        if let Some(found) = read_head(&bytes)? {
            break found;
        }
        // `read_head` refuses what is too long.
    };
    let mut upgrade = head.upgrade()?;
    head.check_origin(websocket.same_origin, origins, tls)?;
    let absent = |reason: &str| {
        Failure::Refused(Refusal {
            status: 404,
            reason: reason.to_owned(),
        })
    };
    if head.path().starts_with("/leafnode") {
        return Err(absent("not configured to accept leaf node connections"));
    }
    if head.path().starts_with("/mqtt") {
        return Err(absent("mqtt websocket endpoint not enabled"));
    }
    if length < bytes.len() {
        return Err(Refusal {
            status: 400,
            reason: "client sent data before handshake is complete".to_owned(),
        }
        .into());
    }
    upgrade.compression &= websocket.compression;
    out.write_all(&head.accept(upgrade, &websocket.headers)).await?;
    Ok((head, upgrade.compression))
}
