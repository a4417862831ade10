//! The queue of pull requests that wait.

use bytes::Bytes;

use crate::consumer::deliver::ROOM;
use crate::consumer::priority::Eligible;
use crate::consumer::request::{GroupRequest, PullRequest};
use crate::consumer::{Consumer, PriorityPolicy};
use crate::shard::emit::{Emit, Status};
use crate::shard::turn::Turn;
use crate::types::{NanoTime, Nanos};

/// A request in the queue.
#[derive(Debug)]
pub(super) struct Waiting {
    pub reply: Bytes,
    /// Messages still wanted.
    pub left: u64,
    /// Bytes still allowed; `None` for no limit.
    pub bytes_left: Option<u64>,
    /// `NanoTime::MAX` for never.
    pub expires: NanoTime,
    pub no_wait: bool,
    pub heartbeat: Nanos,
    /// When the next heartbeat is due; `NanoTime::MAX` for never.
    pub next_heartbeat: NanoTime,
    /// Whether it was sent anything.
    pub served: bool,
    /// Whether it was JSON.
    pub formal: bool,
    /// How it competes, if it says so.
    pub group: Option<Box<GroupRequest>>,
}

/// Where a message goes.
pub(super) struct Booked {
    pub reply: Bytes,
    /// That request is complete, and so many of its bytes were not used.
    pub unused: Option<u64>,
}

/// Why no request gets a message.
#[derive(Clone, Copy)]
pub(super) enum Unserved {
    /// None waits, or none that may have it.
    Nobody,
    /// The clients of those that wait have no room now.
    Full,
}

impl Waiting {
    /// Messages and bytes that it is short of.
    pub fn short(&self) -> (u64, u64) {
        (self.left, self.bytes_left.unwrap_or(0))
    }

    /// Whether it ends when there is nothing more to send: one that would not wait, unless it said for how long it would
    /// wait for the first message.
    fn is_done(&self) -> bool {
        self.no_wait && (self.served || self.expires == NanoTime::MAX)
    }
}

impl Consumer {
    /// Takes a pull request into the queue, or refuses it with a status.
    pub fn pull(&mut self, request: &PullRequest, reply: Bytes, turn: &mut Turn<'_>) {
        if reply.is_empty() {
            return;
        }
        self.idle_since = turn.now;
        let refused = self.refuse(request).or_else(|| self.check_group(request, turn.now));
        if let Some(status) = refused {
            self.tell(reply, status, turn);
            return;
        }
        if self.waiting.len() as i64 >= self.config.max_waiting.max(1) {
            self.drop_dead(turn);
        }
        if self.waiting.len() as i64 >= self.config.max_waiting.max(1) {
            // A client with heartbeats finds out by their absence.
            if request.idle_heartbeat == 0 {
                self.tell(reply, conflict("Exceeded MaxWaiting"), turn);
            }
            return;
        }
        if request.no_wait {
            let available = self.num_pending + self.redeliver.len() as u64;
            if available == 0 && request.expires == 0 {
                self.tell(reply, Status::NoMessages, turn);
                return;
            }
            if available > 0 && !self.waiting.is_empty() {
                self.drop_dead(turn);
            }
            // Clients may ask for as many as there are numbers.
            let left = self.waiting.iter().map(|waiting| waiting.left);
            let promised = left.fold(0, u64::saturating_add);
            if available > 0 && available < promised {
                self.tell(reply, Status::RequestsPending, turn);
                return;
            }
        }
        let after = |nanos: Nanos| match nanos {
            0 => NanoTime::MAX,
            nanos => turn.now.saturating_add(nanos),
        };
        let waiting = Waiting {
            reply,
            left: request.batch,
            bytes_left: (request.max_bytes > 0).then_some(request.max_bytes),
            expires: after(request.expires),
            no_wait: request.no_wait,
            heartbeat: request.idle_heartbeat,
            next_heartbeat: after(request.idle_heartbeat),
            served: false,
            formal: request.formal,
            group: request.group.clone(),
        };
        self.queue(waiting);
    }

