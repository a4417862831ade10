//! How the server itself sends messages: deliveries of consumers, answers of the JetStream API.

use std::collections::HashMap;
use std::sync::Arc;

use weir_engine::shard::emit::ConsumerName;

use super::{Outgoing, Router};
use crate::interest::{Account, Answer, Work};
use crate::link::{Link, Message};

/// Sends messages into one account, from any thread. What is sent may wait in buffers until [`flush`](Self::flush); dropping
/// a courier flushes it.
pub struct Courier {
    account: Arc<Account>,
    carrier: Carrier,
}

impl Courier {
    /// A courier for `account`. Cheap, but meant to be kept: it remembers who listens where.
    #[must_use]
    pub fn new(account: Arc<Account>) -> Self {
        Self {
            account,
            carrier: Carrier::default(),
        }
    }

    /// One for what JetStream answers and lets out, wherever that is to go: it asks this server for nothing.
    #[must_use]
    pub fn telling(account: Arc<Account>) -> Self {
        Self {
            account,
            carrier: Carrier::telling(),
        }
    }

    /// Gives a message to everybody who listens on `to`; what they read as its subject is `subject`. `reply` and `headers`
    /// (a whole block) may be empty. Returns whether anybody took it.
    pub fn send(&mut self, to: &[u8], subject: &[u8], reply: &[u8], headers: &[u8], payload: &[u8]) -> bool {
        let message = Message {
            subject,
            reply,
            headers,
            payload,
        };
        self.carrier.send(&self.account, to, &message)
    }

    /// True if anybody listens on `to` now.
    pub fn has_interest(&mut self, to: &[u8]) -> bool {
        self.carrier.has_interest(&self.account, to)
    }

    /// Writes what was sent, once per receiver, and submits what streams of this server took of it.
    pub fn flush(&mut self) {
        self.carrier.flush();
    }

    /// True if a receiver of what was sent since the last [`flush`](Self::flush) is far behind (its pending bytes are above
    /// three quarters of `max_pending`): going on at this pace will make it a slow consumer.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.carrier.router.sink.stall
    }
}

/// Sends messages into whatever accounts. One that is kept, of a storage thread say, costs no more for many accounts than for
/// one. What is sent may wait in buffers until [`flush`](Self::flush); dropping it flushes it.
#[derive(Default)]
pub(crate) struct Carrier {
    router: Router,
    work: Work,
    /// What clients have promised room for, until the next flush.
    promises: Vec<(Arc<Link>, usize)>,
    /// Accounts that were looked into since the last flush; those next to each other differ.
    used: Vec<Arc<Account>>,
    /// What it sends asks this server for nothing.
    only_tells: bool,
    /// At which generation of each account, by number, void matches were dropped last.
    refreshed: HashMap<usize, u64>,
}

impl Carrier {
    /// One whose messages ask this server for nothing.
    pub fn telling() -> Self {
        let mut carrier = Self::default();
        carrier.only_tells = true;
        carrier
    }

    /// The same of a thread that has other work than to write to clients.
    pub fn of_storage() -> Self {
        let mut carrier = Self::telling();
        carrier.router.sink.aloof = true;
        carrier
    }

    /// Gives a message to everybody in `account` who listens on `to`. Returns whether anybody took it.
    pub fn send(&mut self, account: &Arc<Account>, to: &[u8], message: &Message<'_>) -> bool {
        self.uses(account);
        let outgoing = Outgoing {
            asks: !self.only_tells,
            ..Outgoing::of_server(*message)
        };
        self.router.route(account, to, &outgoing, &mut self.work) > 0
    }

    /// True if anybody in `account` listens on `to` now.
    pub fn has_interest(&mut self, account: &Arc<Account>, to: &[u8]) -> bool {
        self.uses(account);
        self.router.has_interest(account, to)
    }

    /// Of `wanted` bytes, how many `consumer` may send to `to` before the next [`flush`](Self::flush). 0: none, and the
    /// consumer is woken when there is room. Only where one client alone listens is there a bound: several go on without
    /// those that are too slow for the others.
    pub fn room(&mut self, account: &Arc<Account>, consumer: &Arc<ConsumerName>, to: &[u8], wanted: usize) -> usize {
        self.uses(account);
        let Some(link) = self.router.sole_link(account, to) else {
            return usize::MAX;
        };
        let promised = link.promise(consumer, wanted);
        match self.promises.last_mut() {
            _ if promised == 0 => {}
            Some((last, sum)) if Arc::ptr_eq(last, link) => *sum += promised,
            _ => self.promises.push((Arc::clone(link), promised)),
        }
        promised
    }

    fn uses(&mut self, account: &Arc<Account>) {
        if self.used.last().is_none_or(|last| !Arc::ptr_eq(last, account)) {
            self.used.push(Arc::clone(account));
        }
    }

    /// Writes what was sent, once per receiver, and submits what streams of this server took of it.
    pub fn flush(&mut self) {
        self.router.sink.flush();
        for (link, promised) in self.promises.drain(..) {
            link.redeem(promised);
        }
        self.router.sink.stall = false;
        self.work.submit();
        for account in self.used.drain(..) {
            let generation = account.generation();
            if self.refreshed.insert(account.number, generation) != Some(generation) {
                self.router.refresh(&account);
            }
        }
        self.router.refresh_crossed();
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Gives up on requests to services of `account` that were not answered in time.
pub(crate) fn give_up(account: &Arc<Account>, answers: &[Arc<Answer>]) {
    let mut carrier = Carrier::default();
    carrier.uses(account);
    for answer in answers {
        carrier.router.give_up(account, answer, &mut carrier.work);
    }
}
