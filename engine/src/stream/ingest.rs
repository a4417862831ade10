//! The ways a message comes into a stream: by itself or in an atomic batch, which its headers say, or in a fast batch, which
//! its reply subject says.

use crate::error::{Kind, Result};
use crate::shard::emit::{Emit, PubAck, Ticket};
use crate::shard::turn::Turn;
use crate::stream::{Publish, Stream};

impl Stream {
    /// Takes a message, and answers its publisher, whatever happens.
    ///
    /// # Errors
    /// Only that storage failed; the publisher was told.
    pub(crate) fn ingest(&mut self, publish: Publish, ticket: Ticket, turn: &mut Turn<'_>) -> Result<()> {
        let ticket = match ticket {
            Ticket::Reply(reply) if Self::is_fast(&reply) => return self.publish_fast(publish, reply, turn),
            ticket => ticket,
        };
        match self.publish(publish, turn) {
            Err(error) if error.kind != Kind::Rejected => {
                self.answer(ticket, Err(error.clone()), turn);
                Err(error)
            }
            result => {
                self.answer(ticket, result, turn);
                Ok(())
            }
        }
    }

    /// Answers a publisher, if it wants an answer and the stream gives any.
    pub(crate) fn answer(&self, ticket: Ticket, result: Result<PubAck>, turn: &mut Turn<'_>) {
        match ticket {
            Ticket::None => {}
            Ticket::Reply(_) if self.messages.config.no_ack => {}
            ticket => turn.emits.push(Emit::Published {
                ticket,
                result,
                account: self.messages.account.clone(),
                stream: self.messages.name.clone(),
            }),
        }
    }
}
