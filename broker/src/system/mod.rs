//! What the server tells of itself on subjects that begin with `$SYS`: events for the system account, and answers to requests.
//!
//! One thread makes all of it, in the order in which it is asked for and in which things happen; what may wait for it is bounded. So
//! no connection's task and no storage thread is kept by it.

mod about;
mod answers;
mod asked;
mod claims;
mod events;
mod journeys;
pub(crate) mod user_info;

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::interest::{Account, Inbound, Narrator, Service, Told, Work};
use crate::limits::{CONNS_PERIOD, STATSZ_PERIOD_MAX, STATSZ_PERIOD_MIN, SYSTEM_QUEUE, SYSTEM_REQUEST_MAX};
use crate::link::{ClientInfo, CloseReason, Snapshot};
use crate::report::Reports;
use crate::routing::Courier;
use crate::session::{Hall, Witness};
use about::About;
use answers::{NSUBS, OF_A_SERVER, OF_AN_ACCOUNT, SUBSCRIBERS, TO_A_SERVER, Topic, USER_INFO};
use events::{Gone, Revoked};

/// All that answers and events are made from.
struct System {
    context: Arc<Context>,
    reports: Arc<Reports>,
    hall: Arc<Hall>,
    about: About,
}

/// What the thread does next.
enum Item {
    Came(Box<ClientInfo>),
    Went(Box<Gone>),
    Revoked(Box<Revoked>),
    Asked(Box<Asked>),
    Claims(Box<claims::Claims>),
    Traced(Box<Told>),
    /// Nothing more.
    End,
}

/// A request.
struct Asked {
    topic: Topic,
    account: Arc<Account>,
    subject: Bytes,
    reply: Bytes,
    payload: Bytes,
}

/// Sends one message into an account.
fn send(account: &Arc<Account>, to: &[u8], payload: &[u8]) {
    Courier::new(Arc::clone(account)).send(to, to, b"", b"", payload);
}

/// Answers and tells from now on, until the server has stopped.
///
/// # Errors
/// The operating system has no thread left, or the interest graph no room.
pub(crate) fn start(hall: &Arc<Hall>, reports: &Arc<Reports>) -> Result<Services> {
    let (queue, items) = sync_channel(SYSTEM_QUEUE);
    let system = Arc::new(System {
        context: Arc::clone(&hall.context),
        reports: Arc::clone(reports),
        hall: Arc::clone(hall),
        about: About::new(&hall.context),
    });
    serve(&system, &queue)?;
    let services = Services {
        context: Arc::clone(&hall.context),
        system: Arc::clone(&reports.accounts.system),
        queue: queue.clone(),
        served: Mutex::new(reports.accounts.all().iter().map(|account| account.number).collect()),
    };
    let ear = Ear {
        // The hall has this, and the system has the hall.
        system: Arc::downgrade(&system),
        queue: queue.clone(),
    };
    // Set once per server, here.
    let _ = hall.witness.set(Box::new(ear));
    let waiting = journeys::Waiting::new(queue);
    let _ = hall.narrator.set(Arc::clone(&waiting) as Arc<dyn Narrator>);
    std::thread::Builder::new()
        .name("weir-system".to_owned())
        .spawn(move || run(&system, &items, &waiting))
        .map_err(|source| Error::System {
            doing: "start the thread of the system account",
            source,
        })?;
    Ok(services)
}

