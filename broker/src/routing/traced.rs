//! Giving a message whose journey is told: the same as any other, and what came of it is noted.

use std::sync::Arc;

use super::{Outgoing, Router};
use crate::interest::{Account, Inbound, Journey, Missed, Shadow, Subscription, Target, Work};
use crate::link::{Link, Sink};

/// Gives a message to one receiver, and notes it. False if it cannot or must not take it.
#[cold]
pub(super) fn give(
    journey: &Arc<Journey>,
    account: &Account,
    subscription: &Arc<Subscription>,
    to: &[u8],
    outgoing: &Outgoing<'_>,
    sink: &mut Sink,
    work: &mut Work,
) -> bool {
    let untraced = Outgoing {
        journey: None,
        ..*outgoing
    };
    match &subscription.target {
        Target::Link { link, .. } => {
            let missed = match (outgoing.from, journey.only) {
                (Some(from), _) if !outgoing.echo && Arc::ptr_eq(from, link) => Some(Missed::NoEcho),
                // Whether it would have room is not looked at.
                (_, true) => None,
                (_, false) => (!super::give(account, subscription, to, &untraced, sink, work)).then(|| why(link)),
            };
            journey.went_out(subscription, link, missed);
            missed.is_none()
        }
        Target::Service(service) => {
            if let Some((system, there)) = service.of_system(to) {
                journey.imported(&system, to, there.as_bytes());
                return !journey.only && super::give(account, subscription, to, &untraced, sink, work);
            }
            if !service.rehearses() {
                return journey.only || super::give(account, subscription, to, &untraced, sink, work);
            }
            let message = &outgoing.message;
            let inbound = Inbound {
                subject: to,
                reply: message.reply,
                headers: message.headers,
                payload: message.payload,
                from: outgoing.from,
                journey: Some(journey),
                chunk: outgoing.chunk,
            };
            if !journey.only {
                subscription.claim.count();
            }
            service.message(&inbound, work);
            true
        }
        Target::Peer(_) => journey.only || super::give(account, subscription, to, &untraced, sink, work),
        Target::Shadow(shadow) => give_shadow(journey, (subscription, shadow), to, outgoing, sink, work),
        // Those are no part of what is given within an account.
        Target::Import(_) | Target::Answers => false,
    }
}

/// Gives a message to a subscription of another account, which imports it; what comes of it there is noted if that account lets it.
fn give_shadow(
    journey: &Arc<Journey>,
    (subscription, shadow): (&Arc<Subscription>, &Shadow),
    to: &[u8],
    outgoing: &Outgoing<'_>,
    sink: &mut Sink,
    work: &mut Work,
) -> bool {
    let (Some(importer), None) = (shadow.bond.importer.upgrade(), outgoing.via) else {
        return false;
    };
    let Some(new) = shadow.bond.rename(to) else {
        return false;
    };
    journey.exported(&importer.name, &new);
    let mut untraced = Outgoing {
        journey: None,
        ..*outgoing
    };
    let Target::Link { link, .. } = &shadow.of.target else {
        // A stream, say.
        if shadow.bond.of.allow_trace {
            untraced.journey = outgoing.journey;
        } else if journey.only {
            return true;
        }
        return super::give_shadow(shadow, to, &untraced, sink, work);
    };
    if !shadow.bond.of.allow_trace {
        return journey.only || super::give_shadow(shadow, to, &untraced, sink, work);
    }
    let missed = match (outgoing.from, journey.only) {
        (Some(from), _) if !outgoing.echo && Arc::ptr_eq(from, link) => Some(Missed::NoEcho),
        _ if shadow.of.denies(&new).0 => Some(Missed::Denied),
        (_, true) => None,
        (_, false) => (!super::give_shadow(shadow, to, &untraced, sink, work)).then(|| why(link)),
    };
    // It is told as what it is in the account that exports.
    journey.went_out(subscription, link, missed);
    missed.is_none()
}

/// Why a connection did not take a message.
fn why(link: &Link) -> Missed {
    match link.closing() {
        Some(_) => Missed::Closed,
        None => Missed::Exhausted,
    }
}

impl Router {
    /// Notes who would hear a message on `to`, were it not denied: those are not among the receivers.
    pub fn note_denied(&self, account: &Account, to: &[u8], journey: &Journey) {
        account.matches(to, |subscription| {
            if let Some(link) = subscription.link().filter(|_| subscription.denies(to).0) {
                journey.went_out(subscription, link, Some(Missed::Denied));
            }
        });
    }
}
