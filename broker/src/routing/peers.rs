//! Other servers among the receivers of a message. Each gets it once, with the queue groups that it is to give it to a member of.

use std::sync::Arc;

use smallvec::SmallVec;
use weir_wire::link::{Head, Queues};

use super::{Matched, Outgoing, XorShift, give_one_of};
use crate::interest::{Account, Peer, Subscription, Target, What, Work, may_cross};
use crate::link::Sink;

/// What the reply of a message from a stream begins with, by which it is acknowledged.
const ACK: &[u8] = b"$JS.ACK.";

/// Which queue groups a message may go to.
#[derive(Clone, Copy)]
pub(crate) enum Groups<'a> {
    /// Any.
    All,
    #[cfg_attr(not(test), expect(dead_code, reason = "leaf nodes: no other server is let in yet"))]
    /// These: another server has chosen among those that it knows.
    Only(Queues<'a>),
}

impl Groups<'_> {
    fn has(self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Only(queues) => queues.has(name),
        }
    }
}

/// A message to one server, before it goes.
struct Parcel<'a> {
    peer: &'a Arc<Peer>,
    /// The groups that it gives it to a member of, beside those of it that are in none.
    groups: SmallVec<[&'a [u8]; 2]>,
}

/// Gives a message to all that are left once those here have it that are in no group: to one member of each group, whichever server has
/// it, and to the other servers. Returns how many took it.
#[cold]
pub(super) fn give_rest(
    account: &Account,
    matched: &Matched,
    to: &[u8],
    outgoing: &Outgoing<'_>,
    sink: &mut Sink,
    random: &mut XorShift,
    work: &mut Work,
) -> usize {
    let mut parcels: SmallVec<[Parcel<'_>; 4]> = SmallVec::new();
    let mut taken = 0;
    let plain = matched.peers.iter().filter_map(|of| goes_to(of, outgoing));
    parcels.extend(plain.map(|peer| Parcel {
        peer,
        groups: SmallVec::new(),
    }));
    for (here, others) in matched.groups() {
        let name = here.iter().chain(others).find_map(|member| member.queue.as_deref());
        let Some(name) = name.filter(|name| outgoing.groups.has(name)) else {
            continue;
        };
        // A member here is nearer than any other, whatever their weights.
        if give_one_of(account, here, to, outgoing, sink, random, work) {
            taken += 1;
        } else if let Some(peer) = choose(others, outgoing, random) {
            let number = peer.standing.number;
            match parcels.iter_mut().find(|parcel| parcel.peer.standing.number == number) {
                Some(parcel) => parcel.groups.push(name),
                None => parcels.push(Parcel {
                    peer,
                    groups: SmallVec::from_slice(&[name]),
                }),
            }
        }
    }
    for parcel in &parcels {
        taken += usize::from(send(parcel.peer, &parcel.groups, to, outgoing, sink));
    }
    taken
}

/// Gives a message to the one subscription of another server that is its receiver: it hears what its account imports.
pub(super) fn give_alone(
    peer: &Arc<Peer>,
    subscription: &Subscription,
    to: &[u8],
    outgoing: &Outgoing<'_>,
    sink: &mut Sink,
) -> bool {
    let groups = subscription.queue.as_deref();
    may_cross(outgoing.origin, &peer.standing, What::Message) && send(peer, groups.as_slice(), to, outgoing, sink)
}

/// The server whose subscription it is, if the message may go there.
fn goes_to<'a>(subscription: &'a Arc<Subscription>, outgoing: &Outgoing<'_>) -> Option<&'a Arc<Peer>> {
    let Target::Peer(peer) = &subscription.target else {
        return None;
    };
    let may = may_cross(outgoing.origin, &peer.standing, What::Message) && peer.link.closing().is_none();
    may.then_some(peer)
}

/// One of the servers that have members of a group, each as often as it has members.
fn choose<'a>(
    others: &'a [Arc<Subscription>],
    outgoing: &Outgoing<'_>,
    random: &mut XorShift,
) -> Option<&'a Arc<Peer>> {
    let candidates = || {
        let each = others
            .iter()
            .filter_map(|of| Some((goes_to(of, outgoing)?, of.weight())));
        each.filter(|(_, weight)| *weight > 0)
    };
    let all = candidates().map(|(_, weight)| u64::from(weight)).sum::<u64>();
    let mut left = random.any() % all.max(1);
    let mut chosen = None;
    for (peer, weight) in candidates() {
        // A weight may change meanwhile: then the last one is it.
        chosen = Some(peer);
        match left.checked_sub(u64::from(weight)) {
            Some(rest) => left = rest,
            None => break,
        }
    }
    chosen
}

fn send(peer: &Arc<Peer>, groups: &[&[u8]], to: &[u8], outgoing: &Outgoing<'_>, sink: &mut Sink) -> bool {
    if outgoing.journey.is_some_and(|journey| journey.only) {
        return true;
    }
    let message = &outgoing.message;
    // The subject that a stream has it under goes behind the reply, since the line has only the one that it is sent to.
    let marked;
    let reply = match message.reply.starts_with(ACK) && message.subject != to {
        true => {
            marked = [message.reply, b"@", message.subject].concat();
            &marked
        }
        false => message.reply,
    };
    let head = Head {
        reply: (!reply.is_empty()).then_some(reply),
        queues: Queues::of(groups),
        ..Head::new(to)
    };
    peer.link.forward(&head, message, sink)
}

#[cfg(test)]
mod tests;