    /// Why a request cannot be served at all.
    fn refuse(&self, request: &PullRequest) -> Option<Status> {
        let config = &self.config;
        if config.is_push() {
            return Some(conflict("Consumer is push based"));
        }
        if config.max_batch > 0 && request.batch > config.max_batch as u64 {
            return Some(conflict(format!("Exceeded MaxRequestBatch of {}", config.max_batch)));
        }
        if config.max_expires > 0 && request.expires > config.max_expires {
            let most = weir_duration::format(config.max_expires);
            return Some(conflict(format!("Exceeded MaxRequestExpires of {most}")));
        }
        if config.max_bytes > 0 && request.max_bytes > config.max_bytes as u64 {
            return Some(conflict(format!("Exceeded MaxRequestMaxBytes of {}", config.max_bytes)));
        }
        None
    }

    /// Removes the requests whose client has gone away.
    pub fn drop_dead(&mut self, turn: &mut Turn<'_>) {
        let account = self.name.account.clone();
        self.waiting
            .retain(|waiting| turn.outlet.has_interest(&account, &waiting.reply));
    }

    /// Ends the requests whose time is over, and sends heartbeats. Whenever one of these is due, requests that would not
    /// wait and got something are done as well, though what is unacknowledged holds up the rest: nats-server ends them
    /// then, and clients count on it.
    pub fn tick_pulls(&mut self, turn: &mut Turn<'_>) {
        if self.pull_deadline().is_some_and(|due| due <= turn.now) {
            self.expire_pulls(true, turn);
        }
    }

    /// `end`: requests that would not wait are done.
    fn expire_pulls(&mut self, end: bool, turn: &mut Turn<'_>) {
        let now = turn.now;
        let heartbeat = self.heartbeat(None);
        let mut told = Vec::new();
        self.waiting.retain_mut(|waiting| {
            if waiting.expires <= now {
                let (messages, bytes) = waiting.short();
                told.push((waiting.reply.clone(), Status::RequestTimeout { messages, bytes }));
                return false;
            }
            if end && waiting.is_done() {
                told.push((waiting.reply.clone(), Status::NoMessages));
                return false;
            }
            if waiting.next_heartbeat <= now {
                waiting.next_heartbeat = now.saturating_add(waiting.heartbeat);
                told.push((waiting.reply.clone(), heartbeat.clone()));
            }
            true
        });
        for (to, status) in told {
            self.tell(to, status, turn);
        }
    }

    /// There is nothing more to send: the requests that would not wait are done.
    pub fn end_of_stream(&mut self, turn: &mut Turn<'_>) {
        if !self.waiting.iter().any(Waiting::is_done) {
            return;
        }
        let mut told = Vec::new();
        self.waiting.retain(|waiting| {
            let done = waiting.is_done();
            if done {
                told.push(waiting.reply.clone());
            }
            !done
        });
        for to in told {
            self.tell(to, Status::NoMessages, turn);
        }
    }

