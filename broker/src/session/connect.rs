//! CONNECT: who is there, and may they come in.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_wire::encode;

use super::Session;
use super::auth::{Answer, Verdict};
use super::conversation::{Conversation, Flow, State, Stop};
use crate::link::{CloseReason, Who};

impl Conversation {
    /// Works through CONNECT. A second one starts the connection over: its subscriptions end.
    pub(super) fn introduce(&mut self, session: &Arc<Session>, json: &[u8]) -> Flow {
        if let Err(error) = self.connect.apply(json) {
            tracing::error!("{} - bad CONNECT: {error}", session.link.label());
            return end(CloseReason::ProtocolViolation);
        }
        if matches!(self.state, State::Ready) {
            self.forget_all(session);
        }
        match session.hall.door.ask(&self.connect) {
            Answer::Now(verdict) => self.decide(session, verdict),
            Answer::Later(ticket) => {
                self.state = State::Authenticating(ticket);
                ControlFlow::Break(Stop::Wait)
            }
        }
    }

    /// Whether the client that said CONNECT comes in.
    pub(super) fn decide(&mut self, session: &Arc<Session>, verdict: Verdict) -> Flow {
        let link = &session.link;
        let Verdict::Welcome(guest) = verdict else {
            let user = self.connect.user.clone();
            return self.unauthorized(session, &user);
        };
        if !self.connect.account.is_empty() {
            return self.unauthorized(session, &guest.user);
        }
        link.introduce(Who {
            name: self.connect.name.clone(),
            lang: self.connect.lang.clone(),
            version: self.connect.version.clone(),
            user: guest.user,
            account: guest.account.name.to_string(),
        });
        if !matches!(self.connect.protocol, 0 | 1) {
            return self.refuse(
                session,
                "invalid client protocol",
                CloseReason::BadClientProtocolVersion,
            );
        }
        let headers = self.connect.headers && !session.hall.context.live.read().no_header_support;
        if self.connect.no_responders && !headers {
            let text = "no responders requires headers support";
            return self.refuse(session, text, CloseReason::NoRespondersRequiresHeaders);
        }
        link.set_headers(headers);
        session.async_info.store(self.connect.protocol >= 1, Ordering::Relaxed);
        session.connected.store(true, Ordering::Relaxed);
        self.account = guest.account;
        self.state = State::Ready;
        if self.connect.verbose {
            link.enqueue(&mut self.router.sink, encode::ok);
        }
        Flow::Continue(())
    }

    /// Wrong credentials, or none where some are needed.
    #[cold]
    pub(super) fn unauthorized(&mut self, session: &Session, user: &str) -> Flow {
        let label = session.link.label();
        if user.is_empty() {
            tracing::error!("{label} - authentication error");
        } else {
            tracing::error!("{label} - authentication error - User {user:?}");
        }
        self.error(session, "Authorization Violation");
        end(CloseReason::AuthenticationFailure)
    }

    fn refuse(&mut self, session: &Session, text: &str, reason: CloseReason) -> Flow {
        tracing::error!("{} - {text}", session.link.label());
        self.error(session, text);
        end(reason)
    }
}

/// Nothing more is worked off.
pub(super) fn end(reason: CloseReason) -> Flow {
    ControlFlow::Break(Stop::End(reason))
}
