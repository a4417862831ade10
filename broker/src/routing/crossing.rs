//! Messages that go on into other accounts: requests to services that an account imports, and their answers.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use weir_wire::headers;

use super::latency::{self, Outcome};
use super::{Outgoing, Router};
use crate::interest::{
    ANSWERS, Account, Answer, DEST, DISABLED, Export, Measure, Question, ServiceBond, Subscription, Target, Work,
};
use crate::limits::IMPORTS_DEEP;
use crate::link::{Link, RequestInfo};

/// Acknowledgements keep their subjects: who imports a stream's API imports those as well.
const ACKS: &[u8] = b"$JS.ACK.";
/// Who a request comes from.
const REQUEST_INFO: &str = "Nats-Request-Info";

/// The imports that a message came through, the last one first.
pub(crate) struct Via<'a> {
    export: &'a Arc<Export>,
    /// Whether the requester's particulars are for the service to know.
    share: bool,
    before: Option<&'a Via<'a>>,
    depth: usize,
    /// Whether this step, or one before it, took an answer back to who asked.
    is_answer: bool,
}

impl Via<'_> {
    /// Whether it is somebody's answer to a request that came from another account. Such an answer goes where the request says, which
    /// its sender alone has chosen; it asks this server for nothing, whatever subject that is.
    pub fn is_answer(&self) -> bool {
        self.is_answer
    }

    /// Whether it was at this service before.
    fn has(&self, export: &Arc<Export>) -> bool {
        let mut step = Some(self);
        while let Some(via) = step {
            if Arc::ptr_eq(via.export, export) {
                return true;
            }
            step = via.before;
        }
        false
    }
}

/// Whether a message may go to this service: it was not there before, and has not come too far.
fn goes_on(via: Option<&Via<'_>>, export: &Arc<Export>) -> bool {
    via.is_none_or(|via| via.depth < IMPORTS_DEEP && !via.has(export))
}

/// The header block of a message that goes into another account, where it has a new one already (`block`) or was traced: what it says is
/// that it is traced no more, for the other account has nothing to tell to those of this one. Nor is it told any more, unless that account
/// lets it (`allowed`).
fn silenced(onward: &mut Outgoing<'_>, allowed: bool, block: Option<Vec<u8>>) -> Option<Vec<u8>> {
    if onward.journey.is_none() {
        return block;
    }
    if !allowed {
        onward.journey = None;
    }
    let headers = block.as_deref().unwrap_or(onward.message.headers);
    Some(headers::set(headers, DEST, DISABLED))
}

impl Router {
    /// Takes a message into the other accounts that it is for. Returns in how many of them somebody took it.
    #[cold]
    pub(super) fn cross(
        &mut self,
        account: &Arc<Account>,
        crossings: &[Arc<Subscription>],
        to: &[u8],
        outgoing: &Outgoing<'_>,
        work: &mut Work,
    ) -> usize {
        let mut taken = 0;
        for subscription in crossings {
            subscription.claim.count();
            taken += match &subscription.target {
                Target::Import(bond) => usize::from(self.request(account, bond, to, outgoing, work)),
                Target::Answers => {
                    if let Some(answer) = account.answers.get(to) {
                        self.answer(account, &answer, to, outgoing, work);
                    }
                    // As nats-server: also one that nobody waits for any more.
                    1
                }
                _ => 0,
            };
        }
        taken
    }

    /// Takes a request to the account whose service it asks. Whether anybody there took it.
    fn request(
        &mut self,
        account: &Arc<Account>,
        bond: &Arc<ServiceBond>,
        to: &[u8],
        outgoing: &Outgoing<'_>,
        work: &mut Work,
    ) -> bool {
        let via = outgoing.via;
        if !goes_on(via, &bond.export) {
            return false;
        }
        let (Some(exporter), Some(mut there)) = (bond.exporter.upgrade(), bond.rename(to)) else {
            return false;
        };
        if let Some(mapped) = exporter.map(&there, self.random.any()) {
            there = mapped;
        }
        // What was not shared with an account on the way is not shared with those behind it.
        let share = via.map_or(bond.of.share, |via| via.share);
        let goes_on = match outgoing.journey {
            None => true,
            Some(journey) => {
                journey.imported(&exporter.name, to, &there);
                if journey.only && !bond.export.allow_trace {
                    return false;
                }
                !journey.only
            }
        };
        // Nobody answers one that is only traced.
        let measure = match goes_on {
            true => self.measure(bond, outgoing),
            false => None,
        };
        let reply = outgoing.message.reply;
        if reply.is_empty() && measure.is_some() {
            self.tell(
                &exporter,
                &bond.export,
                measure.as_ref(),
                share,
                Outcome::BadRequest,
                work,
            );
        }
        let answer = (goes_on && !reply.is_empty() && !reply.starts_with(ACKS)).then(|| {
            exporter.expect_answers();
            exporter.answers.ask(Question {
                account,
                reply,
                export: &bond.export,
                share: bond.of.share,
                measure,
                open: bond.waiting(),
            })
        });
        let block = self.introduced(account, outgoing, share, bond.of.share);
        let mut onward = *outgoing;
        let block = silenced(&mut onward, bond.export.allow_trace, block);
        if let Some(block) = &block {
            onward.message.headers = block;
            onward.chunk = None;
        }
        if outgoing.message.subject == to {
            onward.message.subject = &there;
        }
        if let Some(answer) = &answer {
            onward.message.reply = &answer.here;
        }
        let step = Via {
            export: &bond.export,
            share,
            before: via,
            depth: via.map_or(0, |via| via.depth) + 1,
            is_answer: via.is_some_and(Via::is_answer),
        };
        onward.via = Some(&step);
        let taken = self.route(&exporter, &there, &onward, work) > 0;
        self.note_crossed(&exporter);
        if let Some(answer) = answer.filter(|_| !taken) {
            exporter.answers.close(&answer);
            self.tell(
                &exporter,
                &answer.export,
                answer.measure.as_ref(),
                answer.share,
                Outcome::Unavailable,
                work,
            );
        }
        taken
    }