    /// Ends all requests for that reason.
    pub fn end_pulls(&mut self, text: &str, turn: &mut Turn<'_>) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.tell(waiting.reply, conflict(text), turn);
        }
    }

    /// Ends all requests for that reason; each is told what it was short of.
    pub fn end_pulls_short(&mut self, text: &str, turn: &mut Turn<'_>) {
        for waiting in std::mem::take(&mut self.waiting) {
            let status = Status::Conflict {
                text: text.to_owned(),
                short: Some(waiting.short()),
            };
            self.tell(waiting.reply, status, turn);
        }
    }

    /// Chooses the request that gets the next message of so many bytes, and books it there. `room` is what the client of
    /// the request at the front was seen to have room for in this turn; 0 if it was not looked at.
    pub(super) fn next_waiting(
        &mut self,
        size: u64,
        room: &mut usize,
        turn: &mut Turn<'_>,
    ) -> Result<Booked, Unserved> {
        let mut passed = 0;
        let mut unserved = Unserved::Nobody;
        loop {
            let waiting = self.waiting.front().ok_or(unserved)?;
            if waiting.expires <= turn.now {
                self.expire_pulls(false, turn);
                continue;
            }
            let mut full = false;
            if *room == 0 {
                if !turn.outlet.has_interest(&self.name.account, &waiting.reply) {
                    self.waiting.pop_front();
                    continue;
                }
                // What is left over for one request is of no use to the next.
                let wanted = if self.waiting.len() == 1 { ROOM } else { size as usize };
                *room = turn.outlet.room(&self.name, &waiting.reply, wanted);
                full = *room == 0;
            }
            let (eligible, fresh_pin) = match self.config.priority_policy {
                _ if full => (Eligible::Later, false),
                PriorityPolicy::None => (Eligible::Yes, false),
                _ => self.eligible(turn),
            };
            match eligible {
                Eligible::Yes => {}
                Eligible::Later => {
                    if full {
                        unserved = Unserved::Full;
                    }
                    self.waiting.rotate_left(1);
                    *room = 0;
                    passed += 1;
                    if passed >= self.waiting.len() {
                        return Err(unserved);
                    }
                    continue;
                }
                Eligible::Never(status) => {
                    self.drop_front(status, room, turn);
                    continue;
                }
            }
            let waiting = self.waiting.front().ok_or(unserved)?;
            if waiting.bytes_left.is_some_and(|left| size > left) {
                let status = Status::Conflict {
                    text: "Message Size Exceeds MaxBytes".to_owned(),
                    short: Some(waiting.short()),
                };
                if fresh_pin {
                    self.pin = None;
                }
                self.drop_front(status, room, turn);
                continue;
            }
            *room = room.saturating_sub(size as usize);
            let booked = self.book_waiting(size, room, turn);
            if passed > 0 {
                self.restore_order();
            }
            return booked.ok_or(unserved);
        }
    }

    /// Takes the request at the front off the queue and tells it why.
    fn drop_front(&mut self, status: Status, room: &mut usize, turn: &mut Turn<'_>) {
        *room = 0;
        if let Some(waiting) = self.waiting.pop_front() {
            self.tell(waiting.reply, status, turn);
        }
    }

    /// Counts a message of so many bytes to the request at the front, and moves that to where its next turn is.
    fn book_waiting(&mut self, size: u64, room: &mut usize, turn: &Turn<'_>) -> Option<Booked> {
        let waiting = self.waiting.front_mut()?;
        if let Some(left) = &mut waiting.bytes_left {
            *left -= size.min(*left);
        }
        waiting.left = waiting.left.saturating_sub(1);
        waiting.served = true;
        if waiting.heartbeat > 0 {
            waiting.next_heartbeat = turn.now.saturating_add(waiting.heartbeat);
        }
        let mut booked = Booked {
            reply: waiting.reply.clone(),
            unused: None,
        };
        if waiting.left == 0 || waiting.bytes_left == Some(0) {
            // Told how many bytes it did not use, if it counted them.
            booked.unused = waiting.bytes_left.filter(|left| *left > 0);
            self.waiting.pop_front();
            *room = 0;
        } else if self.waiting.len() > 1 {
            // In turn: the next message is for the next request.
            match self.config.priority_policy {
                PriorityPolicy::Prioritized => {
                    if let Some(waiting) = self.waiting.pop_front() {
                        self.queue(waiting);
                    }
                }
                _ => self.waiting.rotate_left(1),
            }
            *room = 0;
        }
        Some(booked)
    }

    /// Whether the request with that reply subject waits.
    pub(super) fn is_waiting(&self, reply: &[u8]) -> bool {
        self.waiting.iter().any(|waiting| waiting.reply == reply)
    }

    /// Takes the request with that reply subject off the queue.
    pub fn cancel_pull(&mut self, reply: &[u8]) {
        self.waiting.retain(|waiting| waiting.reply != reply);
    }

    /// Whether a pull request waits.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When [`Consumer::tick_pulls`] next has something to do.
    pub(super) fn pull_deadline(&self) -> Option<NanoTime> {
        self.waiting
            .iter()
            .map(|waiting| waiting.expires.min(waiting.next_heartbeat))
            .min()
            .filter(|deadline| *deadline != NanoTime::MAX)
    }

    pub(super) fn heartbeat(&self, stalled: Option<u64>) -> Status {
        Status::Heartbeat {
            consumer_seq: self.delivered.consumer,
            // How far it looked: what it does not want is behind it as well.
            stream_seq: self.initial.front().map_or(self.next, |first| *first).saturating_sub(1),
            stalled,
        }
    }

    pub(super) fn tell(&self, to: Bytes, status: Status, turn: &mut Turn<'_>) {
        turn.emits.push(Emit::Status {
            consumer: self.name.clone(),
            to,
            status,
        });
    }
}

/// A 409 without counts.
pub(super) fn conflict(text: impl Into<String>) -> Status {
    Status::Conflict {
        text: text.into(),
        short: None,
    }
}
