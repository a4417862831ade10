//! The journey of one message through the server, noted for whoever asked to be told of it: message tracing, as nats-server has it
//! (its ADR-41).
//!
//! What notes something holds on to the journey: the sender's session while it routes the message, a storage thread until it is known
//! what became of it there. When the last of them lets go, it is told.

mod wish;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Serialize, Serializer};

use super::{Account, Subscription};
use crate::limits::JOURNEY_EVENTS_MAX;
use crate::link::Link;
pub(crate) use wish::{Wish, is_wished};

/// The header that names where to tell of a message's journey.
pub(crate) const DEST: &str = "Nats-Trace-Dest";
/// What stands there in a message that is traced no more. No subject.
pub(crate) const DISABLED: &str = "trace disabled";

/// Who tells of journeys that are over.
pub trait Narrator: Send + Sync {
    /// Tells of one. Must not block: any thread that lets go of a message calls it.
    fn tell(&self, told: Box<Told>);
}

/// How the one who asked wants to be told (`Accept-Encoding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// He does not say.
    Plain,
    /// `gzip`.
    Gzip,
    /// `snappy`, or `s2`.
    Snappy,
    /// In a way that is not known here.
    Unknown,
}

/// What is told of a journey.
pub struct Told {
    /// The account in which it is told.
    pub account: Arc<Account>,
    /// On which subject.
    pub to: String,
    /// How it is packed.
    pub encoding: Encoding,
    /// What was asked.
    pub request: Asked,
    /// What happened.
    pub events: Vec<Event>,
}

/// The message, as it came.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    /// Its headers.
    #[serde(rename = "header", skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Vec<String>>,
    /// Bytes of headers and payload.
    #[serde(rename = "msgsize", skip_serializing_if = "is_zero")]
    pub size: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// One thing that happened, with the fields that nats-server tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type")]
pub enum Event {
    /// A client sent it.
    #[serde(rename = "in")]
    Ingress {
        /// When.
        #[serde(rename = "ts", serialize_with = "time")]
        at: Timestamp,
        /// Who sent it: 0 for a client.
        kind: u8,
        /// The number of the connection.
        cid: u64,
        /// What it calls itself.
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
        /// Its account.
        #[serde(rename = "acc")]
        account: String,
        /// The subject.
        #[serde(rename = "subj")]
        subject: String,
        /// Why it came no further.
        #[serde(skip_serializing_if = "String::is_empty")]
        error: String,
    },
    /// Its subject was mapped to another one.
    #[serde(rename = "sm")]
    Mapped {
        /// When.
        #[serde(rename = "ts", serialize_with = "time")]
        at: Timestamp,
        /// The other one.
        to: String,
    },
    /// Another account hears it.
    #[serde(rename = "se")]
    Exported {
        /// When.
        #[serde(rename = "ts", serialize_with = "time")]
        at: Timestamp,
        /// That account.
        #[serde(rename = "acc")]
        account: String,
        /// On which subject.
        to: String,
    },
    /// It asks another account's service.
    #[serde(rename = "si")]
    Imported {
        /// When.
        #[serde(rename = "ts", serialize_with = "time")]
        at: Timestamp,
        /// That account.
        #[serde(rename = "acc")]
        account: String,
        /// The subject in the account that asks.
        from: String,
        /// The subject there.
        to: String,
    },
    /// A stream took it, or not.
    #[serde(rename = "js")]
    Stream {
        /// When that was known.
        #[serde(rename = "ts", serialize_with = "time")]
        at: Timestamp,
        /// The stream.
        stream: String,
        /// The subject under which it is stored.
        #[serde(skip_serializing_if = "String::is_empty")]
        subject: String,
        /// It is not kept: nobody wants it.
        #[serde(rename = "nointerest", skip_serializing_if = "std::ops::Not::not")]
        no_interest: bool,
        /// Why it was not stored.
        #[serde(skip_serializing_if = "String::is_empty")]
        error: String,
    },
    /// A connection got it, or not.
    #[serde(rename = "eg")]
    Egress {
        /// When.
        #[serde(rename = "ts", serialize_with = "time")]
        at: Timestamp,
        /// Who got it: 0 for a client.
        kind: u8,
        /// The number of the connection.
        cid: u64,
        /// What it calls itself.
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
        /// Its account, where that is not the sender's.
        #[serde(rename = "acc", skip_serializing_if = "String::is_empty")]
        account: String,
        /// What it subscribed to.
        #[serde(rename = "sub")]
        subscription: String,
        /// In which queue group.
        #[serde(skip_serializing_if = "String::is_empty")]
        queue: String,
        /// Why it did not get it.
        #[serde(skip_serializing_if = "str::is_empty")]
        error: &'static str,
    },
}

fn time<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(at)
}

/// Why a connection did not get a message, in nats-server's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// It is the sender, and does not want its own.
    NoEcho,
    /// Its permissions forbid it to hear the subject.
    Denied,
    /// It is closing.
    Closed,
    /// Its subscription has had as many as it wanted.
    Exhausted,
}

