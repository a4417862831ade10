//! Single messages: read and deleted by sequence or subject.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use weir_engine::json::{format_time, parse_time};
use weir_engine::reject::{self, Rejection};
use weir_engine::shard::InTurn;
use weir_engine::store::StreamEntry;
use weir_engine::stream::{Found, Search, Storage, Stream};
use weir_engine::{NanoTime, Seq, ShardId};

use super::at_once::Seen;
use super::call::Call;
use super::decode::decode;
use super::{Answer, at_once, is_empty, lookup, refused, reply, schema};
use crate::jetstream::{ApiRequest, JetStream};

/// What STREAM.MSG.GET and DIRECT.GET ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Get {
    pub seq: Seq,
    pub last_by_subj: String,
    pub next_by_subj: String,
    pub batch: i64,
    pub max_bytes: i64,
    pub start_time: Option<String>,
    pub multi_last: Vec<String>,
    pub up_to_seq: Seq,
    pub up_to_time: Option<String>,
    pub no_hdr: bool,
}

impl Get {
    /// Where in time to begin. Go's zero time, and what lies before the epoch of 64 bits, is before all messages.
    pub fn start(&self) -> Option<NanoTime> {
        self.start_time.as_deref().map(nanos)
    }

    /// Up to which time.
    pub fn up_to(&self) -> Option<NanoTime> {
        self.up_to_time.as_deref().map(nanos)
    }

    /// Whether it names a message in more than one way.
    pub fn contradicts_itself(&self) -> bool {
        let (seq, last, next) = (
            self.seq > 0,
            !self.last_by_subj.is_empty(),
            !self.next_by_subj.is_empty(),
        );
        let time = self.start_time.is_some();
        // Only `next_by_subj` goes with a place to begin.
        let beginnings = usize::from(seq) + usize::from(time) + usize::from(last);
        beginnings > 1 || (last && next)
    }

    /// Goes on looking for the one message, as far as `looks` allow, which it lowers. `begun` is for the next time, where there has to
    /// be one.
    ///
    /// # Errors
    /// If storage cannot be read, or the message is damaged.
    pub fn find(
        &self,
        stream: &mut Stream,
        begun: &mut Option<Search>,
        looks: &mut usize,
    ) -> weir_engine::Result<Found> {
        let mut search = match begun.take().or_else(|| self.search()) {
            Some(search) => search,
            None => {
                let start = match self.start() {
                    Some(time) => stream.seq_at(time)?,
                    None => self.seq,
                };
                self.search_at(start)
            }
        };
        let found = stream.search_within(&mut search, looks)?;
        if matches!(found, Found::Later | Found::Unread(_)) {
            *begun = Some(search);
        }
        Ok(found)
    }

    /// The search that it begins with, if the stream has not to be asked before where that begins.
    pub fn search(&self) -> Option<Search> {
        match (self.start(), self.last_by_subj.is_empty()) {
            (_, false) => Some(Search::newest(self.last_by_subj.as_bytes())),
            (Some(_), true) => None,
            (None, true) => Some(self.search_at(self.seq)),
        }
    }

    /// The search upwards from a sequence, or for that one alone.
    fn search_at(&self, start: Seq) -> Search {
        match self.next_by_subj.is_empty() {
            true => Search::of_seq(start),
            false => Search::from(self.next_by_subj.as_bytes(), start),
        }
    }

    /// Whether it names no message at all.
    pub fn is_vague(&self) -> bool {
        self.seq == 0 && self.last_by_subj.is_empty() && self.next_by_subj.is_empty() && self.start_time.is_none()
    }
}

fn nanos(text: &str) -> NanoTime {
    // Decoding has parsed it before.
    parse_time(text).ok().flatten().unwrap_or(NanoTime::MIN)
}

/// Has read what a request that names a time needs from the disk to find its message: beside the storage thread, which then waits for
/// nothing.
pub(super) async fn seek(js: &JetStream, entry: &StreamEntry, time: Option<NanoTime>) {
    let (Some(time), id) = (time, entry.id) else { return };
    // What is wrong with the stream is told when it is asked for the message.
    let moment = js
        .ask(entry.shard, move |shard| Ok(shard.stream(id)?.moment(time)))
        .await;
    if let Ok(Some(moment)) = moment {
        js.disk.seek(vec![moment]).await;
    }
}