    /// Takes an answer back to the account that asked.
    fn answer(
        &mut self,
        account: &Arc<Account>,
        answer: &Arc<Answer>,
        to: &[u8],
        outgoing: &Outgoing<'_>,
        work: &mut Work,
    ) {
        let Some(requester) = answer
            .account
            .upgrade()
            .filter(|_| goes_on(outgoing.via, &answer.export))
        else {
            return;
        };
        let message = &outgoing.message;
        let mapped = requester.map(&answer.to, self.random.any());
        let there = mapped.as_deref().unwrap_or(&answer.to);
        if let Some(journey) = outgoing.journey {
            journey.imported(&requester.name, to, there);
            if journey.only {
                return;
            }
        }
        // Whoever asked may be asked in turn.
        let back = (!message.reply.is_empty() && !message.reply.starts_with(ACKS)).then(|| {
            requester.expect_answers();
            requester.answers.ask(Question {
                account,
                reply: message.reply,
                export: &answer.export,
                share: answer.share,
                measure: None,
                open: answer.waiting(),
            })
        });
        if !answer.answered.swap(true, Ordering::Relaxed) {
            let outcome = Outcome::Answered(outgoing.from);
            let measure = answer.measure.as_ref();
            self.tell(account, &answer.export, measure, answer.share, outcome, work);
        }
        let mut onward = *outgoing;
        let block = silenced(&mut onward, false, None);
        if let Some(block) = &block {
            onward.message.headers = block;
            onward.chunk = None;
        }
        if message.subject == to {
            onward.message.subject = there;
        }
        if let Some(back) = &back {
            onward.message.reply = &back.here;
        }
        let step = Via {
            export: &answer.export,
            share: answer.share,
            before: outgoing.via,
            depth: outgoing.via.map_or(0, |via| via.depth) + 1,
            is_answer: true,
        };
        onward.via = Some(&step);
        let taken = self.route(&requester, there, &onward, work) > 0;
        self.note_crossed(&requester);
        if let Some(back) = back.filter(|_| !taken) {
            requester.answers.close(&back);
        }
        let is_empty = message.headers.is_empty() && message.payload.is_empty();
        let single = answer.export.response == crate::conf::tenancy::ResponseType::Singleton;
        match !taken || single || is_empty {
            true => account.answers.close(answer),
            false => account.answers.touch(answer),
        }
    }

    /// The header block of a request with who it comes from, and with nothing that its sender says of that; `None`: it stays as it is, for
    /// nothing is known of that.
    fn introduced(&self, account: &Account, outgoing: &Outgoing<'_>, share: bool, own: bool) -> Option<Vec<u8>> {
        let block = outgoing.message.headers;
        let link = outgoing.from.map(|link| &**link);
        let info = match (outgoing.via.filter(|via| !via.is_answer), link) {
            // It was introduced when it left its own account. What somebody answered was not: who answers is who asks here.
            (Some(_), _) => headers::get(block, REQUEST_INFO)
                .and_then(|known| RequestInfo::again(known, &account.name, own && !share, link)),
            (None, Some(link)) => Some(link.request_info(share)),
            // A stream's, which a client has stored with whatever headers.
            (None, None) => Some(RequestInfo::of_account(&account.name)),
        };
        let plain = headers::scrub(block, &[REQUEST_INFO]);
        match (info, plain) {
            (Some(info), plain) => Some(headers::insert(&plain, REQUEST_INFO, info)),
            (None, Cow::Owned(plain)) => Some(plain),
            (None, Cow::Borrowed(plain)) => (plain.len() < block.len()).then(|| plain.to_vec()),
        }
    }

    /// What is to be told of how long this request takes, if it is one of those that are looked at.
    fn measure(&mut self, bond: &ServiceBond, outgoing: &Outgoing<'_>) -> Option<Measure> {
        let latency = bond.export.latency.as_ref()?;
        let requester: &Arc<Link> = outgoing.from?;
        let wanted = latency::wanted(latency.sampling, self.random.any(), outgoing.message.headers)?;
        Some(Measure {
            requester: Arc::clone(requester),
            start: Instant::now(),
            at: jiff::Timestamp::now(),
            headers: wanted,
        })
    }

    /// Tells an account how long its service took.
    pub(super) fn tell(
        &mut self,
        account: &Arc<Account>,
        export: &Export,
        measure: Option<&Measure>,
        share: bool,
        outcome: Outcome<'_>,
        work: &mut Work,
    ) {
        let (Some(measure), Some(latency)) = (measure, &export.latency) else {
            return;
        };
        let told = latency::told(measure, share, outcome);
        let subject = latency.subject.as_bytes();
        self.route(account, subject, &Outgoing::own(subject, &told), work);
        self.note_crossed(account);
    }

    /// Whether anybody in another account would take a message on `to`.
    pub(super) fn crossing_interest(account: &Account, crossings: &[Arc<Subscription>], to: &[u8]) -> bool {
        crossings.iter().any(|subscription| match &subscription.target {
            Target::Import(bond) => bond.exporter.upgrade().is_some(),
            Target::Answers if to.starts_with(ANSWERS) => account.answers.get(to).is_some_and(|answer| {
                let requester = answer.account.upgrade();
                requester.is_some_and(|requester| requester.has_interest(&answer.to))
            }),
            _ => false,
        })
    }
}
