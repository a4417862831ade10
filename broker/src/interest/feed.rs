//! What other servers are told of an account's interest: all that there is when they come, and from then on each change, in the order of the
//! changes and without a gap.
//!
//! One ledger counts for all of them. What one of them may know of an entry is worked out when it is told, so that another server costs no
//! copy of the interest. Locks are taken hand over hand: whoever changes the interest graph takes the ledger before it lets go of the
//! graph, so that lines leave in the order of the graph, and nobody who looks for matches waits for them to be written. The order of
//! locks: bonds, graph, ledger, way out of a link.

mod ledger;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::{Account, Peer, Subscription};
use crate::link::Sink;
use ledger::Ledger;

/// The ledger of an account, and who is told of it. Without other servers it costs a look at one flag.
#[derive(Default)]
pub(super) struct Feed {
    /// Whether there are other servers.
    on: AtomicBool,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    ledger: Ledger,
    peers: Vec<Arc<Peer>>,
}

/// A change of the interest graph that is to be told.
pub(super) struct Change<'f>(MutexGuard<'f, Told>);

impl Feed {
    /// Begins to tell of a change, if anybody is to hear of it: before others see it.
    #[inline]
    pub fn change(&self) -> Option<Change<'_>> {
        self.on.load(Ordering::Relaxed).then(|| Change(self.told.lock()))
    }
}

impl Change<'_> {
    /// A subscription stands for so many members of its group where it stood for others before; 0: it is not there. One that is in no group
    /// stands for one.
    pub fn tell(self, subscription: &Subscription, was: u32, now: u32) {
        let Self(mut told) = self;
        let mut sink = Sink::default();
        let Told { ledger, peers } = &mut *told;
        ledger.count(subscription, was, now, peers, &mut sink);
        drop(told);
        sink.flush();
    }
}

#[cfg_attr(not(test), expect(dead_code, reason = "leaf nodes: no other server is let in yet"))]
impl Account {
    /// Another server comes: it is told all that it may know of this account's interest, and every change from now on.
    pub(crate) fn join(&self, peer: &Arc<Peer>) {
        let sublist = self.sublist.write();
        let mut told = self.feed.told.lock();
        if !self.feed.on.swap(true, Ordering::Relaxed) {
            told.ledger = Ledger::default();
            for (_, subscription) in sublist.iter().filter(|(_, subscription)| !subscription.quiet) {
                told.ledger
                    .count(subscription, 0, subscription.weight(), &[], &mut Sink::default());
            }
        }
        drop(sublist);
        let mut sink = Sink::default();
        told.ledger.tell_all(peer, &mut sink);
        told.peers.push(Arc::clone(peer));
        drop(told);
        sink.flush();
    }

    /// It goes, and is told nothing more. What it wanted has to be [removed](Account::remove) behind this.
    pub(crate) fn part(&self, peer: &Peer) {
        let mut told = self.feed.told.lock();
        told.peers.retain(|other| other.standing.number != peer.standing.number);
        if told.peers.is_empty() {
            self.feed.on.store(false, Ordering::Relaxed);
            told.ledger = Ledger::default();
        }
    }

    /// A subscription of another server stands for another number of members of its group.
    pub(crate) fn reweigh(&self, subscription: &Subscription, weight: u32) {
        let change = self.feed.change();
        let was = subscription.set_weight(weight);
        if let Some(change) = change {
            change.tell(subscription, was, weight);
        }
    }
}

#[cfg(test)]
mod tests;
