//! Direct get: messages read without the API's JSON, as they were stored, one or many at a time.
//!
//! What one read of a connection asked for is served in its order: single messages many to a turn of the storage thread,
//! batches in portions, each once the client has taken what it was sent before.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use weir_engine::json::format_time;
use weir_engine::shard::InTurn;
use weir_engine::store::StreamEntry;
use weir_engine::stream::{Count, Found, LastSeqs, Message, Search, Storage, Stream, Unread};
use weir_engine::{Kind, Seq, StreamId};
use weir_wire::headers::{HeaderBuf, scrub};

use super::at_once::{self, LOOKED_FOR, Seen};
use super::decode::decode;
use super::load::{UnderWay, room_for};
use super::message::{Get, seek};
use super::{schema, supports_level, tell};
use crate::jetstream::together::{self, together};
use crate::jetstream::{ApiRequest, JetStream, status};
use crate::link;
use crate::routing::Courier;

/// Bytes in the answer to one request that states no `max_bytes`: nats-server's default of `max_pending`.
const BYTES_MAX: u64 = 64 << 20;
/// Subjects that `multi_last` may match, as nats-server.
const MULTI_LAST_MAX: usize = 1024;
/// Single gets that are read in one turn of a storage thread, if it may look at as much.
const LIGHT_GETS: usize = 256;
/// Messages that one portion of a batch has at most; fewer where the turn may not look at as much.
const PORTION_MESSAGES: usize = 1000;
/// Bytes of messages that are read in one turn of a storage thread, give or take one message.
const PORTION_BYTES: usize = 512 << 10;
const _: () = assert!(
    PORTION_BYTES as u64 * 2 <= weir_engine::FETCH_BYTES,
    "a portion waits for the disk on the storage thread"
);
/// The same for `multi_last`: what it finds in one turn is of one moment, and of most it is all.
const MULTI_LAST_BYTES: usize = 8 << 20;

/// Messages of `multi_last` of which it is looked at a time whether a disk has to be waited for.
const FETCHED: usize = 64;

/// A request that waits to be served.
pub struct Waiting {
    /// Of this stream, which allows it.
    pub entry: Arc<StreamEntry>,
    /// The subject behind the stream's name, if there is one.
    pub last_for: Option<Bytes>,
    /// The request.
    pub request: ApiRequest,
    /// Its place.
    pub under_way: UnderWay,
}