impl Missed {
    fn text(self) -> &'static str {
        match self {
            Self::NoEcho => "Not delivered because of no echo",
            Self::Denied => "Not delivered because subscription denies this subject",
            Self::Closed => "Not delivered because client is closed",
            Self::Exhausted => "Not delivered because auto-unsubscribe exceeded",
        }
    }
}

/// A journey that goes on.
pub struct Journey {
    /// The message is only traced: nobody gets it, and no stream stores it.
    pub only: bool,
    told: Mutex<Option<Box<Told>>>,
    narrator: Arc<dyn Narrator>,
}

impl Drop for Journey {
    fn drop(&mut self) {
        if let Some(told) = self.told.get_mut().take() {
            self.narrator.tell(told);
        }
    }
}

impl Journey {
    /// A journey that begins with a message of `from` on `subject`, `size` bytes long, is wished for so, and is told on `to`.
    pub(crate) fn begin(
        wish: Wish,
        (account, to): (Arc<Account>, String),
        (from, subject, size): (&Link, &[u8], usize),
        narrator: Arc<dyn Narrator>,
    ) -> Arc<Self> {
        let ingress = Event::Ingress {
            at: Timestamp::now(),
            kind: 0,
            cid: from.id,
            name: from.name(),
            account: account.name.to_string(),
            subject: text(subject),
            error: String::new(),
        };
        let told = Told {
            account,
            to,
            encoding: wish.encoding,
            request: Asked {
                headers: wish.headers,
                size,
            },
            events: vec![ingress],
        };
        Arc::new(Self {
            only: wish.only,
            told: Mutex::new(Some(Box::new(told))),
            narrator,
        })
    }

    /// Where the next event stands; `None` if there are too many.
    fn note(&self, event: Event) -> Option<usize> {
        let mut told = self.told.lock();
        let events = &mut told.as_mut()?.events;
        (events.len() < JOURNEY_EVENTS_MAX).then(|| {
            events.push(event);
            events.len() - 1
        })
    }

    /// The message comes no further, for that reason.
    pub(crate) fn refused(&self, why: &str) {
        if let Some(told) = self.told.lock().as_mut()
            && let Some(Event::Ingress { error, .. }) = told.events.first_mut()
        {
            why.clone_into(error);
        }
    }

    /// A connection got it, or did not.
    pub(crate) fn went_out(&self, subscription: &Subscription, link: &Link, missed: Option<Missed>) {
        let mut account = link.account();
        if self
            .told
            .lock()
            .as_ref()
            .is_some_and(|told| *told.account.name == *account)
        {
            account.clear();
        }
        self.note(Event::Egress {
            at: Timestamp::now(),
            kind: 0,
            cid: link.id,
            name: link.name(),
            account,
            subscription: text(&subscription.subject),
            queue: subscription.queue.as_deref().map(text).unwrap_or_default(),
            error: missed.map_or("", Missed::text),
        });
    }

    /// Its subject became another one.
    pub(crate) fn mapped(&self, to: &[u8]) {
        let (at, to) = (Timestamp::now(), text(to));
        self.note(Event::Mapped { at, to });
    }

    /// Another account hears it, on that subject.
    pub(crate) fn exported(&self, account: &str, to: &[u8]) {
        self.note(Event::Exported {
            at: Timestamp::now(),
            account: account.to_owned(),
            to: text(to),
        });
    }

    /// It asks a service of another account.
    pub(crate) fn imported(&self, account: &str, from: &[u8], to: &[u8]) {
        self.note(Event::Imported {
            at: Timestamp::now(),
            account: account.to_owned(),
            from: text(from),
            to: text(to),
        });
    }

    /// It comes to a stream.
    pub(crate) fn comes_to(self: &Arc<Self>, stream: &str) -> Visit {
        let place = self.note(Event::Stream {
            at: Timestamp::now(),
            stream: stream.to_owned(),
            subject: String::new(),
            no_interest: false,
            error: String::new(),
        });
        Visit {
            journey: Arc::clone(self),
            place,
        }
    }
}

/// A message at a stream.
#[derive(Clone)]
pub(crate) struct Visit {
    journey: Arc<Journey>,
    place: Option<usize>,
}

impl Visit {
    fn change(&self, change: impl FnOnce(&mut Timestamp, &mut String, &mut bool, &mut String)) {
        if let (Some(place), Some(told)) = (self.place, self.journey.told.lock().as_mut())
            && let Some(Event::Stream {
                at,
                subject,
                no_interest,
                error,
                ..
            }) = told.events.get_mut(place)
        {
            change(at, subject, no_interest, error);
        }
    }

    /// It is stored under that subject, if anybody wants it.
    pub fn stored(&self, under: &[u8], wanted: bool) {
        self.change(|at, subject, no_interest, _| {
            *at = Timestamp::now();
            (*subject, *no_interest) = (text(under), !wanted);
        });
    }

    /// It is not stored, for that reason.
    pub fn failed(&self, why: String) {
        self.change(|_, _, _, error| *error = why);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
