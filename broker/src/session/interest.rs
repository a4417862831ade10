//! SUB and UNSUB.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_subject::SublistError;
use weir_wire::encode;

use super::Client;
use super::conversation::Session;
use crate::interest::{Subscription, Target};

impl Session {
    pub(super) fn subscribe(&mut self, client: &Arc<Client>, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) {
        let max = client.server.options.max_subscriptions.unwrap_or(usize::MAX);
        let new = {
            let mut subscriptions = client.subscriptions.lock();
            if subscriptions.contains_key(sid) {
                None
            } else if subscriptions.len() >= max {
                drop(subscriptions);
                tracing::error!("{} - maximum subscriptions exceeded", client.label());
                return self.error(client, "maximum subscriptions exceeded");
            } else {
                let new = Arc::new(Subscription::new(
                    Target::Client(Arc::clone(client)),
                    subject,
                    queue,
                    sid,
                ));
                subscriptions.insert(sid.into(), Arc::clone(&new));
                Some(new)
            }
        };
        // The same name again changes nothing, not even with another subject.
        let Some(new) = new else {
            return self.ok(client);
        };
        if let Err(why) = client.account.insert(new) {
            client.subscriptions.lock().remove(sid);
            return match why {
                SublistError::InvalidFilter => self.error(client, "Invalid Subject"),
                SublistError::Full => self.error(client, "maximum subscriptions exceeded"),
            };
        }
        self.ok(client);
    }

    pub(super) fn unsubscribe(&mut self, client: &Arc<Client>, sid: &[u8], max: Option<u32>) {
        let found = client.subscriptions.lock().get(sid).cloned();
        if let Some(subscription) = found {
            let max = u64::from(max.unwrap_or(0));
            let done = {
                // Deliveries look at `max` under this lock.
                let _out = client.outbound.lock();
                subscription.max.store(max, Ordering::Relaxed);
                max == 0 || subscription.delivered.load(Ordering::Relaxed) >= max
            };
            if done {
                client.forget(&subscription);
            }
        }
        self.ok(client);
    }

    fn ok(&mut self, client: &Arc<Client>) {
        if self.connect.verbose {
            client.enqueue(&mut self.router.sink, encode::ok);
        }
    }
}

impl Client {
    /// Ends one subscription.
    pub(super) fn forget(&self, subscription: &Subscription) {
        if self.trace {
            tracing::trace!(
                "{} - <-> [DELSUB {}]",
                self.label(),
                String::from_utf8_lossy(&subscription.sid)
            );
        }
        let mut subscriptions = self.subscriptions.lock();
        // The name may belong to a newer one by now.
        if subscriptions
            .get(&subscription.sid)
            .is_some_and(|found| std::ptr::eq(&**found, subscription))
        {
            subscriptions.remove(&subscription.sid);
        }
        drop(subscriptions);
        self.account.remove(subscription);
    }

    /// The last message that `subscription` asked for has been delivered.
    #[cold]
    pub(super) fn exhausted(&self, subscription: &Subscription, max: u64) {
        tracing::debug!(
            "{} - Auto-unsubscribe limit of {max} reached for sid '{}'",
            self.label(),
            String::from_utf8_lossy(&subscription.sid)
        );
        self.forget(subscription);
    }

    /// Ends all subscriptions.
    pub(super) fn forget_all(&self) {
        let all = std::mem::take(&mut *self.subscriptions.lock());
        for subscription in all.values() {
            if self.trace {
                tracing::trace!(
                    "{} - <-> [DELSUB {}]",
                    self.label(),
                    String::from_utf8_lossy(&subscription.sid)
                );
            }
            self.account.remove(subscription);
        }
    }
}
