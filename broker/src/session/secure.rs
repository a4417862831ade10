//! TLS on a connection, before anything else is said on it, or right behind INFO.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use weir_wire::encode;

use super::{Session, info};
use crate::conf::options::First;
use crate::context::Tls;
use crate::link::CloseReason;
use crate::link::tls::{HandshakeError, Socket};

/// What a client is told whose certificate was revoked, as in nats-server.
const NOT_VALID: &str = "client not OCSP valid";

impl Session {
    /// Sends INFO, where it need not be encrypted. Returns whether the handshake is to come first.
    pub(super) fn greet(&self) -> bool {
        let first = match (&self.tls, self.link.tls_socket()) {
            (Some(tls), Some(_)) => tls.options.first != First::No,
            _ => false,
        };
        if !first {
            self.send_info(None);
        }
        first
    }

    fn send_info(&self, required: Option<bool>) {
        let mut info = info::info(self);
        if !self.located.load(Ordering::Relaxed) {
            // That of the proxy is nobody's business.
            info.client_ip.clear();
        }
        info.tls_required = required.unwrap_or(info.tls_required);
        self.link.send(|out| encode::info(out, &info));
    }

    /// Has TLS with the client, if there is to be any. The end, if there is to be and is not.
    pub(super) async fn secure(self: &Arc<Self>, mut first: bool) -> ControlFlow<CloseReason> {
        let Some(tls) = &self.tls else {
            return ControlFlow::Continue(());
        };
        let Some(socket) = self.link.tls_socket() else {
            // It has come by WebSocket, and its handshake before it.
            return self.ask_about(tls).await;
        };
        // What was to be sent as it is has to be out.
        if self.link.pending() > 0 {
            return ControlFlow::Break(CloseReason::WriteError);
        }
        if let First::Within(delay) = tls.options.first
            && !socket.speaks_within(delay).await
        {
            self.send_info(None);
            first = false;
        }
        let may_do_without = !first && self.hall.context.live.read().allow_non_tls;
        if !may_do_without || socket.begins_with_handshake(tls.options.timeout).await {
            self.shake_hands(tls, socket, first).await?;
            self.ask_about(tls).await?;
        }
        if first {
            self.send_info(Some(true));
        }
        ControlFlow::Continue(())
    }

    async fn shake_hands(self: &Arc<Self>, tls: &Tls, socket: &Socket, first: bool) -> ControlFlow<CloseReason> {
        let (link, context) = (&self.link, &self.hall.context);
        if !context.tls.may_begin(tls) {
            let text = "Connection throttling is active. Please try again later.";
            link.fail(text, CloseReason::MaxConnectionsExceeded);
            return ControlFlow::Break(CloseReason::MaxConnectionsExceeded);
        }
        tracing::debug!("{} - Starting TLS client connection handshake", link.label());
        match socket.handshake(&tls.config, &tls.options, first).await {
            Ok(facts) => {
                let label = link.label();
                tracing::debug!("{label} - TLS handshake complete");
                tracing::debug!("{label} - TLS version {}, cipher suite {}", facts.version, facts.suite);
                link.set_tls(facts);
                ControlFlow::Continue(())
            }
            Err(error) => {
                if matches!(error, HandshakeError::Time) {
                    tracing::debug!("{} - TLS handshake timeout", link.label());
                }
                match error.is_usual() || link.closing().is_some() {
                    true => tracing::debug!("{} - TLS handshake error: {error}", link.label()),
                    false => tracing::error!("{} - TLS handshake error: {error}", link.label()),
                }
                ControlFlow::Break(CloseReason::TlsHandshakeError)
            }
        }
    }

    /// Asks whether the client's certificate was revoked, if that is wanted. Nothing of what it says is read meanwhile.
    async fn ask_about(&self, tls: &Tls) -> ControlFlow<CloseReason> {
        let (Some(rules), Some(facts)) = (&tls.options.ocsp_peer, self.link.tls()) else {
            return ControlFlow::Continue(());
        };
        let remembers = self.hall.context.live.read().ocsp_cache;
        // Apart, so that connections that ask nobody have no room for it.
        let judged = self
            .hall
            .peers
            .judge(tls, &facts.chain, rules, remembers, &Timestamp::now);
        let Err(bad) = Box::pin(judged).await else {
            return ControlFlow::Continue(());
        };
        let label = self.link.label();
        tracing::debug!("{label} - {}", bad.reason);
        tracing::error!("{label} - TLS handshake error: {NOT_VALID}");
        if let (Some(witness), Some(own)) = (self.hall.witness.get(), &facts.own) {
            witness.revoked(own, bad.link.as_deref(), &bad.reason);
        }
        // The handshake is over, so that no alert can say it.
        self.link.fail(NOT_VALID, CloseReason::TlsHandshakeError);
        ControlFlow::Break(CloseReason::TlsHandshakeError)
    }

    /// From now on the client has its time to say CONNECT, and is asked whether it is still there.
    pub(super) fn settle(&self) {
        let now = self.hall.context.clock.uptime_ns();
        self.settled_ns.store(now.max(1), Ordering::Relaxed);
    }
}
