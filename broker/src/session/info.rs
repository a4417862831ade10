//! INFO: what the server tells a client of itself.

use weir_wire::Info;

use super::Session;
use crate::conf::Options;
use crate::context::Context;
use crate::link::Kind;
use crate::version::{API_LEVEL, NATS_VERSION, RUSTC_VERSION, WEIR_VERSION};

/// The INFO for one client.
pub(super) fn info(session: &Session) -> Info {
    let (hall, link) = (&session.hall, &session.link);
    let context = &hall.context;
    let options = context.live.read();
    let (host, port) = advertised(context, &options, link.kind);
    let tls = session.tls.is_some();
    // By WebSocket there was a handshake before, or none; and it is told of certificates what holds at the other port. As nats-server.
    let without = link.kind == Kind::Plain && options.allow_non_tls;
    Info {
        server_id: context.identity.id.clone(),
        server_name: context.identity.name.clone(),
        version: NATS_VERSION.to_owned(),
        weir_version: WEIR_VERSION.to_owned(),
        proto: 1,
        go: RUSTC_VERSION.to_owned(),
        host,
        port,
        headers: !options.no_header_support,
        auth_required: hall.door_of(link.kind).is_guarded(),
        tls_required: tls && !without,
        tls_verify: options.tls.as_ref().is_some_and(|tls| tls.verify),
        tls_available: tls && (without || link.kind == Kind::WebSocket),
        max_payload: i64::try_from(options.max_payload).unwrap_or(i64::MAX),
        jetstream: context.status.has_jetstream(),
        cluster: options.cluster_name.clone().unwrap_or_default(),
        domain: context
            .status
            .has_jetstream()
            .then(|| options.jetstream.domain.clone())
            .flatten()
            .unwrap_or_default(),
        client_id: link.id,
        client_ip: link.peer().ip().to_string(),
        nonce: session.nonce.clone(),
        lame_duck_mode: context.status.is_lame_duck(),
        api_level: API_LEVEL,
        xkey: context.identity.xkey.public_key(),
        ..Info::default()
    }
}

/// Host and port as clients are told: where they are, or what the options say instead.
pub(crate) fn advertised(context: &Context, options: &Options, kind: Kind) -> (String, u16) {
    let port = |address: Option<std::net::SocketAddr>| address.map_or(0, |address| address.port());
    // What `websocket { advertise }` says is for other servers to tell, as with nats-server.
    if let Some(websocket) = options.websocket.as_ref().filter(|_| kind == Kind::WebSocket) {
        return (websocket.host.clone(), port(context.status.websocket_address()));
    }
    let port = port(context.status.client_address());
    let Some(advertise) = &options.client_advertise else {
        return (options.host.clone(), port);
    };
    match advertise
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse().ok()?)))
    {
        Some((host, port)) => (host.to_owned(), port),
        None => (advertise.clone(), port),
    }
}
