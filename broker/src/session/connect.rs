//! CONNECT: who is there, and may they come in.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_wire::encode;

use super::conversation::{Flow, Session};
use super::{Client, CloseReason, Who};

impl Session {
    /// Works through CONNECT. A second one starts the connection over: its subscriptions end.
    pub(super) fn introduce(&mut self, client: &Arc<Client>, json: &[u8]) -> Flow {
        if let Err(error) = self.connect.apply(json) {
            tracing::error!("{} - bad CONNECT: {error}", client.label());
            return Flow::Break(CloseReason::ProtocolViolation);
        }
        if self.connected {
            client.forget_all();
        }
        let user = match client.server.authenticate(&self.connect) {
            Some(user) => user,
            None => {
                let user = self.connect.user.clone();
                return self.unauthorized(client, &user);
            }
        };
        if !self.connect.account.is_empty() {
            return self.unauthorized(client, &user);
        }
        *client.who.lock() = Who {
            name: self.connect.name.clone(),
            lang: self.connect.lang.clone(),
            version: self.connect.version.clone(),
            user,
        };
        if !matches!(self.connect.protocol, 0 | 1) {
            return self.refuse(client, "invalid client protocol", CloseReason::BadClientProtocolVersion);
        }
        let headers = self.connect.headers && client.server.headers_supported();
        if self.connect.no_responders && !headers {
            let text = "no responders requires headers support";
            return self.refuse(client, text, CloseReason::NoRespondersRequiresHeaders);
        }
        client.headers.store(headers, Ordering::Relaxed);
        client.async_info.store(self.connect.protocol >= 1, Ordering::Relaxed);
        client.connected.store(true, Ordering::Relaxed);
        self.connected = true;
        if self.connect.verbose {
            client.enqueue(&mut self.router.sink, encode::ok);
        }
        Flow::Continue(())
    }

    /// Wrong credentials, or none where some are needed.
    #[cold]
    pub(super) fn unauthorized(&mut self, client: &Arc<Client>, user: &str) -> Flow {
        if user.is_empty() {
            tracing::error!("{} - authentication error", client.label());
        } else {
            tracing::error!("{} - authentication error - User {user:?}", client.label());
        }
        self.error(client, "Authorization Violation");
        Flow::Break(CloseReason::AuthenticationFailure)
    }

    fn refuse(&mut self, client: &Arc<Client>, text: &str, reason: CloseReason) -> Flow {
        tracing::error!("{} - {text}", client.label());
        self.error(client, text);
        Flow::Break(reason)
    }
}