/// Subscribes to all requests.
fn serve(system: &Arc<System>, queue: &SyncSender<Item>) -> Result<()> {
    let id = &system.context.identity.id;
    let accounts = &system.reports.accounts;
    let hear = |account: &Arc<Account>, subject: String, topic: Topic| {
        let service = Listener {
            topic,
            account: Arc::clone(account),
            system: Arc::clone(&accounts.system),
            queue: queue.clone(),
        };
        account.serve(subject.as_bytes(), Arc::new(service)).map(|_| ())
    };
    let own = &accounts.system;
    hear(own, "$SYS.REQ.SERVER.PING".to_owned(), Topic::Statsz)?;
    for (name, topic) in OF_A_SERVER {
        hear(own, format!("$SYS.REQ.SERVER.PING.{name}"), *topic)?;
    }
    for (name, topic) in OF_A_SERVER.iter().chain(TO_A_SERVER) {
        hear(own, format!("$SYS.REQ.SERVER.{id}.{name}"), *topic)?;
    }
    hear(own, NSUBS.to_owned(), Topic::Nsubs)?;
    hear(own, SUBSCRIBERS.to_owned(), Topic::Subscribers)?;
    hear(own, USER_INFO.to_owned(), Topic::UserInfo)?;
    for (name, topic) in OF_AN_ACCOUNT {
        hear(own, format!("$SYS.REQ.ACCOUNT.*.{name}"), *topic)?;
    }
    if let Some(trust) = &system.hall.trust {
        claims::serve(trust, own, queue)?;
    }
    for account in accounts.all() {
        if !Arc::ptr_eq(&account, own) {
            serve_in(&account, own, queue)?;
        }
    }
    Ok(())
}

/// Subscribes to what the clients of an account may ask of it.
fn serve_in(account: &Arc<Account>, system: &Arc<Account>, queue: &SyncSender<Item>) -> Result<()> {
    let hear = |subject: &str, topic: Topic| {
        let service = Listener {
            topic,
            account: Arc::clone(account),
            system: Arc::clone(system),
            queue: queue.clone(),
        };
        account.serve(subject.as_bytes(), Arc::new(service)).map(|_| ())
    };
    hear("$SYS.REQ.ACCOUNT.PING.CONNZ", Topic::AccountConnz)?;
    hear("$SYS.REQ.ACCOUNT.PING.STATZ", Topic::AccountStatz)?;
    hear("$SYS.REQ.SERVER.PING.CONNZ", Topic::Connz)
}

/// Answers the clients of accounts that come later.
pub(crate) struct Services {
    context: Arc<Context>,
    system: Arc<Account>,
    queue: SyncSender<Item>,
    /// Those that are answered already, by number.
    served: Mutex<HashSet<usize>>,
}

impl Services {
    /// Answers those of this account.
    ///
    /// # Errors
    /// There is no room for that.
    pub fn serve_in(&self, account: &Arc<Account>) -> Result<()> {
        if !self.served.lock().insert(account.number) {
            return Ok(());
        }
        user_info::serve_in(&self.context, account)?;
        serve_in(account, &self.system, &self.queue)
    }
}

/// Hears requests of one kind.
struct Listener {
    topic: Topic,
    account: Arc<Account>,
    /// The system account, which is another one or the same.
    system: Arc<Account>,
    queue: SyncSender<Item>,
}

impl Service for Listener {
    fn message(&self, message: &Inbound<'_>, _: &mut Work) {
        if message.reply.is_empty() && !matches!(self.topic, Topic::Kick | Topic::Ldm) {
            return;
        }
        if message.payload.len() > SYSTEM_REQUEST_MAX {
            tracing::warn!(
                "a request of {} bytes to the system account is not answered",
                message.payload.len()
            );
            return;
        }
        let asked = Asked {
            topic: self.topic,
            account: Arc::clone(&self.account),
            subject: message.own(message.subject),
            reply: message.own(message.reply),
            payload: message.own(message.payload),
        };
        put(&self.queue, Item::Asked(Box::new(asked)));
    }

    fn of_system(&self, _: &[u8]) -> Option<(String, String)> {
        if Arc::ptr_eq(&self.system, &self.account) {
            return None;
        }
        let name = match self.topic {
            Topic::AccountStatz => "STATZ",
            _ => "CONNZ",
        };
        Some((
            self.system.name.to_string(),
            format!("$SYS.REQ.ACCOUNT.{}.{name}", self.account.name),
        ))
    }
}