/// What a request for one message is answered with.
enum Outcome {
    /// A status line only.
    Status(u16, &'static str),
    /// The message.
    One(Message),
}

/// What a storage thread knows of a request for one message.
enum Looked {
    /// The answer.
    Done(Outcome),
    /// The message, once a disk was waited for, and how to go on where it has gone meanwhile.
    Unread(Unread, Option<Box<Search>>),
}

const FAILED: Outcome = Outcome::Status(500, "Message cannot be read");
const NOT_FOUND: Outcome = Outcome::Status(404, "Message Not Found");

/// Refuses a request that comes on top of too many, as a publish.
pub fn refuse(js: &JetStream, request: &ApiRequest) {
    js.respond_with_headers(request, &status::block(429, "Too Many Requests", &[]), b"");
}

/// Serves what one connection asked for, in its order.
pub async fn serve(js: Arc<JetStream>, waiting: Vec<Waiting>) {
    let mut waiting = VecDeque::from(waiting);
    let mut at_once = AtOnce::default();
    let mut light: Vec<(Waiting, Get)> = Vec::new();
    while let Some(next) = waiting.pop_front() {
        let get = match read(&next.request, next.last_for.clone()) {
            Ok(get) => get,
            Err((code, text)) => {
                serve_light(&js, &mut light, &mut at_once).await;
                send(&next, &Outcome::Status(code, text), false);
                continue;
            }
        };
        seek(&js, &next.entry, get.start()).await;
        seek(&js, &next.entry, get.up_to()).await;
        let is_heavy = get.batch != 0 || !get.multi_last.is_empty();
        let joins = !is_heavy
            && light
                .last()
                .is_none_or(|(last, _)| last.entry.shard == next.entry.shard);
        if !joins {
            serve_light(&js, &mut light, &mut at_once).await;
        }
        if is_heavy {
            serve_heavy(&js, &next, get).await;
        } else {
            light.push((next, get));
            if light.len() == LIGHT_GETS {
                serve_light(&js, &mut light, &mut at_once).await;
            }
        }
    }
    serve_light(&js, &mut light, &mut at_once).await;
}

/// Serves requests for single messages of streams on one storage thread, and empties `waiting`.
async fn serve_light(js: &Arc<JetStream>, waiting: &mut Vec<(Waiting, Get)>, at_once: &mut AtOnce) {
    let mut waiting = std::mem::take(waiting);
    // Of the first of them, where that was not found at once.
    let mut begun = None;
    while let Some((first, _)) = waiting.first() {
        if !room_for(first.request.from.as_ref()).await {
            return;
        }
        let mut looked = match begun.is_none() {
            true => at_once.look(js, &waiting),
            false => Vec::new(),
        };
        if looked.is_empty() {
            let shard = first.entry.shard;
            let gets: Vec<_> = waiting.iter().map(|(next, get)| (next.entry.id, get.clone())).collect();
            // Who waits for a disk keeps nobody else waiting.
            let _place = js.api_load.light().await;
            let some = js.ask(shard, move |shard| Ok(find_some(shard, &gets, begun))).await;
            (looked, begun) = some.unwrap_or_else(|error| {
                tell("direct get", &error);
                (waiting.iter().map(|_| Looked::Done(FAILED)).collect(), None)
            });
        }
        let found = read_unread(js, &waiting, looked).await;
        let answered = waiting.drain(..found.len());
        together(|| {
            for ((next, get), outcome) in answered.zip(&found) {
                send(&next, outcome, get.no_hdr);
            }
        });
    }
}

/// What may still be answered on the thread that the requests came in by, where others wait for it.
struct AtOnce {
    gets: usize,
    bytes: usize,
}

impl Default for AtOnce {
    fn default() -> Self {
        Self {
            gets: LIGHT_GETS,
            bytes: PORTION_BYTES,
        }
    }
}

impl AtOnce {
    /// Looks for the messages that are meant by some requests for single ones, of streams on one storage thread, without that: up to the
    /// first that needs it.
    fn look(&mut self, js: &JetStream, waiting: &[(Waiting, Get)]) -> Vec<Looked> {
        let mut looked = Vec::with_capacity(waiting.len());
        for portion in waiting.chunks(LOOKED_FOR) {
            if self.gets < portion.len() || self.bytes == 0 {
                break;
            }
            let gets = portion.iter().map(|(next, get)| (&next.entry, get));
            let seen = at_once::some(js, gets, &mut self.bytes);
            let is_all = seen.len() == portion.len();
            self.gets -= seen.len();
            looked.extend(seen.into_iter().map(|seen| match seen {
                Seen::Whole(Some(message)) => Looked::Done(Outcome::One(message)),
                Seen::Whole(None) => Looked::Done(NOT_FOUND),
                Seen::Unread(unread) => Looked::Unread(unread, None),
            }));
            if !is_all {
                break;
            }
        }
        looked
    }
}

/// Reads the messages that a disk has to be waited for.
async fn read_unread(js: &Arc<JetStream>, waiting: &[(Waiting, Get)], looked: Vec<Looked>) -> Vec<Outcome> {
    let unread = looked.iter().filter_map(|looked| match looked {
        Looked::Unread(unread, _) => Some(unread.clone()),
        Looked::Done(_) => None,
    });
    let mut read = js.disk.read(unread.collect()).await.into_iter();
    let mut found = Vec::with_capacity(looked.len());
    for ((next, get), looked) in waiting.iter().zip(looked) {
        found.push(match looked {
            Looked::Done(outcome) => outcome,
            Looked::Unread(_, begun) => match read.next().flatten() {
                Some(message) => Outcome::One(message),
                None => find_again(js, next, get, begun.map(|search| *search)).await,
            },
        });
    }
    found
}

/// Goes on with one that was found and could not be read: on its storage thread, to the end.
async fn find_again(js: &Arc<JetStream>, next: &Waiting, get: &Get, mut begun: Option<Search>) -> Outcome {
    loop {
        let only = [(next.entry.id, get.clone())];
        let some = js.ask(next.entry.shard, move |shard| Ok(find_some(shard, &only, begun)));
        let (mut looked, search) = match some.await {
            Ok(some) => some,
            Err(error) => {
                tell("direct get", &error);
                return FAILED;
            }
        };
        begun = match looked.pop() {
            // It is another one now: what is read on the storage thread waits for nothing in most cases, and comes to an end.
            Some(Looked::Unread(unread, search)) => {
                js.disk.fetch(vec![unread]).await;
                search.map(|search| *search)
            }
            Some(Looked::Done(outcome)) => return outcome,
            None => search,
        };
    }
}

/// Answers as many as make up a portion and as one turn may look for, in their order, up to one that is not found at once: for this
/// one, the search that has begun.
fn find_some(
    shard: &mut InTurn<'_, '_>,
    gets: &[(StreamId, Get)],
    mut begun: Option<Search>,
) -> (Vec<Looked>, Option<Search>) {
    let (mut looked, mut bytes) = (Vec::with_capacity(gets.len()), 0);
    let mut looks = shard.search_looks();
    for (id, get) in gets {
        if bytes >= PORTION_BYTES || looks == 0 {
            break;
        }
        let outcome = shard
            .stream(*id)
            .and_then(|stream| get.find(stream, &mut begun, &mut looks));
        looked.push(match outcome {
            Ok(Found::Message(message)) => {
                bytes += size(&message);
                Looked::Done(Outcome::One(message))
            }
            Ok(Found::Unread(unread)) => Looked::Unread(unread, begun.take().map(Box::new)),
            Ok(Found::Nothing) => Looked::Done(NOT_FOUND),
            Ok(Found::Later) => break,
            Err(error) => {
                tell("direct get", &error);
                Looked::Done(FAILED)
            }
        });
    }
    shard.searched(looks);
    (looked, begun)
}

/// Serves a request for many messages, a portion at a time.
async fn serve_heavy(js: &Arc<JetStream>, next: &Waiting, get: Get) {
    let _turn = next.under_way.turn().await;
    let no_hdr = get.no_hdr;
    let mut run = Run::new(get);
    let mut sending = Sending::new(next, no_hdr && !run.is_multi_last());
    loop {
        if !room_for(next.request.from.as_ref()).await {
            return;
        }
        let place = js.api_load.heavy().await;
        let id = next.entry.id;
        let portion = js.ask(next.entry.shard, move |shard| {
            let mut looks = shard.search_looks();
            let portion = run.portion(shard.stream(id)?, &mut looks)?;
            shard.searched(looks);
            Ok((run, portion))
        });
        let portion = match portion.await {
            Ok((back, portion)) => {
                run = back;
                portion
            }
            Err(error) => {
                tell(&format!("direct get from {}", next.entry.name), &error);
                return send(next, &FAILED, false);
            }
        };
        match portion {
            Portion::Status(code, text) => return send(next, &Outcome::Status(code, text), false),
            Portion::Some(messages) => sending.messages(messages),
            Portion::Unread(messages, unread) => {
                sending.messages(messages);
                // Who waits for a disk keeps nobody else waiting.
                drop(place);
                js.disk.fetch(unread).await;
            }
            Portion::Last(messages, end) => {
                sending.messages(messages);
                return sending.end(&end);
            }
        }
    }
}

/// A part of the answer to a request for many messages.
enum Portion {
    /// There is nothing but this status line.
    Status(u16, &'static str),
    /// Messages, each with how many come after it. More follows.
    Some(Vec<(Message, u64)>),
    /// Messages, and others that come next once a disk was waited for.
    Unread(Vec<(Message, u64)>, Vec<Unread>),
    /// The last of them, and what stands behind.
    Last(Vec<(Message, u64)>, End),
}

/// What stands behind a batch.
struct End {
    /// Messages that match and were not sent.
    pending: u64,
    /// For `multi_last`: the sequence that was the last to count.
    up_to: Option<Seq>,
}

/// A request for many messages under way.
enum Run {
    Batch(Box<BatchGet>),
    MultiLast(Box<MultiLast>),
}

impl Run {
    fn new(get: Get) -> Self {
        match get.multi_last.is_empty() {
            true => Self::Batch(Box::new(BatchGet::new(get))),
            false => Self::MultiLast(Box::new(MultiLast::new(get))),
        }
    }

