//! How often each subject of an account is wanted, here and by which other server.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

use foldhash::fast::RandomState;
use smallvec::SmallVec;
use weir_wire::link::{Dialect, Queue, Sub, Unsub, encode};

use crate::interest::{Origin, Peer, Subscription, What, may_cross};
use crate::link::Sink;

/// What the subject begins with by which rings of servers are found out.
const LOOPS: &[u8] = b"$LDS.";

/// The entries, by what a line says of each: the subject, and behind a blank the queue group.
#[derive(Default)]
pub(super) struct Ledger(HashMap<Box<[u8]>, Entry, RandomState>);

#[derive(Default)]
struct Entry {
    /// Subscriptions of this server's own.
    here: u32,
    /// Those of others, and how many members of the group each stands for.
    of: SmallVec<[(Arc<Peer>, u32); 1]>,
}

impl Ledger {
    /// A subscription stands for so many where it stood for others before; tells those of `peers` for whom that makes a difference.
    pub fn count(&mut self, subscription: &Subscription, was: u32, now: u32, peers: &[Arc<Peer>], sink: &mut Sink) {
        let key = key_of(subscription);
        let mut slot = match self.0.entry(key) {
            Slot::Occupied(slot) => slot,
            Slot::Vacant(slot) => slot.insert_entry(Entry::default()),
        };
        let before: SmallVec<[u32; 4]> = peers.iter().map(|peer| slot.get().visible(slot.key(), peer)).collect();
        slot.get_mut().add(subscription.original().peer(), was, now);
        for (peer, before) in peers.iter().zip(before) {
            let after = slot.get().visible(slot.key(), peer);
            peer.link.enqueue_some(sink, |out| line(out, slot.key(), before, after));
        }
        if slot.get().is_empty() {
            slot.remove();
        }
    }

    /// Tells one that is new of everything that it may know of.
    pub fn tell_all(&self, peer: &Arc<Peer>, sink: &mut Sink) {
        peer.link.enqueue_some(sink, |out| {
            let before = out.len();
            for (key, entry) in &self.0 {
                line(out, key, 0, entry.visible(key, peer));
            }
            out.len() > before
        });
    }
}

impl Entry {
    fn add(&mut self, peer: Option<&Arc<Peer>>, was: u32, now: u32) {
        let Some(peer) = peer else {
            self.here = self.here.saturating_sub(was).saturating_add(now);
            return;
        };
        let number = peer.standing.number;
        let known = self.of.iter().position(|(other, _)| other.standing.number == number);
        // A server may have several that say the same: what an account imports, say.
        let before = known.map_or(0, |at| self.of[at].1);
        match (known, before.saturating_sub(was).saturating_add(now)) {
            (Some(at), 0) => drop(self.of.swap_remove(at)),
            (Some(at), sum) => self.of[at].1 = sum,
            (None, 0) => {}
            (None, sum) => self.of.push((Arc::clone(peer), sum)),
        }
    }

    fn is_empty(&self) -> bool {
        self.here == 0 && self.of.is_empty()
    }

    /// How many of them that server may know of.
    fn visible(&self, key: &[u8], to: &Peer) -> u32 {
        let what = match key.starts_with(LOOPS) {
            true => What::Loop,
            false => What::Interest,
        };
        let others = self.of.iter();
        let others = others.filter(|(of, _)| may_cross(Origin::Peer(&of.standing), &to.standing, what));
        others.fold(self.here, |sum, (_, weight)| sum.saturating_add(*weight))
    }
}

fn key_of(subscription: &Subscription) -> Box<[u8]> {
    match &subscription.queue {
        None => subscription.subject.clone(),
        Some(queue) => [&subscription.subject, &b" "[..], queue].concat().into(),
    }
}

/// Appends what is to be said of an entry of which there are `now` where there were `was`; answers whether that is anything. How many there
/// are is of interest in groups alone.
fn line(out: &mut Vec<u8>, key: &[u8], was: u32, now: u32) -> bool {
    let blank = key.iter().position(|byte| *byte == b' ');
    let (subject, queue) = match blank {
        Some(at) => (&key[..at], Some(&key[at + 1..])),
        None => (key, None),
    };
    let is_new = match queue {
        Some(_) => was != now,
        None => was == 0,
    };
    match now {
        0 if was == 0 => return false,
        0 => encode::unsub(
            out,
            Dialect::Leaf,
            &Unsub {
                queue,
                ..Unsub::new(subject)
            },
        ),
        weight if is_new => encode::sub(
            out,
            Dialect::Leaf,
            &Sub {
                queue: queue.map(|name| Queue { name, weight }),
                ..Sub::new(subject)
            },
        ),
        _ => return false,
    }
    true
}
