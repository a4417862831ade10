//! Choosing what is sent next, and noting that it was.

use crate::consumer::pull::Unserved;
use crate::consumer::{AckPolicy, Consumer, ReplayPolicy};
use crate::error::{Kind, Result};
use crate::index::Sought;
use crate::shard::command::Place;
use crate::shard::emit::{Delivery, Emit, Event, Status};
use crate::shard::turn::Turn;
use crate::stream::ahead::{IfCold, Loaded};
use crate::stream::messages::Messages;
use crate::stream::{Message, SEARCH_LOOKS};
use crate::types::{NanoTime, Seq, StreamId};

/// Why a message that was on its way counts as terminated, in nats-server's words.
const LOST: &str = "Unacknowledged message was deleted";

/// What may be sent next.
#[derive(Clone, Copy)]
enum Choice {
    /// Once more.
    Again(Seq),
    /// For the first time.
    New(Seq),
}

/// What there is to send.
enum Next {
    /// That.
    Message(Choice),
    /// Nothing: everything was sent.
    Nothing,
    /// Nothing before some of what was sent is acknowledged, or before it is time.
    Later,
    /// It is not known yet: the next turn goes on looking.
    Searching,
    /// A disk has to be waited for to know whether it is time for this message.
    Cold(Seq),
}

/// How far a consumer got in a turn.
pub(crate) enum Went {
    /// As far as it can.
    Far,
    /// As far as this turn may look for what comes next.
    Searching,
    /// To a message that a disk has to be waited for.
    Cold(Seq),
}

/// What came of sending a message.
enum Sent {
    Yes,
    /// No client wants it.
    Nobody,
    /// No client that wants it has room for it: the outlet wakes the consumer when one has.
    NoRoom,
}

/// What a message that is passed over takes of the bytes that a turn may send: to look for it in vain takes time, too.
const PASSED: usize = 512;
/// Bytes of room that a consumer asks for at a time, where all of it is for one receiver.
pub(super) const ROOM: usize = 256 << 10;

