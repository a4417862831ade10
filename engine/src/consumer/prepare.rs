//! What a consumer that is made, changed or reset has to know of the messages, found out some of the way in each turn: how many it
//! has still to send, and which is the last of each subject.

use bytes::Bytes;

use crate::consumer::{Consumer, ConsumerConfig, DeliverPolicy, filters_of};
use crate::error::Result;
use crate::index::{Cursor, Sought, Tally};
use crate::stream::messages::Messages;
use crate::types::Seq;

/// Looks in which the newest message that a consumer wants is found when it is made, or it is far away.
const NEAR: usize = 1024;

/// What has been found out so far. It is for one consumer; whoever lets go of it has asked in vain.
#[derive(Debug, Default)]
pub struct Preparation(Option<(Question, Tally)>);

/// What is to be found out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Question {
    /// How many messages match.
    Count(Vec<Bytes>),
    /// The last message of each subject that matches.
    Lasts(Vec<Bytes>),
}

impl Preparation {
    /// For a consumer that is to be made, as far as `looks` allow, which it lowers. Answers whether all is known that it takes: then it can be made in this turn.
    pub(crate) fn create(&mut self, config: &ConsumerConfig, stream: &mut Messages, looks: &mut usize) -> Result<bool> {
        let filters = filters_of(config);
        match config.deliver_policy {
            DeliverPolicy::New => Ok(true),
            DeliverPolicy::Last => {
                *looks = looks.saturating_sub(NEAR);
                match stream
                    .index
                    .last_match_within(&mut Cursor::new(&filters), &mut { NEAR })?
                {
                    Sought::Later(_) => self.go_on(Question::Lasts(filters), 0, stream, looks),
                    Sought::At(_) | Sought::Nothing => Ok(true),
                }
            }
            DeliverPolicy::LastPerSubject if stream.config.max_msgs_per_subject != 1 => {
                self.go_on(Question::Lasts(filters), 0, stream, looks)
            }
            DeliverPolicy::All | DeliverPolicy::LastPerSubject => {
                self.go_on(Question::Count(filters), 0, stream, looks)
            }
            DeliverPolicy::ByStartSequence => self.go_on(Question::Count(filters), config.opt_start_seq, stream, looks),
            DeliverPolicy::ByStartTime => {
                let from = stream.seq_at(config.opt_start_time.unwrap_or(0))?;
                self.go_on(Question::Count(filters), from, stream, looks)
            }
        }
    }

    /// For one that is to get another configuration.
    pub(crate) fn update(
        &mut self,
        consumer: &Consumer,
        config: &ConsumerConfig,
        stream: &mut Messages,
        looks: &mut usize,
    ) -> Result<bool> {
        let filters = filters_of(config);
        if filters == consumer.filters {
            return Ok(true);
        }
        self.go_on(Question::Count(filters), consumer.next, stream, looks)
    }

    /// For one that is to begin anew, at `seq` or at the first message behind it.
    pub(crate) fn reset(
        &mut self,
        consumer: &Consumer,
        seq: Seq,
        stream: &mut Messages,
        looks: &mut usize,
    ) -> Result<bool> {
        self.go_on(Question::Count(consumer.filters.clone()), seq, stream, looks)
    }

    fn go_on(&mut self, question: Question, from: Seq, stream: &mut Messages, looks: &mut usize) -> Result<bool> {
        let tally = match self.0.take().filter(|(asked, _)| *asked == question) {
            Some((_, tally)) => tally,
            None => match &question {
                Question::Count(filters) => Tally::count(filters, from),
                Question::Lasts(filters) => Tally::lasts(filters),
            },
        };
        let whole = stream.index.tally(&tally, from, looks);
        self.0 = Some((question, tally));
        whole
    }
}