    fn is_multi_last(&self) -> bool {
        matches!(self, Self::MultiLast(_))
    }

    /// The next part, as far as `looks` allow, which it lowers.
    fn portion(&mut self, stream: &mut Stream, looks: &mut usize) -> weir_engine::Result<Portion> {
        match self {
            Self::Batch(batch) => batch.portion(stream, looks),
            Self::MultiLast(multi) => multi.portion(stream, looks),
        }
    }
}

/// Messages in the order of the stream. What comes after the first portion was read does not belong to it.
struct BatchGet {
    get: Get,
    filter: Bytes,
    /// Of what it is told how many there are.
    count: Count,
    room: Room,
    /// Once it has begun: the search, the last sequence that belongs to it, and how many matched and were not read.
    place: Option<(Search, Seq, u64)>,
    /// Whether a message was found.
    found: bool,
}

impl BatchGet {
    fn new(get: Get) -> Self {
        Self {
            filter: Bytes::copy_from_slice(get.next_by_subj.as_bytes()),
            count: Count::of(get.next_by_subj.as_bytes()),
            room: Room::of(&get),
            place: None,
            found: false,
            get,
        }
    }

    fn portion(&mut self, stream: &mut Stream, looks: &mut usize) -> weir_engine::Result<Portion> {
        let (mut search, last, mut pending) = match self.place.take() {
            Some(place) => place,
            None => match self.begin(stream, looks)? {
                Some(place) => place,
                None => return Ok(Portion::Some(Vec::new())),
            },
        };
        let end = |pending| End { pending, up_to: None };
        if self.get.batch < 0 {
            // Nats-server takes that for none at all.
            return Ok(Portion::Last(Vec::new(), end(pending)));
        }
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while self.room.is_left() {
            if messages.len() == PORTION_MESSAGES || bytes >= PORTION_BYTES {
                self.place = Some((search, last, pending));
                return Ok(Portion::Some(messages));
            }
            let message = match stream.search_within(&mut search, looks)? {
                Found::Message(message) if message.seq <= last => message,
                Found::Message(_) | Found::Nothing => break,
                Found::Later => {
                    self.place = Some((search, last, pending));
                    return Ok(Portion::Some(messages));
                }
                Found::Unread(unread) => {
                    self.place = Some((search, last, pending));
                    let more = stream.unread_from(unread.first(), PORTION_MESSAGES as u64);
                    return Ok(Portion::Unread(messages, vec![more.unwrap_or(unread)]));
                }
            };
            self.found = true;
            pending = pending.saturating_sub(1);
            self.room.take(&message);
            bytes += size(&message);
            messages.push((message, pending));
        }
        match self.found {
            false => Ok(Portion::Status(404, "Message Not Found")),
            true => Ok(Portion::Last(messages, end(pending))),
        }
    }

