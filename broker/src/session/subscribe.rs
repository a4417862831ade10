//! SUB and UNSUB.

use std::sync::Arc;

use weir_subject::SublistError;
use weir_wire::encode;

use super::Session;
use super::conversation::Conversation;
use super::quote::quoted;
use crate::interest::{NotAdded, Subscription, Target};

/// The queue of servers, which clients may not be in.
const SERVERS_QUEUE: &[u8] = b"_sys_";

impl Conversation {
    pub(super) fn subscribe(&mut self, session: &Session, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) {
        if !self.may_subscribe(session, subject, queue, sid) {
            return;
        }
        let (max, tokens_max) = {
            let options = session.hall.context.live.read();
            (options.max_subscriptions, options.max_sub_tokens)
        };
        let limits = [max, self.account.limits().subscriptions, self.subscriptions_max];
        let max = limits.into_iter().flatten().min();
        let tokens = || subject.iter().filter(|&&byte| byte == b'.').count() + 1;
        if tokens_max.is_some_and(|max| tokens() > usize::from(max)) {
            let subject = quoted(subject);
            let label = session.link.label();
            tracing::error!("{label} - Subscription Violation Too Many Tokens - Subject {subject}");
            let text = format!("Permissions Violation for Subscription to {subject}, too many tokens");
            return self.error(session, &text);
        }
        let rules = self.router.rules();
        let added = session.own.add(sid, max.unwrap_or(usize::MAX), || {
            let target = Target::Link {
                link: Arc::clone(&session.link),
                own: Arc::downgrade(&session.own),
            };
            let new = Subscription::new(target, subject, queue, sid);
            Arc::new(match rules {
                Some(rules) => new.under(rules),
                None => new,
            })
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

    /// Whether the client's permissions allow it to subscribe; it is told if they do not.
    fn may_subscribe(&mut self, session: &Session, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) -> bool {
        let rules = self.router.rules();
        let may = rules.is_none_or(|rules| rules.may_subscribe(subject, queue));
        if may && queue != Some(SERVERS_QUEUE) {
            return true;
        }
        let (label, sid) = (session.link.label(), String::from_utf8_lossy(sid));
        let subject = quoted(subject);
        match queue.map(quoted) {
            None => {
                tracing::error!("{label} - Subscription Violation - Subject {subject}, SID {sid}");
                self.error(session, &format!("Permissions Violation for Subscription to {subject}"));
            }
            Some(queue) => {
                tracing::error!("{label} - Subscription Violation - Subject {subject}, Queue: {queue}, SID {sid}");
                let text = format!("Permissions Violation for Subscription to {subject} using queue {queue}");
                self.error(session, &text);
            }
        }
        false
    }

    /// Ends the subscriptions that the client's permissions do not allow any more, and tells it of each; others are held to them.
    pub(super) fn permit_again(&mut self, session: &Session) {
        let rules = self.router.rules().cloned();
        for subscription in session.own.list(usize::MAX) {
            let (subject, queue) = (&subscription.subject, subscription.queue.as_deref());
            if rules.as_ref().is_none_or(|rules| rules.may_subscribe(subject, queue)) {
                subscription.restrict(rules.as_ref());
                continue;
            }
            session.own.remove(&subscription);
            self.account.remove(&subscription);
            let (subject, sid) = (quoted(subject), quoted(subscription.sid()));
            tracing::info!(
                "Removed sub {subject} (sid {sid}) for {} - not authorized",
                session.link.label()
            );
            self.error(
                session,
                &format!("Permissions Violation for Subscription to {subject} (sid {sid})"),
            );
        }
        self.account.touch();
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
