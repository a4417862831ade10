//! The way of one message through the server, for whoever asked to be told of it (nats-server's message tracing).

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Account, Subscription};
use crate::limits::JOURNEY_STATIONS;
use crate::link::Link;

/// The header by which a message asks to have its way told, and where.
pub(crate) const TRACE_DEST: &str = "Nats-Trace-Dest";
/// What the header holds where the way is told no further.
pub(crate) const TRACE_DISABLED: &str = "trace disabled";

/// Told of the stations of a message's way once it is over.
pub(crate) type Teller = Box<dyn FnOnce(Vec<Value>) + Send + Sync>;

/// The way of one message. All who may still have something to add hold it; when the last of them lets go of it, it is told.
pub struct Journey {
    /// Whether the message only shows its way: nobody gets it, nor any stream.
    only: bool,
    /// The account that it begins in.
    account: usize,
    /// At most [`JOURNEY_STATIONS`].
    stations: Mutex<Vec<Value>>,
    teller: Option<Teller>,
}

/// The way of a message, as far as it has come.
#[derive(Clone, Copy)]
pub struct Trail<'a> {
    journey: &'a Arc<Journey>,
    /// It came into an account that tells nothing.
    silent: bool,
    /// The filter by which the account that it came from heard it, if it is heard in another one.
    heard: Option<&'a [u8]>,
}

impl Journey {
    /// A message of this client to `subject` begins its way in `account`.
    pub(crate) fn begin(only: bool, account: &Account, from: &Link, subject: &[u8], teller: Teller) -> Arc<Self> {
        let mut first = station("in");
        sign(&mut first, from);
        first["acc"] = json!(account.name);
        first["subj"] = text(subject);
        Arc::new(Self {
            only,
            account: account.number,
            stations: Mutex::new(vec![first]),
            teller: Some(teller),
        })
    }

    fn add(&self, station: Value) {
        let mut stations = self.stations.lock();
        if stations.len() < JOURNEY_STATIONS {
            stations.push(station);
        }
    }

    /// It ends where it began.
    pub(crate) fn refused(&self, why: &str) {
        if let Some(first) = self.stations.lock().first_mut() {
            first["error"] = json!(why);
        }
    }

    /// Its account maps its subject to another one.
    pub(crate) fn mapped(&self, to: &[u8]) {
        let mut mapped = station("sm");
        mapped["to"] = text(to);
        self.add(mapped);
    }

    /// A stream took it, or would have; or says why not.
    pub(crate) fn stored(&self, stream: &str, taken: Result<&[u8], &str>) {
        let mut stored = station("js");
        stored["stream"] = json!(stream);
        match taken {
            Ok(subject) => stored["subject"] = text(subject),
            Err(why) => stored["error"] = json!(why),
        }
        self.add(stored);
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        let stations = std::mem::take(self.stations.get_mut());
        if let Some(teller) = self.teller.take() {
            teller(stations);
        }
    }
}

impl<'a> Trail<'a> {
    pub(crate) fn new(journey: &'a Arc<Journey>) -> Self {
        Self {
            journey,
            silent: false,
            heard: None,
        }
    }

    /// Whether nobody gets the message.
    pub(crate) fn is_only(&self) -> bool {
        self.journey.only
    }

    /// The journey, for who has something to add to it; `None` where nothing is told.
    pub(crate) fn journey(&self) -> Option<&'a Arc<Journey>> {
        (!self.silent).then_some(self.journey)
    }

    /// A client of this account gets it, or does not.
    pub(crate) fn given(&self, account: &Account, subscription: &Subscription, link: &Link, error: Option<&str>) {
        let Some(journey) = self.journey() else { return };
        let mut given = station("eg");
        sign(&mut given, link);
        if account.number != journey.account {
            given["acc"] = json!(account.name);
        }
        given["sub"] = text(self.heard.unwrap_or(&subscription.subject));
        if let Some(queue) = &subscription.queue {
            given["queue"] = text(queue);
        }
        if let Some(error) = error {
            given["error"] = json!(error);
        }
        journey.add(given);
    }

    /// An account hears it as `to`, by importing what the subscription with the filter `heard` matches.
    #[must_use]
    pub(crate) fn heard(self, importer: &Account, to: &[u8], heard: &'a [u8], goes_on: bool) -> Self {
        if let Some(journey) = self.journey() {
            let mut export = station("se");
            export["acc"] = json!(importer.name);
            export["to"] = text(to);
            journey.add(export);
        }
        Self {
            silent: self.silent || !goes_on,
            heard: Some(heard),
            ..self
        }
    }

    /// It asks a service of another account, or answers a request of one.
    #[must_use]
    pub(crate) fn crossed(self, account: &Account, from: &[u8], to: &[u8], goes_on: bool) -> Self {
        if let Some(journey) = self.journey() {
            let mut import = station("si");
            import["acc"] = json!(account.name);
            import["from"] = text(from);
            import["to"] = text(to);
            journey.add(import);
        }
        Self {
            silent: self.silent || !goes_on,
            ..self
        }
    }
}

fn station(kind: &str) -> Value {
    json!({"type": kind, "ts": Timestamp::now().to_string()})
}

/// Whose connection it is. 0 means: a client's.
fn sign(station: &mut Value, link: &Link) {
    station["kind"] = json!(0);
    station["cid"] = json!(link.id);
    let name = link.name();
    if !name.is_empty() {
        station["name"] = json!(name);
    }
}

fn text(bytes: &[u8]) -> Value {
    json!(String::from_utf8_lossy(bytes))
}