    /// Where it begins, once it is known how many messages match.
    fn begin(&self, stream: &mut Stream, looks: &mut usize) -> weir_engine::Result<Option<(Search, Seq, u64)>> {
        let start = match self.get.start() {
            Some(time) => stream.seq_at(time)?,
            None => self.get.seq,
        };
        let Some(pending) = stream.count_within(&self.count, start, looks)? else {
            return Ok(None);
        };
        let search = Search::from(&self.filter, start);
        Ok(Some((search, stream.state()?.last_seq, pending)))
    }
}

/// The last message of each of some subjects.
struct MultiLast {
    get: Get,
    /// Finds the messages, and has those that were not read.
    search: LastSeqs,
    room: Room,
    /// Once it has begun: the last sequence that counts.
    up_to: Option<Seq>,
    /// Whether the first of them were read.
    reading: bool,
    /// Of these is known that no disk has to be waited for.
    fetched: BTreeSet<Seq>,
}

impl MultiLast {
    fn new(mut get: Get) -> Self {
        let filters = std::mem::take(&mut get.multi_last);
        Self {
            search: LastSeqs::new(filters.into_iter().map(Bytes::from), MULTI_LAST_MAX),
            room: Room::of(&get),
            up_to: None,
            reading: false,
            fetched: BTreeSet::new(),
            get,
        }
    }

