//! What the clients of consumers ask: pull requests, acknowledgements, flow control; and what consumers deliver.

use crate::consumer::{Ack, AckKind, PullRequest, Went};
use crate::error::Result;
use crate::reject;
use crate::shard::emit::Emit;
use crate::shard::fetching::Cold;
use crate::shard::turn::Turn;
use crate::stream::Stream;
use crate::types::Seq;

impl Stream {
    /// Takes a pull request. Answers whether there is such a consumer.
    pub(crate) fn pull(
        &mut self,
        name: &[u8],
        request: &PullRequest,
        reply: bytes::Bytes,
        turn: &mut Turn<'_>,
    ) -> bool {
        let Some(serial) = self.serial(name) else {
            return false;
        };
        if let Some(consumer) = self.consumers.get_mut(&serial) {
            consumer.pull(request, reply, turn);
        }
        self.enqueue(serial);
        true
    }

    /// Ends a pull request, unless there is something for it now. Answers whether it is over.
    ///
    /// # Errors
    /// If there is no such consumer, or storage cannot be read.
    pub(crate) fn end_pull(&mut self, name: &[u8], reply: &[u8], turn: &mut Turn<'_>) -> Result<bool> {
        let serial = self.serial(name).ok_or(reject::CONSUMER_NOT_FOUND)?;
        let consumer = self.consumers.get_mut(&serial).ok_or(reject::CONSUMER_NOT_FOUND)?;
        let over = !consumer.can_serve(reply, &mut self.messages, turn)?;
        if over {
            consumer.cancel_pull(reply);
        }
        self.enqueue(serial);
        Ok(over)
    }

    /// Ends all pull requests for that reason, each told what it was short of.
    pub(crate) fn end_all_pulls(&mut self, text: &str, turn: &mut Turn<'_>) {
        for consumer in self.consumers.values_mut() {
            consumer.end_pulls_short(text, turn);
        }
    }

    /// Takes a consumer away from the client that has it for itself.
    ///
    /// # Errors
    /// If there is no such consumer, or it has no such priority group.
    pub(crate) fn unpin(&mut self, name: &str, group: &str, turn: &mut Turn<'_>) -> Result<()> {
        let serial = *self.by_name.get(name).ok_or(reject::CONSUMER_NOT_FOUND)?;
        let consumer = self.consumers.get_mut(&serial).ok_or(reject::CONSUMER_NOT_FOUND)?;
        if !consumer.unpin(group, turn) {
            return Err(reject::CONSUMER_INVALID_PRIORITY_GROUP.into());
        }
        self.enqueue(serial);
        Ok(())
    }