/// STREAM.MSG.GET.
pub(super) async fn get(js: &Arc<JetStream>, request: &ApiRequest, name: &str) -> Answer {
    #[derive(Serialize)]
    struct Answered {
        message: Stored,
    }
    #[derive(Serialize)]
    struct Stored {
        subject: String,
        seq: Seq,
        #[serde(skip_serializing_if = "String::is_empty")]
        hdrs: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        data: String,
        time: String,
    }
    if is_empty(&request.payload) {
        return Err(reject::BAD_REQUEST);
    }
    let get: Get =
        decode(&request.payload, &schema::MSG_GET, js.options.strict).map_err(|why| reject::INVALID_JSON.with(why))?;
    if get.batch > 0 || get.max_bytes > 0 || get.is_vague() || get.contradicts_itself() {
        return Err(reject::BAD_REQUEST);
    }
    let entry = lookup(js, request, name)?;
    seek(js, &entry, get.start()).await;
    let (id, no_hdr) = (entry.id, get.no_hdr);
    let mut begun = None;
    let mut seen = at_once::one(js, &entry, &get);
    let message = loop {
        match seen.take() {
            Some(Seen::Whole(found)) => break found,
            Some(Seen::Unread(unread)) => {
                if let Some(message) = js.disk.read(vec![unread]).await.pop().flatten() {
                    break Some(message);
                }
            }
            None => {}
        }
        let get = get.clone();
        let some = js.ask(entry.shard, move |shard| {
            let mut looks = shard.search_looks();
            let found = get.find(shard.stream(id)?, &mut begun, &mut looks)?;
            shard.searched(looks);
            Ok((found, begun))
        });
        let found;
        (found, begun) = some.await.map_err(|error| refused(error, &reject::STREAM_GENERAL))?;
        match found {
            Found::Message(message) => break Some(message),
            Found::Nothing => break None,
            Found::Later => {}
            Found::Unread(unread) => {
                if let Some(message) = js.disk.read(vec![unread]).await.pop().flatten() {
                    break Some(message);
                }
            }
        }
    };
    let message = message.ok_or(reject::NO_MESSAGE_FOUND)?;
    let hdrs = if no_hdr {
        String::new()
    } else {
        STANDARD.encode(&message.headers)
    };
    let message = Stored {
        subject: String::from_utf8_lossy(&message.subject).into_owned(),
        seq: message.seq,
        hdrs,
        data: STANDARD.encode(&message.payload),
        time: format_time(Some(message.time)),
    };
    Ok(reply::answer(Call::MsgGet(name), Answered { message }))
}

/// What STREAM.MSG.DELETE does on the storage thread that it names; and the answer if it does.
pub(super) fn deletion(
    js: &JetStream,
    request: &ApiRequest,
    name: &str,
) -> Result<
    (
        ShardId,
        impl FnOnce(&mut InTurn<'_, '_>) -> weir_engine::Result<()> + Send + 'static,
    ),
    Rejection,
> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Request {
        seq: Seq,
        no_erase: bool,
    }
    if is_empty(&request.payload) {
        return Err(reject::BAD_REQUEST);
    }
    let asked: Request = decode(&request.payload, &schema::MSG_DELETE, js.options.strict)
        .map_err(|why| reject::INVALID_JSON.with(why))?;
    let entry = lookup(js, request, name)?;
    let (id, seq) = (entry.id, asked.seq);
    let work = move |shard: &mut InTurn<'_, '_>| {
        let stream = shard.stream(id)?;
        let (state, storage) = (stream.state()?, stream.config().storage);
        if shard.delete_message(id, seq, !asked.no_erase)? {
            return Ok(());
        }
        // Nats-server's file store tells holes, the past and the future apart.
        Err(if storage == Storage::Memory {
            reject::SEQUENCE_NOT_FOUND.with(seq)
        } else if seq > state.last_seq {
            reject::STREAM_MSG_DELETE_FAILED.with("stream store EOF")
        } else if seq < state.first_seq.max(1) {
            reject::STREAM_MSG_DELETE_FAILED.with("no message found")
        } else {
            reject::SEQUENCE_NOT_FOUND.with(seq)
        }
        .into())
    };
    Ok((entry.shard, work))
}

/// STREAM.MSG.DELETE.
pub(super) async fn delete(js: &Arc<JetStream>, request: &ApiRequest, name: &str) -> Answer {
    let (shard, work) = deletion(js, request, name)?;
    js.call(shard, work)
        .await
        .map_err(|error| refused(error, &reject::STREAM_MSG_DELETE_FAILED))?;
    Ok(reply::success(Call::MsgDelete(name)))
}

#[cfg(test)]
mod tests;