    fn portion(&mut self, stream: &mut Stream, looks: &mut usize) -> weir_engine::Result<Portion> {
        let up_to = match self.up_to {
            Some(up_to) => up_to,
            None => match self.begin(stream)? {
                Some(up_to) => up_to,
                None => return Ok(Portion::Status(404, "No Results")),
            },
        };
        self.up_to = Some(up_to);
        stream.last_seqs(&mut self.search, up_to, looks)?;
        if self.search.has_too_many() {
            return Ok(Portion::Status(413, "Too Many Results"));
        }
        if !self.search.is_over() {
            return Ok(Portion::Some(Vec::new()));
        }
        let seqs = self.search.found();
        *seqs = seqs.split_off(&self.get.seq);
        if seqs.is_empty() && !self.reading {
            return Ok(Portion::Status(404, "No Results"));
        }
        self.reading = true;
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while self.room.is_left()
            && let Some(&seq) = seqs.first()
        {
            if !self.fetched.remove(&seq) {
                let next = seqs.iter().take(FETCHED);
                let unread: Vec<Unread> = next.clone().filter_map(|seq| stream.unread(*seq)).collect();
                self.fetched = next.copied().collect();
                if !unread.is_empty() {
                    return Ok(Portion::Unread(messages, unread));
                }
                self.fetched.remove(&seq);
            }
            seqs.pop_first();
            let pending = seqs.len() as u64;
            // What has gone since it was found, or cannot be read, is left out.
            let message = match stream.message(seq) {
                Ok(Some(message)) => message,
                Ok(None) => continue,
                Err(error) if error.kind == Kind::Damaged => continue,
                Err(error) => return Err(error),
            };
            self.room.take(&message);
            bytes += size(&message);
            messages.push((message, pending));
            if bytes >= MULTI_LAST_BYTES && !seqs.is_empty() && self.room.is_left() {
                return Ok(Portion::Some(messages));
            }
        }
        let end = End {
            pending: seqs.len() as u64,
            up_to: Some(up_to),
        };
        Ok(Portion::Last(messages, end))
    }

    /// The last sequence that counts; `None` if there is nothing to find.
    fn begin(&self, stream: &mut Stream) -> weir_engine::Result<Option<Seq>> {
        let state = stream.state()?;
        Ok(match (self.get.up_to(), self.get.up_to_seq) {
            (Some(time), _) => {
                let seq = stream.seq_at(time)?;
                (seq > state.first_seq).then(|| seq - 1)
            }
            (None, 0) => Some(state.last_seq),
            // Nats-server's file store has no block that the sequence belongs to.
            (None, seq) if seq > state.last_seq && stream.config().storage == Storage::File => None,
            (None, seq) => Some(seq),
        })
    }
}

pub(super) fn size(message: &Message) -> usize {
    message.subject.len() + message.headers.len() + message.payload.len()
}

/// Reads the request; otherwise the status that says why not.
fn read(request: &ApiRequest, last_for: Option<Bytes>) -> Result<Get, (u16, &'static str)> {
    if !supports_level(&request.headers) {
        return Err((412, "Required Api Level"));
    }
    let payload: &[u8] = &request.payload;
    if payload.is_empty() && last_for.is_none() {
        return Err((408, "Empty Request"));
    }
    let mut get: Get = decode(payload, &schema::MSG_GET, false).map_err(|_| (408, "Malformed Request"))?;
    if let Some(subject) = last_for {
        let only = Get {
            no_hdr: get.no_hdr,
            max_bytes: get.max_bytes,
            ..Get::default()
        };
        if subject.is_empty() || get != only {
            return Err((408, "Bad Request"));
        }
        get.last_by_subj = String::from_utf8_lossy(&subject).into_owned();
        return Ok(get);
    }
    let multi = !get.multi_last.is_empty();
    if get.is_vague() && !multi {
        return Err((408, "Empty Request"));
    }
    let last = !get.last_by_subj.is_empty();
    if get.contradicts_itself()
        || (last && (get.batch > 0 || multi))
        || (!get.next_by_subj.is_empty() && multi)
        || (get.up_to_seq > 0 && get.up_to().is_some())
    {
        return Err((408, "Bad Request"));
    }
    Ok(get)
}

/// How much may still go into a batch.
struct Room {
    messages: usize,
    bytes: u64,
}

impl Room {
    fn of(get: &Get) -> Self {
        let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
        let asked = positive(get.batch).and_then(|batch| usize::try_from(batch).ok());
        Self {
            messages: asked.unwrap_or(usize::MAX),
            bytes: match u64::try_from(get.max_bytes) {
                Ok(0) => BYTES_MAX,
                Ok(bytes) => bytes.min(BYTES_MAX),
                // Less than nothing is left: one message goes, as ever.
                Err(_) => 1,
            },
        }
    }