fn put(queue: &SyncSender<Item>, item: Item) {
    match queue.try_send(item) {
        // The server has ended.
        Ok(()) | Err(TrySendError::Disconnected(_)) => {}
        Err(TrySendError::Full(_)) => {
            tracing::debug!("the system account's queue is full: an event or a request is dropped")
        }
    }
}

/// Told of clients by their tasks.
struct Ear {
    system: Weak<System>,
    queue: SyncSender<Item>,
}

impl Witness for Ear {
    fn came(&self, client: ClientInfo) {
        put(&self.queue, Item::Came(Box::new(client)));
    }

    fn went(&self, client: ClientInfo, last: &Snapshot, reason: CloseReason, connected: bool) {
        let refused = matches!(
            reason,
            CloseReason::AuthenticationFailure
                | CloseReason::AuthenticationTimeout
                | CloseReason::ProxyNotTrusted
                | CloseReason::ProxyRequired
        );
        if !connected && !refused {
            return;
        }
        let traffic = &last.traffic;
        let gone = Gone {
            client,
            stop: last.stop.map_or(last.start, |(stop, _)| stop),
            sent: (traffic.out_messages, traffic.out_bytes),
            received: (traffic.in_messages, traffic.in_bytes),
            reason: reason.text(),
            refused,
        };
        put(&self.queue, Item::Went(Box::new(gone)));
    }

    fn revoked(&self, own: &[u8], link: Option<&[u8]>, reason: &str) {
        let revoked = Revoked {
            own: own.into(),
            link: link.map(Into::into),
            reason: reason.to_owned(),
        };
        put(&self.queue, Item::Revoked(Box::new(revoked)));
    }

    fn opened(&self, account: &Arc<Account>) {
        let Some(system) = self.system.upgrade() else { return };
        let served = serve_in(account, &system.reports.accounts.system, &self.queue)
            .and_then(|()| user_info::serve_in(&system.context, account));
        if let Err(error) = served {
            tracing::error!("account {}: {error}", account.name);
        }
    }

    fn leaving(&self, gently: bool) {
        if let Some(system) = self.system.upgrade() {
            system.tell_leaving(gently);
        }
        if !gently {
            put(&self.queue, Item::End);
        }
    }
}

/// The thread.
fn run(system: &System, items: &Receiver<Item>, journeys: &journeys::Waiting) {
    let stopped = system.context.status.stopping();
    let mut pause = STATSZ_PERIOD_MIN;
    let (mut statsz, mut connections) = (Instant::now() + pause, Instant::now() + CONNS_PERIOD);
    while !*stopped.borrow() {
        let next = statsz.min(connections);
        match items.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Item::Came(client)) => system.tell_came(&client),
            Ok(Item::Went(gone)) => system.tell_went(&gone),
            Ok(Item::Revoked(revoked)) => system.tell_revoked(&revoked),
            Ok(Item::Asked(asked)) => system.reply(&asked),
            Ok(Item::Claims(claims)) => system.attend(&claims),
            Ok(Item::Traced(told)) => system.tell_journey(journeys.taken(*told)),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Item::End) | Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        if now >= statsz {
            system.tell_statsz();
            pause = (pause * 2).min(STATSZ_PERIOD_MAX);
            statsz = now + pause;
        }
        if now >= connections {
            system.tell_all_connections();
            connections = now + CONNS_PERIOD;
        }
    }
}

impl System {
    fn reply(&self, asked: &Asked) {
        let subject = String::from_utf8_lossy(&asked.subject);
        let named = subject
            .strip_prefix("$SYS.REQ.ACCOUNT.")
            .and_then(|rest| rest.rsplit_once('.'))
            .map(|(account, _)| account);
        let answer = self.answer(asked.topic, &asked.account, named, &asked.payload);
        if let Some(answer) = answer.filter(|_| !asked.reply.is_empty()) {
            send(&asked.account, &asked.reply, answer.to_string().as_bytes());
        }
    }
}
