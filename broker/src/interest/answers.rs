//! Requests that came from another account and have not been answered: where their answers go.
//!
//! Whoever answers in the exporting account knows a subject of that account alone (`_R_.…`). What is sent there goes to the subject that
//! the request named, in the account that it came from.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Account, Export};
use crate::limits::{ANSWERS_MAX, ANSWERS_PRUNE};
use crate::link::Link;

/// What `/accountz` calls them: in this place nats-server tells the number of its kind, and not its name.
const SERVICE: u8 = 2;

/// How subjects for answers begin.
pub(crate) const ANSWERS: &[u8] = b"_R_.";

/// Where the answers to one request go.
pub(crate) struct Answer {
    /// The subject in this account that stands for it.
    pub here: Box<[u8]>,
    /// The account that the request came from.
    pub account: Weak<Account>,
    /// The subject there.
    pub to: Box<[u8]>,
    /// The service that was asked.
    pub export: Arc<Export>,
    /// Whether the requester is told who answers, and the other way round.
    pub share: bool,
    /// What is to be told of how long it took.
    pub measure: Option<Measure>,
    /// Whether the first answer has come.
    pub(crate) answered: AtomicBool,
    /// When it, or the last answer, was; in milliseconds since the account was made.
    last: AtomicU64,
    /// The count of the import that it came by.
    open: Arc<AtomicUsize>,
}

/// How long a request takes.
pub(crate) struct Measure {
    /// Who asked.
    pub requester: Arc<Link>,
    /// When the request went to the service.
    pub start: Instant,
    /// The same, by the clock on the wall.
    pub at: jiff::Timestamp,
    /// Headers that asked for it, as JSON has them.
    pub headers: Option<serde_json::Value>,
}

impl Answer {
    /// The count of the import that it came by.
    pub fn waiting(&self) -> &Arc<AtomicUsize> {
        &self.open
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All requests to one account that wait for answers.
pub(crate) struct Answers {
    since: Instant,
    /// How its subjects begin, once there was one.
    prefix: OnceLock<Box<[u8]>>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    by_subject: HashMap<Box<[u8]>, Arc<Answer>>,
    /// In the order in which they came, with some that are over.
    order: VecDeque<Box<[u8]>>,
}

/// What a request to another account is about.
pub(crate) struct Question<'a> {
    /// Where it came from.
    pub account: &'a Arc<Account>,
    /// Where the answer should go there.
    pub reply: &'a [u8],
    /// The service that is asked.
    pub export: &'a Arc<Export>,
    /// Whether the requester's particulars are for the service to know.
    pub share: bool,
    /// What is to be told of how long it takes.
    pub measure: Option<Measure>,
    /// The count of the import that it came by.
    pub open: &'a Arc<AtomicUsize>,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            prefix: OnceLock::new(),
            open: Mutex::default(),
        }
    }
}

/// So many letters and digits, by chance.
fn token(length: usize) -> Vec<u8> {
    weir_engine::names::spell((0..length).map(|_| rand::random())).into_bytes()
}

impl Answers {
    /// The filter that all subjects for answers of this account match, and whether this is the first time that one is needed.
    pub fn filter(&self) -> (Vec<u8>, bool) {
        let mut first = false;
        let prefix = self.prefix.get_or_init(|| {
            first = true;
            [ANSWERS, &token(6), b"."].concat().into()
        });
        ([prefix, &b">"[..]].concat(), first)
    }

    /// Opens a request.
    pub fn ask(&self, question: Question<'_>) -> Arc<Answer> {
        let prefix = self.prefix.get().map_or(ANSWERS, |prefix| prefix);
        question.open.fetch_add(1, Ordering::Relaxed);
        let answer = Arc::new(Answer {
            here: [prefix, &token(11)].concat().into(),
            account: Arc::downgrade(question.account),
            to: question.reply.into(),
            export: Arc::clone(question.export),
            share: question.share,
            measure: question.measure,
            answered: AtomicBool::new(false),
            last: AtomicU64::new(self.now()),
            open: Arc::clone(question.open),
        });
        let mut open = self.open.lock();
        open.by_subject.insert(answer.here.clone(), Arc::clone(&answer));
        open.order.push_back(answer.here.clone());
        open.prune();
        answer
    }

    /// Where an answer on this subject goes.
    pub fn get(&self, here: &[u8]) -> Option<Arc<Answer>> {
        self.open.lock().by_subject.get(here).cloned()
    }

    /// A request is over.
    pub fn close(&self, answer: &Answer) {
        self.open.lock().by_subject.remove(&answer.here);
    }

    /// An answer has come, and another one may.
    pub fn touch(&self, answer: &Answer) {
        answer.last.store(self.now(), Ordering::Relaxed);
    }

    /// Takes out the requests whose time is over.
    pub fn expire(&self) -> Vec<Arc<Answer>> {
        let now = self.now();
        let mut over = Vec::new();
        let mut open = self.open.lock();
        if open.by_subject.is_empty() {
            open.order.clear();
            return over;
        }
        open.by_subject.retain(|_, answer| {
            let waited = Duration::from_millis(now.saturating_sub(answer.last.load(Ordering::Relaxed)));
            let stays = waited < answer.export.threshold;
            if !stays {
                over.push(Arc::clone(answer));
            }
            stays
        });
        over
    }

    /// Those that are open, as a report tells them, and no more than so many.
    pub fn told(&self, max: usize) -> serde_json::Map<String, serde_json::Value> {
        let open = self.open.lock();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let all = open.by_subject.iter().take(max).map(|(here, answer)| {
            let requester = answer.account.upgrade();
            let told = serde_json::json!({
                "subject": text(&answer.to), "account": requester.map(|account| account.name.to_string()),
                "to": text(here), "local_subject": text(here), "type": SERVICE,
                "invalid": false, "share": answer.share, "tracking": answer.measure.is_some(),
            });
            (text(here), told)
        });
        all.collect()
    }

    /// How many are open.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.open.lock().by_subject.len()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Open {
    /// Forgets the oldest ones beyond the bound, and in the order those that are over, now and then.
    fn prune(&mut self) {
        while self.by_subject.len() > ANSWERS_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            self.by_subject.remove(&oldest);
        }
        if self.order.len() > self.by_subject.len() * 2 + ANSWERS_PRUNE {
            let there = &self.by_subject;
            self.order.retain(|subject| there.contains_key(subject));
        }
    }
}

#[cfg(test)]
mod tests;
