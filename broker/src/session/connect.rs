//! CONNECT: who is there, and may they come in.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use weir_wire::encode;

use super::Session;
use super::auth::{Answer, Guest, REDACTED, Verdict, Visitor};
use super::conversation::{Conversation, Flow, State, Stop};
use super::proxy::Proxy;
use super::quote::quoted;
use crate::link::{CloseReason, Who};

impl Conversation {
    /// Works through CONNECT. A second one starts the connection over: its subscriptions end.
    pub(super) fn introduce(&mut self, session: &Arc<Session>, json: &[u8]) -> Flow {
        if let Err(error) = self.connect.apply(json) {
            tracing::error!("{} - bad CONNECT: {error}", session.link.label());
            return end(CloseReason::ProtocolViolation);
        }
        session.link.guess_rtt();
        session.cookies.fill(&mut self.connect);
        if matches!(self.state, State::Ready) {
            self.forget_all(session);
        }
        self.ask(session)
    }

    /// Asks the door about the client that said CONNECT.
    pub(super) fn ask(&mut self, session: &Arc<Session>) -> Flow {
        self.proxy = match session.proxy(&self.connect) {
            Proxy::Trusted(key) => Some(key),
            Proxy::None => None,
            Proxy::Unknown => return self.unauthorized_as(session, CloseReason::ProxyNotTrusted),
        };
        // Before the door looks at them, so that they are no newer than those that it goes by.
        let options = session.hall.context.live.get();
        let visitor = Visitor {
            connect: &self.connect,
            nonce: &session.nonce,
            by: session.comes_by(),
            certificate: session.certificate(),
            link: &session.link,
        };
        match session.door().ask(&visitor) {
            Answer::Now(verdict) => self.decide(session, verdict),
            Answer::Later(ticket) => {
                self.state = State::Authenticating(ticket, options);
                ControlFlow::Break(Stop::Wait)
            }
        }
    }

    /// Whether the client that said CONNECT comes in.
    pub(super) fn decide(&mut self, session: &Arc<Session>, verdict: Verdict) -> Flow {
        let link = &session.link;
        let Verdict::Welcome(guest) = verdict else {
            return self.unauthorized(session);
        };
        if guest.proxy_required && self.proxy.is_none() {
            return self.unauthorized_as(session, CloseReason::ProxyRequired);
        }
        if !self.connect.account.is_empty() || self.connect.account_new {
            return self.unauthorized(session);
        }
        if let Some(end) = self.seat(session, guest) {
            return end;
        }
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
        let first = !session.connected.swap(true, Ordering::Relaxed);
        self.state = State::Ready;
        if let (true, Some(witness)) = (first, session.hall.witness.get()) {
            witness.came(link.client_info());
        }
        if self.connect.verbose {
            link.enqueue(&mut self.router.sink, encode::ok);
        }
        Flow::Continue(())
    }

    /// What the client is from now on, and what it may do. The end, if its account has no place for it.
    pub(super) fn seat(&mut self, session: &Arc<Session>, guest: Guest) -> Option<Flow> {
        // The former one first: it may be the last.
        self.seat = None;
        self.seat = guest.account.seat();
        if self.seat.is_none() {
            let text = "maximum account active connections exceeded";
            return Some(self.refuse(session, text, CloseReason::MaxAccountConnectionsExceeded));
        }
        // It gets nothing done meanwhile.
        if guest.until.is_some_and(|until| until <= Timestamp::now()) {
            let text = "User Authentication Expired";
            return Some(self.refuse(session, text, CloseReason::AuthenticationExpired));
        }
        if [guest.subscriptions, guest.account.limits().subscriptions].contains(&Some(0)) {
            let text = "maximum subscriptions exceeded";
            return Some(self.refuse(session, text, CloseReason::MaxSubscriptionsExceeded));
        }
        session.expire_at(guest.until);
        (self.subscriptions_max, self.payload_max) = (guest.subscriptions, guest.payload);
        session.link.introduce(Who {
            name: self.connect.name.clone(),
            lang: self.connect.lang.clone(),
            version: self.connect.version.clone(),
            user: guest.user,
            account: guest.account.name.to_string(),
            rules: guest.rules.clone(),
            by_key: guest.credential.is_none() && !self.connect.nkey.is_empty(),
            credential: guest.credential,
            account_tag: guest.account.tag(),
            until: guest.until,
            proxy: self.proxy.clone(),
        });
        session.link.restrict(guest.rules.as_ref());
        self.router.restrict(guest.rules);
        self.account = guest.account;
        self.follow(&session.hall.context.live.read());
        None
    }

    /// Lets a client in that does not say CONNECT first, if there is a user for such. False if not.
    pub(super) fn come_in(&mut self, session: &Arc<Session>) -> bool {
        // One that is asked about may not become another meanwhile.
        if !matches!(self.state, State::Greeting) {
            return false;
        }
        let guest = session.door().anonymous(session.comes_by());
        // Proxies prove themselves in CONNECT.
        let Some(guest) = guest.filter(|guest| !guest.proxy_required) else {
            return false;
        };
        if self.seat(session, guest).is_some() {
            return false;
        }
        session.connected.store(true, Ordering::Relaxed);
        self.state = State::Ready;
        true
    }

    /// Wrong credentials, or none where some are needed.
    pub(super) fn unauthorized(&mut self, session: &Session) -> Flow {
        self.unauthorized_as(session, CloseReason::AuthenticationFailure)
    }

    /// The same, and why.
    #[cold]
    fn unauthorized_as(&mut self, session: &Session, reason: CloseReason) -> Flow {
        let label = session.link.label();
        let connect = &self.connect;
        if !connect.nkey.is_empty() {
            tracing::error!(
                "{label} - authentication error - Nkey {}",
                quoted(connect.nkey.as_bytes())
            );
        } else if !connect.user.is_empty() {
            tracing::error!(
                "{label} - authentication error - User {}",
                quoted(connect.user.as_bytes())
            );
        } else if !connect.auth_token.is_empty() {
            tracing::error!("{label} - authentication error - Token \"[REDACTED]\"");
        } else {
            tracing::error!("{label} - authentication error");
        }
        if !session.is_connected() {
            session.link.introduce(self.says_of_itself(session));
        }
        self.error(session, "Authorization Violation");
        end(reason)
    }

    /// Who a client that is not let in says that it is, without secrets.
    fn says_of_itself(&self, session: &Session) -> Who {
        let connect = &self.connect;
        let user = match (
            connect.nkey.is_empty(),
            connect.user.is_empty(),
            connect.auth_token.is_empty(),
        ) {
            (false, ..) => connect.nkey.clone(),
            (_, false, _) => connect.user.clone(),
            (_, _, false) => REDACTED.to_owned(),
            _ => String::new(),
        };
        Who {
            name: connect.name.clone(),
            lang: connect.lang.clone(),
            version: connect.version.clone(),
            user,
            account: session.link.account(),
            proxy: self.proxy.clone(),
            ..Who::default()
        }
    }

    fn refuse(&mut self, session: &Session, text: &str, reason: CloseReason) -> Flow {
        tracing::error!("{} - {text}", session.link.label());
        if !session.is_connected() {
            session.link.introduce(self.says_of_itself(session));
        }
        self.error(session, text);
        end(reason)
    }
}

/// Nothing more is worked off.
pub(super) fn end(reason: CloseReason) -> Flow {
    ControlFlow::Break(Stop::End(reason))
}