impl Consumer {
    /// Sends what can be sent now. Adds to `done` the sequences that need no acknowledgement, for the stream's retention.
    ///
    /// # Errors
    /// If storage cannot be read; what was sent until then was sent.
    pub fn deliver(&mut self, stream: &mut Messages, done: &mut Vec<Seq>, turn: &mut Turn<'_>) -> Result<Went> {
        let mut room = 0;
        if self.is_paused(turn.now) {
            // For requests that would not wait there is nothing.
            self.end_of_stream(turn);
            return Ok(Went::Far);
        }
        if self.config.is_push() && !self.is_bound(turn) {
            return Ok(Went::Far);
        }
        while turn.budget > 0 {
            let ready = match self.config.is_push() {
                true => self.push_allows(turn.now),
                false => self.has_waiting(),
            };
            if !ready {
                break;
            }
            let choice = match self.choose(stream, turn, false)? {
                Next::Message(choice) => choice,
                Next::Nothing => {
                    self.end_of_stream(turn);
                    break;
                }
                Next::Later => break,
                Next::Searching => return Ok(Went::Searching),
                Next::Cold(seq) => {
                    self.reading = true;
                    return Ok(Went::Cold(seq));
                }
            };
            let (Choice::Again(seq) | Choice::New(seq)) = choice;
            let if_cold = match self.fetched == Some(seq) {
                true => IfCold::ReadIt,
                false => IfCold::Tell,
            };
            let message = match stream.load_in_order(seq, if_cold) {
                Ok(Loaded::There(message)) => message,
                Ok(Loaded::Cold) => {
                    self.reading = true;
                    return Ok(Went::Cold(seq));
                }
                Ok(Loaded::Gone) => {
                    self.pass_over(&choice);
                    turn.budget = turn.budget.saturating_sub(PASSED);
                    continue;
                }
                Err(error) if error.kind == Kind::Damaged => {
                    if matches!(choice, Choice::New(_)) {
                        self.uncount_next(seq);
                    }
                    self.pass_over(&choice);
                    turn.budget = turn.budget.saturating_sub(PASSED);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match self.send(choice, message, &mut room, turn) {
                Sent::Yes => {}
                Sent::Nobody => {
                    // For those that wait there is nothing.
                    self.end_of_stream(turn);
                    break;
                }
                Sent::NoRoom => break,
            }
            if self.config.ack_policy == AckPolicy::None {
                done.push(seq);
            }
        }
        Ok(Went::Far)
    }

    /// The message that it had to wait for is in memory, or could not be read.
    pub fn fetched(&mut self, seq: Seq) {
        self.reading = false;
        self.fetched = Some(seq);
    }

    /// There is nothing to send: requests that would not wait end; a push consumer that has a subscriber begins to send
    /// heartbeats.
    pub fn rest(&mut self, stream: &Messages, turn: &mut Turn<'_>) {
        let asked = match self.config.is_push() {
            true => self.is_bound(turn),
            false => self.has_waiting(),
        };
        if asked && self.num_pending == 0 && !self.is_full() && !self.is_paused(turn.now) {
            self.skip_to_end(stream);
        }
        if !self.config.is_push() {
            self.end_of_stream(turn);
        }
    }

    /// Whether nothing new may be sent before some of what was sent is acknowledged.
    pub(super) fn is_full(&self) -> bool {
        let limit = self.config.max_ack_pending;
        self.config.ack_policy != AckPolicy::None && limit > 0 && self.pending.len() as i64 >= limit
    }

    /// Looks for what comes next, without taking it; `waits` says whether a disk may be waited for.
    fn choose(&mut self, stream: &mut Messages, turn: &mut Turn<'_>, waits: bool) -> Result<Next> {
        while let Some(&seq) = self.redeliver.first() {
            if self.is_exhausted(seq) {
                self.give_up(seq, turn);
                continue;
            }
            return Ok(Next::Message(Choice::Again(seq)));
        }
        if self.is_full() {
            return Ok(Next::Later);
        }
        if let Some(&seq) = self.initial.front() {
            return Ok(Next::Message(Choice::New(seq)));
        }
        if self.num_pending == 0 {
            self.skip_to_end(stream);
            return Ok(Next::Nothing);
        }
        let seq = match self.filters.is_empty() && stream.is_next_in_order(self.next) {
            true => self.next,
            false => match stream
                .index
                .next_match_within(&mut self.cursor, self.next, &mut turn.scans)?
            {
                Sought::At(seq) => seq,
                Sought::Nothing => {
                    self.skip_to_end(stream);
                    return Ok(Next::Nothing);
                }
                Sought::Later(next) => {
                    self.next = next;
                    return Ok(Next::Searching);
                }
            },
        };
        self.next = seq;
        if self.config.replay_policy == ReplayPolicy::Original && self.replayed.is_some() {
            if !waits && self.fetched != Some(seq) && stream.is_cold(seq) {
                return Ok(Next::Cold(seq));
            }
            if !self.is_due(stream, seq, turn.now)? {
                return Ok(Next::Later);
            }
        }
        Ok(Next::Message(Choice::New(seq)))
    }

    /// What its filters pass over has been seen: it does not come back if the filters change.
    fn skip_to_end(&mut self, stream: &Messages) {
        self.next = self.next.max(stream.last() + 1);
    }

    /// Whether a pull request waits, and there is something for it now.
    pub fn can_serve(&mut self, reply: &[u8], stream: &mut Messages, turn: &mut Turn<'_>) -> Result<bool> {
        if !self.is_waiting(reply) || self.is_paused(turn.now) {
            return Ok(false);
        }
        loop {
            match self.choose(stream, turn, true)? {
                Next::Message(_) => return Ok(true),
                Next::Nothing | Next::Later | Next::Cold(_) => return Ok(false),
                // It has to be known now.
                Next::Searching => turn.scans = SEARCH_LOOKS,
            }
        }
    }

    /// The chosen message cannot be sent: it is gone or damaged.
    fn pass_over(&mut self, choice: &Choice) {
        match *choice {
            Choice::Again(seq) => {
                if self.forget(seq) {
                    // The journal hears of it, or the floor would be another after a restart.
                    self.turn_purged.get_or_insert_default().push(seq);
                }
            }
            Choice::New(seq) => {
                // What was removed has been taken off the count already, unless it was on the list.
                self.take_new(seq);
            }
        }
    }

    /// Sends the chosen message, if there is a client to send it to. `room` is what is left of what the receiver was found
    /// to have room for; it is asked for when it is 0.
    fn send(&mut self, choice: Choice, message: Message, room: &mut usize, turn: &mut Turn<'_>) -> Sent {
        let shown = match self.config.headers_only {
            true => headers_only_len(&message),
            false => message.headers.len() + message.payload.len(),
        };
        let size = message.subject.len() + self.ack_subject_len(&choice, &message) + shown;
        let (to, unused) = match self.config.is_push() {
            true => {
                let to = self.config.deliver_subject.as_bytes();
                if *room == 0 {
                    *room = turn.outlet.room(&self.name, to, ROOM);
                }
                if *room == 0 {
                    return Sent::NoRoom;
                }
                *room = room.saturating_sub(size);
                (bytes::Bytes::copy_from_slice(to), None)
            }
            false => match self.next_waiting(size as u64, room, turn) {
                Ok(booked) => (booked.reply, booked.unused),
                Err(Unserved::Nobody) => return Sent::Nobody,
                Err(Unserved::Full) => return Sent::NoRoom,
            },
        };
        let seq = message.seq;
        let deliveries = match choice {
            Choice::New(_) => {
                self.uncount_next(seq);
                self.take_new(seq);
                1
            }
            Choice::Again(_) => self.deliveries.change_or(seq, 1, |count| {
                *count += 1;
                *count
            }),
        };
        self.replayed = Some((turn.now, message.time));
        self.last_delivery = Some(turn.now);
        if self.turn_delivered.is_empty() {
            self.turn_first_delivery = self.delivered.consumer + 1;
        }
        self.turn_delivered.push(seq);
        self.book(seq, turn.now);
        self.pushed(size, turn);
        turn.budget = turn.budget.saturating_sub(size);
        let completed = unused.map(|bytes| (to.clone(), bytes));
        turn.emits.push(Emit::Deliver(Delivery {
            consumer: self.name.clone(),
            to,
            pin: self.pin_to_name(),
            deliveries,
            consumer_seq: self.delivered.consumer,
            pending: self.num_pending,
            headers_only: self.config.headers_only,
            wants_ack: self.config.ack_policy != AckPolicy::None,
            message,
        }));
        if let Some((to, bytes)) = completed {
            let status = Status::Conflict {
                text: "Batch Completed".to_owned(),
                short: Some((0, bytes)),
            };
            self.tell(to, status, turn);
        }
        self.request_flow_control(turn);
        Sent::Yes
    }

    /// The length of the subject that the message will be acknowledged with, which counts to a client's byte limit.
    fn ack_subject_len(&self, choice: &Choice, message: &Message) -> usize {
        let (times, pending) = match choice {
            Choice::New(_) => (1, self.num_pending.saturating_sub(1)),
            Choice::Again(seq) => (self.deliveries.get(seq).map_or(2, |sent| sent + 1), self.num_pending),
        };
        let numbers = [
            times,
            message.seq,
            self.delivered.consumer + 1,
            message.time.unsigned_abs(),
            pending,
        ];
        let names = self.name.stream.len() + self.name.consumer.len();
        "$JS.ACK.".len() + names + 1 + numbers.iter().map(|number| 1 + digits(*number)).sum::<usize>()
    }

    /// What comes next, of the list or not, does not count as one to be sent any more.
    fn uncount_next(&mut self, seq: Seq) {
        self.num_pending = self.num_pending.saturating_sub(1);
        if self.initial.front() == Some(&seq) {
            self.num_listed = self.num_listed.saturating_sub(1);
        }
    }

    /// Takes a first delivery off what is to come.
    fn take_new(&mut self, seq: Seq) {
        match self.initial.binary_search(&seq) {
            // Those before it were gone, and passed over: the journal says nothing of them.
            Ok(at) => _ = self.initial.drain(..=at),
            Err(_) => {
                self.initial.clear();
                self.next = self.next.max(seq + 1);
            }
        }
    }

    /// Notes a delivery: it counts as the consumer's next, and as pending if it must be acknowledged.
    fn book(&mut self, seq: Seq, now: NanoTime) {
        self.delivered.consumer += 1;
        self.delivered.stream = self.delivered.stream.max(seq);
        if self.config.ack_policy == AckPolicy::None {
            self.ack_floor = self.delivered;
        } else {
            self.track(seq, self.delivered.consumer, now);
        }
    }

    /// Applies deliveries from the journal.
    pub fn replay_delivered(&mut self, first_delivery: u64, seqs: &[Seq], time: NanoTime) {
        let before = first_delivery.saturating_sub(1);
        self.delivered.consumer = self.delivered.consumer.max(before);
        for &seq in seqs {
            if self.pending.contains_key(&seq) {
                self.deliveries.change_or(seq, 1, |count| *count += 1);
            } else {
                self.take_new(seq);
            }
            self.book(seq, time);
        }
        self.last_delivery = Some(time);
    }

    /// Writes this turn's progress to the journal; `stream` names the stream's log.
    pub fn journal_turn(&mut self, stream: StreamId, journaled: bool, turn: &mut Turn<'_>) {
        for (seq, consumer_seq, deliveries) in std::mem::take(&mut self.turn_lost) {
            self.last_ack = Some(turn.now);
            turn.emits.push(Emit::Event(Event::Terminated {
                consumer: self.name.clone(),
                consumer_seq,
                stream_seq: seq,
                deliveries,
                reason: LOST.to_owned(),
            }));
        }
        if journaled && self.is_persistent() {
            // As it happened: a turn takes acknowledgements before it delivers.
            if !self.turn_acked.is_empty() {
                turn.commands.acked(stream, turn.now, self.serial, &self.turn_acked);
            }
            if !self.turn_deferred.is_empty() {
                turn.commands
                    .deferred(stream, turn.now, self.serial, &self.turn_deferred);
            }
            if !self.turn_given_up.is_empty() {
                turn.commands
                    .given_up(stream, turn.now, self.serial, &self.turn_given_up);
            }
            if !self.turn_delivered.is_empty() {
                turn.commands.delivered(
                    stream,
                    turn.now,
                    self.serial,
                    self.turn_first_delivery,
                    &self.turn_delivered,
                );
            }
        }
        if let Some(gone) = self.turn_purged.take()
            && journaled
            && self.is_persistent()
        {
            // Where it stands at the end of the turn, whatever came before and after.
            let place = Place {
                next: self.next,
                delivered: self.delivered,
                ack_floor: self.ack_floor,
            };
            turn.commands.placed(stream, turn.now, self.serial, place, &gone);
        }
        self.turn_delivered.clear();
        self.turn_acked.clear();
        self.turn_deferred.clear();
        self.turn_given_up.clear();
    }

    /// Whether anything could be sent if a client asked.
    pub fn has_work(&self) -> bool {
        let wanted = self.config.is_push() || self.has_waiting();
        wanted && (self.num_pending > 0 || !self.redeliver.is_empty() || !self.initial.is_empty())
    }

    /// Whether it holds back on request.
    pub fn is_paused(&self, now: NanoTime) -> bool {
        self.config.pause_until.is_some_and(|until| until > now)
    }

    /// For replay at the original pace: whether the time between this message and the one before has passed.
    fn is_due(&self, stream: &Messages, seq: Seq, now: NanoTime) -> Result<bool> {
        let Some((sent, stored)) = self.replayed else {
            return Ok(true);
        };
        match stream.load(seq) {
            Ok(Some(message)) => Ok(now.saturating_sub(sent) >= message.time.saturating_sub(stored)),
            Ok(None) => Ok(true),
            // It is passed over at once.
            Err(error) if error.kind == Kind::Damaged => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The times at which [`Consumer::tick`] has something to do: the next of them.
    pub fn next_deadline(&self, now: NanoTime) -> Option<NanoTime> {
        let ack = self.deadlines.first().map(|(deadline, _)| *deadline);
        let idle = (self.config.inactive_threshold > 0)
            .then(|| self.idle_since.saturating_add(self.config.inactive_threshold));
        let resume = self.config.pause_until.filter(|until| *until > now);
        // Replay at the original pace looks every few milliseconds whether the next message is due.
        let replay = (self.config.replay_policy == ReplayPolicy::Original && self.has_work())
            .then(|| now + 5 * crate::types::MILLISECOND);
        let pin = self.pin.as_ref().map(|pin| pin.deadline);
        [
            ack,
            idle,
            resume,
            replay,
            pin,
            self.pull_deadline(),
            self.push_deadline(now),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due. Answers whether the consumer has gone unused for too long and is to be removed.
    pub fn tick(&mut self, turn: &mut Turn<'_>) -> bool {
        self.expire_acks(turn);
        self.tick_pulls(turn);
        self.expire_pin(turn);
        self.push_heartbeat(turn);
        let threshold = self.config.inactive_threshold;
        if threshold <= 0 || turn.now < self.idle_since.saturating_add(threshold) {
            return false;
        }
        let used = match self.config.is_push() {
            true => self.is_bound(turn),
            false => {
                self.drop_dead(turn);
                self.has_waiting()
            }
        };
        if used {
            self.idle_since = turn.now;
        }
        !used
    }
}

/// How many digits a number has.
fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// The length of a message's header block without payload, and with the payload's size in it.
fn headers_only_len(message: &Message) -> usize {
    let frame = if message.headers.is_empty() {
        crate::headers::EMPTY.len()
    } else {
        message.headers.len()
    };
    frame + "Nats-Msg-Size: \r\n".len() + digits(message.payload.len() as u64)
}
