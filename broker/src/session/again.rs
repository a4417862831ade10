//! Whether a client that was let in may stay, now that others decide about that.

use std::future::poll_fn;
use std::sync::Arc;

use jiff::Timestamp;

use super::Session;
use super::auth::{Answer, Guest, Verdict, Visitor};
use crate::link::CloseReason;
use crate::permissions::Rules;

impl Session {
    /// Asks the door once more about the CONNECT that was accepted, and closes the connection if it says no, or would let the
    /// client in to another account. With other permissions it goes on, without what those forbid. Who is not in yet is left alone:
    /// the door is asked about it by the options of now.
    pub(crate) fn ask_again(self: &Arc<Self>) {
        let options = self.hall.context.live.get();
        let answer = {
            let conversation = self.conversation.lock();
            match conversation.is_anonymous() {
                // It was served without a CONNECT, which is over if one is wanted now.
                true if self.door().is_locked() => Answer::Now(Verdict::Refused),
                _ if !self.is_connected() => return,
                _ => {
                    let visitor = Visitor {
                        connect: &conversation.connect,
                        nonce: &self.nonce,
                        by: self.comes_by(),
                        certificate: self.certificate(),
                        link: &self.link,
                    };
                    if self.door().has_moved(&visitor, &conversation.account) {
                        drop(conversation);
                        return self.close(CloseReason::ClientClosed);
                    }
                    self.door().ask(&visitor)
                }
            }
        };
        match answer {
            Answer::Now(verdict) => self.stay(verdict),
            Answer::Later(mut ticket) => {
                let session = Arc::clone(self);
                tokio::spawn(async move {
                    let verdict = poll_fn(|context| ticket.poll(context)).await;
                    // With other options since, the door was asked once more.
                    if session.hall.context.live.are(&options) {
                        session.stay(verdict);
                    }
                });
            }
        }
    }

    fn stay(self: &Arc<Self>, verdict: Verdict) {
        let stays = match verdict {
            Verdict::Welcome(guest) => self.goes_on_as(guest),
            Verdict::Refused => Err(CloseReason::AuthenticationFailure),
        };
        if let Err(why) = stays {
            tracing::error!("{} - authentication error", self.link.label());
            let (told, why) = self.expired().unwrap_or(("Authorization Violation", why));
            self.link.fail(told, why);
        }
    }

    /// What it is told whose account or user has just expired: the same as by whoever waits for that time, who may come too late.
    fn expired(&self) -> Option<(&'static str, CloseReason)> {
        let trust = self.hall.trust.as_ref();
        let tenant = trust.and_then(|trust| trust.known(&self.link.account()));
        if tenant.is_some_and(|tenant| tenant.held().has_expired()) {
            return Some(("Account Authentication Expired", CloseReason::AuthenticationExpired));
        }
        let until = self.expiry.lock().as_ref().map(|(until, _)| *until)?;
        (until <= Timestamp::now()).then_some(("User Authentication Expired", CloseReason::AuthenticationExpired))
    }

    /// Has the client go on with what a guest may do.
    ///
    /// # Errors
    /// It may not stay.
    fn goes_on_as(self: &Arc<Self>, guest: Guest) -> Result<(), CloseReason> {
        let mut conversation = self.conversation.lock();
        if guest.proxy_required && conversation.proxy.is_none() {
            return Err(CloseReason::ProxyRequired);
        }
        if !Arc::ptr_eq(&guest.account, &conversation.account) {
            return Err(CloseReason::AuthenticationFailure);
        }
        let told = |rules: Option<&Arc<Rules>>| rules.map(|rules| rules.permissions().clone());
        if told(guest.rules.as_ref()) != told(conversation.router.rules()) {
            // Its place may be taken while it changes seats.
            if conversation.seat(self, guest).is_some() {
                return Err(CloseReason::AuthenticationFailure);
            }
            conversation.permit_again(self);
            conversation.router.sink.flush();
        }
        Ok(())
    }
}
