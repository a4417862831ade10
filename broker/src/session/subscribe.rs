//! SUB and UNSUB.

use std::sync::Arc;

use weir_subject::SublistError;
use weir_wire::encode;

use super::Session;
use super::conversation::Conversation;
use crate::interest::{NotAdded, Subscription, Target};

impl Conversation {
    pub(super) fn subscribe(&mut self, session: &Session, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) {
        let (max, tokens_max) = {
            let options = session.hall.context.live.read();
            (options.max_subscriptions, options.max_sub_tokens)
        };
        let tokens = || subject.iter().filter(|&&byte| byte == b'.').count() + 1;
        if tokens_max.is_some_and(|max| tokens() > usize::from(max)) {
            let subject = String::from_utf8_lossy(subject);
            let label = session.link.label();
            tracing::error!("{label} - Subscription Violation Too Many Tokens - Subject {subject:?}");
            let text = format!("Permissions Violation for Subscription to \"{subject}\", too many tokens");
            return self.error(session, &text);
        }
        let added = session.own.add(sid, max.unwrap_or(usize::MAX), || {
            let target = Target::Link {
                link: Arc::clone(&session.link),
                own: Arc::downgrade(&session.own),
            };
            Arc::new(Subscription::new(target, subject, queue, sid))
        });
        let new = match added {
            Ok(new) => new,
            // The same name again changes nothing, not even with another subject.
            Err(NotAdded::Known) => return self.ok(session),
            Err(NotAdded::TooMany) => {
                tracing::error!("{} - maximum subscriptions exceeded", session.link.label());
                return self.error(session, "maximum subscriptions exceeded");
            }
        };
        if let Err(why) = self.account.insert(Arc::clone(&new)) {
            session.own.remove(&new);
            return match why {
                SublistError::InvalidFilter => self.error(session, "Invalid Subject"),
                SublistError::Full => self.error(session, "maximum subscriptions exceeded"),
            };
        }
        self.ok(session);
    }

    pub(super) fn unsubscribe(&mut self, session: &Session, sid: &[u8], max: Option<u32>) {
        if let Some(subscription) = session.own.get(sid)
            && session.link.limit(&subscription.claim, u64::from(max.unwrap_or(0)))
        {
            tell(session, &subscription);
            session.own.remove(&subscription);
            self.account.remove(&subscription);
        }
        self.ok(session);
    }

    fn ok(&mut self, session: &Session) {
        if self.connect.verbose {
            session.link.enqueue(&mut self.router.sink, encode::ok);
        }
    }

    /// Ends all subscriptions.
    pub(super) fn forget_all(&self, session: &Session) {
        for subscription in session.own.take() {
            tell(session, &subscription);
            self.account.remove(&subscription);
        }
    }
}

/// Logs the end of a subscription.
fn tell(session: &Session, subscription: &Subscription) {
    if session.link.is_traced() {
        tracing::trace!(
            "{} - <-> [DELSUB {}]",
            session.link.label(),
            String::from_utf8_lossy(subscription.sid())
        );
    }
}