    /// Takes an acknowledgement.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn ack(&mut self, name: &[u8], ack: Ack, turn: &mut Turn<'_>) -> Result<()> {
        let Some(serial) = self.serial(name) else {
            return Ok(());
        };
        let Some(consumer) = self.consumers.get_mut(&serial) else {
            return Ok(());
        };
        let confirms = consumer.confirms(&ack);
        let stale = consumer.is_past(&ack);
        let done = consumer.ack(&ack, turn);
        self.progressed.push(serial);
        self.enqueue(serial);
        self.release(&done, turn)?;
        if stale {
            self.release_unneeded(ack.stream_seq, serial)?;
        }
        match ack.kind {
            AckKind::Next(request) => {
                self.pull(name, &request, ack.reply, turn);
            }
            _ if !ack.reply.is_empty() && confirms => {
                self.demand_durability(turn);
                turn.emits.push(Emit::AckReply {
                    account: self.messages.account.clone(),
                    to: ack.reply,
                });
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the answer to a flow-control request.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub(crate) fn flow_controlled(
        &mut self,
        name: &[u8],
        id: u64,
        last: Option<Seq>,
        turn: &mut Turn<'_>,
    ) -> Result<()> {
        let Some(serial) = self.serial(name) else {
            return Ok(());
        };
        let mut done = Vec::new();
        if let Some(consumer) = self.consumers.get_mut(&serial) {
            done = consumer.flow_controlled(id, last, turn);
        }
        self.enqueue(serial);
        self.release(&done, turn)
    }

    /// A client subscribed to a consumer's delivery subject, or left: the next request for its info tells, if nothing is delivered before.
    pub(crate) fn wake_consumer(&mut self, name: &[u8], turn: &mut Turn<'_>) {
        let Some(serial) = self.serial(name) else { return };
        if let Some(consumer) = self.consumers.get_mut(&serial) {
            consumer.look_for_subscriber(turn);
        }
        self.enqueue(serial);
    }

    /// Lists a consumer among those with something to do in this turn.
    pub(super) fn enqueue(&mut self, serial: u64) {
        if let Some(consumer) = self.consumers.get_mut(&serial)
            && !consumer.queued
        {
            consumer.queued = true;
            self.queue.push(serial);
        }
    }

    /// Lets the consumers with something to do send what they can. Answers whether some have to go on next turn. What cannot
    /// be read for one consumer keeps no other one waiting; that consumer tries it again when [`Stream::next_deadline`] says.
    ///
    /// # Errors
    /// The first, if storage cannot be read.
    pub(crate) fn deliver(&mut self, turn: &mut Turn<'_>) -> Result<bool> {
        let (mut again, mut stalled, mut failed) = (Vec::new(), Vec::new(), None);
        // What one lets go of may make room for another, which then is listed meanwhile.
        let mut at = 0;
        while let Some(&serial) = self.queue.get(at) {
            at += 1;
            let Some(consumer) = self.consumers.get_mut(&serial) else {
                continue;
            };
            consumer.queued = false;
            // Also if it fails on the way: what it has sent until then is in the journal, too. And while it waits for a disk: it gives up
            // what was not acknowledged in time.
            self.progressed.push(serial);
            if consumer.reading {
                continue;
            }
            // What it has sent and needs no acknowledgement, also if it fails on the way.
            let mut done = Vec::new();
            let mut searching = false;
            match consumer.has_work() {
                true => match consumer.deliver(&mut self.messages, &mut done, turn) {
                    // What it sent last took all that a turn may do: that there is no more was not come to.
                    Ok(Went::Far) if turn.budget == 0 && !consumer.has_work() => consumer.rest(&self.messages, turn),
                    Ok(Went::Far) => {}
                    Ok(Went::Searching) => searching = true,
                    Ok(Went::Cold(seq)) => self.cold.push(Cold {
                        stream: self.messages.id,
                        consumer: Some(serial),
                        seq,
                        unread: self.messages.unread_in_order(seq),
                    }),
                    Err(error) => {
                        failed.get_or_insert(error);
                        stalled.push(serial);
                    }
                },
                false => consumer.rest(&self.messages, turn),
            }
            if searching || turn.budget == 0 && consumer.has_work() && stalled.last() != Some(&serial) {
                again.push(serial);
            }
            if !done.is_empty()
                && let Err(error) = self.release(&done, turn)
            {
                failed.get_or_insert(error);
            }
        }
        self.queue.clear();
        let more = !again.is_empty();
        // Each comes first once: one may take all that a turn may do.
        if again.len() > 1 {
            again.rotate_left(1);
        }
        for serial in again.into_iter().chain(stalled) {
            self.enqueue(serial);
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(more),
        }
    }

    /// What its consumers, or the stream itself, came to that lies on a disk only, to be taken.
    pub(crate) fn cold(&mut self) -> &mut Vec<Cold> {
        &mut self.cold
    }

    /// What a consumer waited for is in memory, or could not be read.
    pub(crate) fn fetched(&mut self, serial: u64, seq: Seq) {
        if let Some(consumer) = self.consumers.get_mut(&serial) {
            consumer.fetched(seq);
            self.enqueue(serial);
        }
    }
}
