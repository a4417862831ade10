//! Messages to streams whose journey is told: what becomes of each is found out on its storage thread.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use weir_engine::reject::Rejection;
use weir_engine::shard::Input;
use weir_engine::shard::emit::{PubAck, Ticket};
use weir_engine::stream::{Rehearsal, Stream};
use weir_engine::{Error, reject};
use weir_wire::headers;

use super::JetStream;
use super::batch::Batch;
use super::outlet::{rejection_of, write_pub_ack};
use super::services::Ingest;
use crate::interest::{Account, DEST, DISABLED, Inbound, Journey, Visit};

/// Has a stream store a message, or find out whether it would, and notes what comes of it.
#[cold]
pub(super) fn store(
    ingest: &Ingest,
    jetstream: &Arc<JetStream>,
    journey: &Arc<Journey>,
    message: &Inbound<'_>,
    batch: &mut Batch,
) {
    let stream = ingest.stream;
    let publisher = Publisher {
        jetstream: Arc::downgrade(jetstream),
        account: Arc::clone(&ingest.account),
        stream: Arc::clone(&ingest.name),
        reply: match ingest.no_ack {
            true => Bytes::new(),
            false => Bytes::copy_from_slice(message.reply),
        },
        headers: Bytes::copy_from_slice(message.headers),
        visit: journey.comes_to(&ingest.name),
    };
    if ingest.is_full() {
        return publisher.told(Err(reject::ACCOUNT_RESOURCES_EXCEEDED.into()));
    }
    // A message that is stored is traced no more when it is delivered.
    let block = match journey.only {
        true => message.headers.to_vec(),
        false => headers::set(message.headers, DEST, DISABLED),
    };
    let headers_len = block.len();
    let subject = Bytes::copy_from_slice(message.subject);
    let body = Bytes::from([&block, message.payload].concat());
    let rehearsed = (subject.clone(), body.clone());
    let rehearsal = move |shard: &mut weir_engine::shard::InTurn<'_, '_>| {
        let (subject, body) = rehearsed;
        shard.rehearse(stream, subject, headers_len, body)
    };
    if journey.only {
        let found = Input::calling(rehearsal, move |found| match found {
            Ok(Rehearsal::Taken { subject, wanted }) => publisher.visit.stored(&subject, wanted),
            Ok(Rehearsal::Duplicate(ack)) => publisher.told(Ok(ack)),
            Err(error) => publisher.told(Err(error)),
        });
        return batch.push(jetstream, ingest.shard, found);
    }
    let visit = publisher.visit.clone();
    let found = Input::calling(rehearsal, move |found| {
        // What it is refused for, its publisher is told.
        if let Ok(Rehearsal::Taken { subject, wanted }) = found {
            visit.stored(&subject, wanted);
        }
    });
    let ticket = match Stream::is_fast(&publisher.reply) {
        // Those are answered by their own rules.
        true => Ticket::Reply(publisher.reply.clone()),
        false => Ticket::Call(Box::new(move |result| publisher.told(result))),
    };
    batch.push(jetstream, ingest.shard, found);
    let publish = Input::Publish {
        stream,
        subject,
        headers_len,
        body,
        ticket,
    };
    batch.push(jetstream, ingest.shard, publish);
}

/// Who published a message that is traced.
struct Publisher {
    jetstream: Weak<JetStream>,
    account: Arc<Account>,
    stream: Arc<str>,
    /// Empty if there is no answer.
    reply: Bytes,
    headers: Bytes,
    visit: Visit,
}

impl Publisher {
    /// What came of the message.
    fn told(self, result: Result<PubAck, Error>) {
        match &result {
            Ok(ack) if ack.duplicate => self.visit.failed("msgid is duplicate".to_owned()),
            Ok(_) => {}
            Err(error) => self.visit.failed(reason(&rejection_of(error), &self.headers)),
        }
        if let Some(jetstream) = self.jetstream.upgrade().filter(|_| !self.reply.is_empty()) {
            let mut text = Vec::new();
            let domain = jetstream.options.domain.as_deref();
            write_pub_ack(&mut text, result.as_ref(), &self.stream, domain);
            jetstream.send(&self.account, &self.reply, b"", &text);
        }
    }
}

/// Why a message was not stored, in the words that nats-server has for that where nobody is answered.
fn reason(rejection: &Rejection, block: &[u8]) -> String {
    let said = &*rejection.text;
    let expected = |name: &str| headers::get_str(block, name).map(str::trim);
    let last = || said.rsplit_once(": ").map_or("", |(_, last)| last);
    match rejection.code {
        10054 | 10097 => "maximum payload exceeded".to_owned(),
        10060 => "expected stream does not match".to_owned(),
        10166 => "message TTL disabled".to_owned(),
        10077 | 10111 => said.to_owned(),
        10070 => format!(
            "last msgid mismatch: {:?} vs {:?}",
            expected("Nats-Expected-Last-Msg-Id").unwrap_or_default(),
            last()
        ),
        10071 => {
            let last = last();
            let of_stream = expected("Nats-Expected-Last-Sequence");
            // The one of the subject is looked at first.
            match expected("Nats-Expected-Last-Subject-Sequence") {
                Some(of_subject) if of_subject != last => {
                    format!("last sequence by subject mismatch: {of_subject} vs {last}")
                }
                _ => format!("last sequence mismatch: {} vs {last}", of_stream.unwrap_or_default()),
            }
        }
        code => format!("{said} ({code})"),
    }
}