    fn is_left(&self) -> bool {
        self.messages > 0 && self.bytes > 0
    }

    /// A message that goes in; one always does, however large.
    fn take(&mut self, message: &Message) {
        self.messages -= 1;
        self.bytes = self.bytes.saturating_sub(size(message) as u64);
    }
}

/// What only the server says of a message: whoever published it may have written as much.
const OWN: &[&str] = &[
    "Nats-Stream",
    "Nats-Subject",
    "Nats-Sequence",
    "Nats-Time-Stamp",
    "Nats-Num-Pending",
    "Nats-Last-Sequence",
    "Nats-UpTo-Sequence",
];

/// The message's own header block with where it comes from, and in a batch with how many follow and which came before.
fn headers(stream: &str, message: &Message, batch: Option<(u64, Seq)>) -> Vec<u8> {
    let block = HeaderBuf::continuing(&scrub(&message.headers, OWN))
        .add("Nats-Stream", stream)
        .add("Nats-Subject", &message.subject)
        .add_number("Nats-Sequence", message.seq)
        .add("Nats-Time-Stamp", format_time(Some(message.time)));
    let block = match batch {
        Some((pending, last)) => block
            .add_number("Nats-Num-Pending", pending)
            .add_number("Nats-Last-Sequence", last),
        None => block,
    };
    block.finish()
}

/// Answers a request for one message.
fn send(waiting: &Waiting, outcome: &Outcome, no_hdr: bool) {
    let (block, payload): (Vec<u8>, &[u8]) = match outcome {
        Outcome::Status(code, text) => (status::block(*code, text, &[]), b""),
        Outcome::One(message) if no_hdr => (Vec::new(), &message.payload),
        Outcome::One(message) => (headers(&waiting.entry.name, message, None), &message.payload),
    };
    let message = link::Message {
        subject: &waiting.request.reply,
        reply: b"",
        headers: &block,
        payload,
    };
    together::send(&waiting.request.account, &message);
}

/// The answer to a request for many messages.
struct Sending<'w> {
    waiting: &'w Waiting,
    /// Without headers. Nats-server leaves them out only where sequences tell the batch, not the subjects of `multi_last`;
    /// and then does not count down either.
    bare: bool,
    sent: u64,
    last: Seq,
}

impl<'w> Sending<'w> {
    fn new(waiting: &'w Waiting, bare: bool) -> Self {
        Self {
            waiting,
            bare,
            sent: 0,
            last: 0,
        }
    }

    fn messages(&mut self, messages: Vec<(Message, u64)>) {
        let to = &self.waiting.request.reply;
        let mut courier = Courier::telling(Arc::clone(&self.waiting.request.account));
        for (message, after) in messages {
            let headers = match self.bare {
                true => Vec::new(),
                false => headers(&self.waiting.entry.name, &message, Some((after, self.last))),
            };
            self.last = message.seq;
            self.sent += 1;
            courier.send(to, to, b"", &headers, &message.payload);
        }
    }

    fn end(&self, end: &End) {
        let pending = end.pending + if self.bare { self.sent } else { 0 };
        let mut told: Vec<(&str, &dyn std::fmt::Display)> =
            vec![("Nats-Num-Pending", &pending), ("Nats-Last-Sequence", &self.last)];
        if let Some(up_to) = &end.up_to {
            told.push(("Nats-UpTo-Sequence", up_to));
        }
        let to = &self.waiting.request.reply;
        let mut courier = Courier::telling(Arc::clone(&self.waiting.request.account));
        courier.send(to, to, b"", &status::block(204, "EOB", &told), b"");
    }
}

#[cfg(test)]
mod tests;
