//! One stream: its log from the first byte to the last, against its index, its counts and its consumers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use bytes::Bytes;
use weir_engine::consumer::ConsumerSnapshot;
use weir_engine::image::Image;
use weir_engine::stream::ledger::{Ledger, Loss};
use weir_engine::stream::{Digest, Storage, Stream, StreamState, digest_record, stored_size, subject_of};
use weir_engine::{Check, EntryRef, Error, Kind, NanoTime, Place, Result, Seq, StreamId, Want, words};

use super::report::{Finds, Found, StreamChecked, What};
use super::subjects::{self, Sum};
use super::unread::Unread;
use super::{Meter, kept, lines};
use crate::inspect::places::{line_of, relative};
use crate::unfinished;

/// Sequences that are looked up in the index at once.
const PAGE: u64 = 1 << 16;
/// Damaged messages whose subjects are looked for in the index, which goes through all subjects each time.
const SUBJECTS_SOUGHT: usize = 16;
/// Ranges of sequences that are remembered as missing in the log.
const MISSING_MAX: usize = 1 << 16;
/// Bytes that a record counts for beside its head and body (`stored_size`: the length of headers and a flag are in the head).
const RECORD_BYTES: u64 = 29;

/// What was counted.
#[derive(Default)]
struct Counted {
    messages: u64,
    bytes: u64,
    first: Option<(Seq, NanoTime)>,
    sum: Sum,
    /// All of them, to be compared with an index in memory.
    digest: Digest,
    /// Whether the index has all endings that heads tell.
    other_endings: bool,
}

impl Counted {
    fn add(&mut self, seq: Seq, time: NanoTime, subject: &[u8], bytes: u64) {
        self.messages += 1;
        self.bytes += bytes;
        self.sum.add(subject, 1);
        if self.first.is_none_or(|(first, _)| seq < first) {
            self.first = Some((seq, time));
        }
    }
}

/// Goes through the log and the index side by side.
struct Pass<'a, 'm> {
    stream: &'a Stream,
    meter: &'a mut Meter<'m>,
    /// The next sequences that the index has.
    live: Vec<Seq>,
    at: usize,
    further: Option<Seq>,
    counted: Counted,
    /// What the index has and the log did not give.
    missing: Vec<(Seq, Seq)>,
    missing_more: u64,
    /// What the log has and the index does not.
    extra: Vec<(Seq, Seq)>,
    places: Vec<Place>,
    failed: Option<Error>,
}

fn push(ranges: &mut Vec<(Seq, Seq)>, seq: Seq) -> bool {
    let is_full = ranges.len() >= MISSING_MAX;
    match ranges.last_mut().filter(|(_, last)| last + 1 == seq) {
        Some((_, last)) => *last = seq,
        None if is_full => return false,
        None => ranges.push((seq, seq)),
    }
    true
}

impl Pass<'_, '_> {
    fn peek(&mut self) -> Result<Option<Seq>> {
        if self.at == self.live.len()
            && let Some(from) = self.further
        {
            self.live.clear();
            self.at = 0;
            self.further = self.stream.live_from(from, PAGE, &mut self.live)?;
        }
        Ok(self.live.get(self.at).copied())
    }

    fn missing(&mut self, seq: Seq) {
        self.at += 1;
        if !push(&mut self.missing, seq) {
            self.missing_more += 1;
        }
    }

    fn see(&mut self, entry: EntryRef<'_>) -> Result<()> {
        while let Some(seq) = self.peek()?.filter(|seq| *seq < entry.seq) {
            self.missing(seq);
        }
        if self.peek()? != Some(entry.seq) {
            push(&mut self.extra, entry.seq);
            return Ok(());
        }
        self.at += 1;
        let bytes = RECORD_BYTES + entry.head.len() as u64 + u64::from(entry.body_len);
        self.counted.add(entry.seq, entry.time, subject_of(entry.head), bytes);
        let (storage, digest) = (self.stream.storage(), &mut self.counted.digest);
        digest_record(digest, storage, entry.seq, entry.head, entry.body_len as usize);
        self.counted.other_endings |= !self.stream.has_ending(entry.seq, entry.time, entry.head);
        Ok(())
    }
}

impl Check for Pass<'_, '_> {
    fn record(&mut self, entry: EntryRef<'_>) -> ControlFlow<()> {
        match self.see(entry) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn want(&self) -> Want {
        Want::Heads
    }

    fn place(&mut self, place: Place) {
        self.places.push(place);
    }

    fn read(&mut self, bytes: u64) {
        self.meter.read(self.stream.name(), bytes);
    }
}

/// Who is told of.
struct Told<'a> {
    root: &'a Path,
    account: &'a str,
    name: &'a str,
    key: String,
    ledger: Ledger,
    /// What of it a server has noted: that can be settled.
    noted: Ledger,
    finds: &'a mut Finds,
    /// Sequences that something was said of.
    said: Vec<(Seq, Seq)>,
}

impl Told<'_> {
    fn add(&mut self, found: Found) {
        self.said.extend(&found.lost);
        self.finds.add(found.of_stream(self.account, self.name));
    }

    /// Whether somebody has settled that all these are lost.
    fn is_settled(&self, lost: &[(Seq, Seq)]) -> bool {
        let ledger = &self.ledger;
        let settled = |&(first, last): &(Seq, Seq)| {
            let mut of = ledger
                .losses()
                .iter()
                .filter(|loss| loss.first <= last && first <= loss.last);
            ledger.covers(first, last) && (ledger.unsettled() == 0 || of.all(|loss| loss.settled))
        };
        !lost.is_empty() && lost.iter().all(settled)
    }

    /// A loss that a server has noted can be settled.
    fn with_key(&self, found: Found) -> Found {
        let is_noted = |(first, last): &(Seq, Seq)| self.noted.covers(*first, *last);
        let all = !found.lost.is_empty() && found.lost.iter().all(is_noted);
        Found {
            key: all.then(|| self.key.clone()),
            ..found
        }
    }
}

/// Checks a stream; `None` if the image has none with that log. `has_tail` says whether the journal has something for it that its
/// log may lack.
///
/// # Errors
/// If the catalogue cannot be read.
pub(super) fn check(
    image: &mut Image,
    id: StreamId,
    has_tail: bool,
    root: &Path,
    finds: &mut Finds,
    meter: &mut Meter<'_>,
) -> Result<Option<StreamChecked>> {
    let saved = image.saved(id)?;
    let saved_ledger = image.saved_ledger(id)?;
    let Some(shown) = image.stream(id) else {
        return Ok(None);
    };
    let entry = shown.entry;
    let mut told = Told {
        root,
        account: &entry.account,
        name: &entry.name,
        key: crate::settle::loss_key(&id.to_string()),
        ledger: saved_ledger.clone().unwrap_or_default(),
        noted: saved_ledger.clone().unwrap_or_default(),
        finds,
        said: Vec::new(),
    };
    if saved_ledger.is_none() {
        told.add(Found::new(What::Stream, "the note of what it has lost makes no sense"));
    }
    if let Some(why) = &entry.offline {
        let found = lines::found(What::Stream, root, why);
        let had = match (&shown.stream, &saved) {
            (None, Some(saved)) => format!("; {}", crate::image::had(saved)),
            _ => String::new(),
        };
        told.add(Found {
            text: format!("the stream is offline: {}{had}", found.text),
            ..found
        });
    }
    let mut checked = StreamChecked {
        account: entry.account.to_string(),
        name: entry.name.to_string(),
        log: id.to_string(),
        backend: entry.settings.backend.to_string(),
        ..StreamChecked::default()
    };
    let mut back = Vec::new();
    if let Some(stream) = shown.stream {
        told.ledger = stream.ledger().clone();
        if let Err(error) = log(stream, has_tail, &mut checked, &mut told, meter) {
            told.add(Found::new(What::Stream, format!("it cannot be read: {error}")));
        }
        let saved = saved.as_ref().map(|saved| &saved.consumers[..]).filter(|_| !has_tail);
        if let Err(error) = consumers(stream, saved.unwrap_or_default(), &mut told) {
            told.add(Found::new(
                What::Consumer,
                format!("its consumers cannot be read: {error}"),
            ));
        }
        back = there_again(stream, &told.noted);
    }
    noted(&mut told, &back);
    Ok(Some(checked))
}

fn log(
    stream: &mut Stream,
    has_tail: bool,
    checked: &mut StreamChecked,
    told: &mut Told<'_>,
    meter: &mut Meter<'_>,
) -> Result<()> {
    let state = stream.state()?;
    checked.first_seq = state.first_seq;
    checked.last_seq = state.last_seq;
    checked.subjects = state.num_subjects;
    checked.consumers = stream.consumer_count() as u64;
    let reader = stream.log_reader().clone();
    let index = stream.index_in_memory();
    let mut pass = Pass {
        stream,
        meter,
        live: Vec::new(),
        at: 0,
        further: Some(0),
        counted: Counted::default(),
        missing: Vec::new(),
        missing_more: 0,
        extra: Vec::new(),
        places: Vec::new(),
        failed: None,
    };
    // What an index in memory says is added up beside the log.
    let added = std::thread::scope(|scope| {
        let add = || index.map(|index| (subjects::in_memory(index), index.counted_digest()));
        let thread = std::thread::Builder::new().name("weir-verify".to_owned());
        let thread = thread.spawn_scoped(scope, add).ok();
        reader.check(&mut pass)?;
        let panicked = |_| Err(Error::closed("adding up the index panicked: please report it"));
        // Where no thread can be had, it is done here.
        thread.map_or_else(|| Ok(add()), |thread| thread.join().or_else(panicked))
    })?;
    while let Some(seq) = pass.peek()? {
        pass.missing(seq);
    }
    let Pass {
        mut counted,
        missing,
        missing_more,
        extra,
        places,
        failed,
        ..
    } = pass;
    if let Some(error) = failed {
        return Err(error);
    }
    let subjects: BTreeMap<Seq, Bytes> = (stream.log_lost().into_iter())
        .filter_map(|lost| Some((lost.first, lost.head?)))
        .collect();
    let subject = |seq: Seq| subjects.get(&seq).map(|head| subject_of(head));
    damaged(stream, places, &subject, told);

    // What the index has and the log did not give: in the journal alone so far, damaged, or gone.
    let (mut unwritten, mut unknown, mut sought) = (Vec::new(), missing_more, 0);
    let mut unread = Unread::default();
    for seq in missing.iter().flat_map(|(first, last)| *first..=*last) {
        match stream.message(seq) {
            Ok(Some(message)) => {
                let (headers, payload) = (message.headers.len(), message.payload.len());
                let bytes = stored_size(Storage::File, message.subject.len(), headers, payload);
                counted.add(seq, message.time, &message.subject, bytes);
                let size = stored_size(stream.storage(), message.subject.len(), headers, payload);
                counted.digest.add(seq, &message.subject, size);
                unwritten.push(message.subject);
                continue;
            }
            Ok(None) if !stream.is_live(seq)? => continue,
            Ok(None) => {
                let text = format!("the index has message {seq}, and the log has lost all trace of it");
                told.add(Found {
                    lost: vec![(seq, seq)],
                    ..Found::new(What::Index, text)
                });
            }
            Err(error) if error.kind == Kind::Damaged => {
                if !within(&told.said, seq) {
                    let found = lines::found(What::Message, told.root, &error.message);
                    let found = Found {
                        lost: vec![(seq, seq)],
                        subject: subject(seq).map(text_of),
                        ..found
                    };
                    let found = found.settled_if(told.is_settled(&[(seq, seq)]));
                    unread.add(seq, told.with_key(found));
                }
            }
            Err(error) => return Err(error),
        }
        checked.unreadable += 1;
        let known = match subject(seq) {
            Some(subject) => Some(Bytes::copy_from_slice(subject)),
            None if sought < SUBJECTS_SOUGHT => {
                sought += 1;
                stream.indexed_subject(seq)?
            }
            None => None,
        };
        match known {
            Some(subject) => counted.sum.add(&subject, 1),
            None => unknown += 1,
        }
    }
    unread.into_found().into_iter().for_each(|found| told.add(found));
    checked.messages = counted.messages;
    checked.unreadable += missing_more;
    if missing_more > 0 {
        let text = format!("{} more are damaged", words::count(missing_more, "message"));
        told.add(Found::new(What::Message, text));
    }
    if !extra.is_empty() && !has_tail {
        let text = format!(
            "the log has {} and the index does not",
            words::numbered("message", cut(&extra))
        );
        told.add(Found::new(What::Index, text));
    }
    counts(&state, checked, &counted, told);
    let (sum, digest) = match added {
        Some((sum, digest)) => (sum, Some(digest)),
        None => (subjects::indexed(stream)?, None),
    };
    let is_whole = checked.unreadable == 0 && (extra.is_empty() || has_tail);
    // Of an index in memory the file that it came from is told of below.
    if let Some(kept) = state
        .digest
        .filter(|kept| is_whole && digest.is_none() && *kept != counted.digest)
    {
        let text = format!(
            "the index has {kept} as the digest of its messages, and theirs is {}",
            counted.digest
        );
        told.add(Found::new(What::Index, text));
    }
    checked.digest = is_whole.then(|| counted.digest.to_string());
    if unknown == 0 && sum != counted.sum {
        differing_subjects(stream, checked.unreadable, &unwritten, told)?;
    }
    let seen = kept::Seen {
        kept: stream.kept_use(),
        is_same: !counted.other_endings
            && digest.is_none_or(|digest| digest == counted.digest && state.digest == Some(digest)),
        is_damaged: checked.unreadable > 0 || !extra.is_empty() || !told.said.is_empty(),
    };
    let file = kept::path(told.root, stream.id().log());
    // Of one that is damaged within it was said where.
    let is_told = told.finds.found.iter().any(|found| found.file.as_ref() == Some(&file));
    if let Some(found) = kept::found(file, &seen).filter(|_| !is_told) {
        told.add(found);
    }
    let torn = stream.torn_bytes();
    if torn > 0 {
        let durability = unfinished::durability(stream.settings().durability);
        let text = unfinished::of_log(&words::count(torn, "byte"), &durability);
        told.add(Found::new(What::File, text).of_a_crash());
    }
    Ok(())
}

fn text_of(subject: &[u8]) -> String {
    String::from_utf8_lossy(subject).into_owned()
}

fn within(ranges: &[(Seq, Seq)], seq: Seq) -> bool {
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&seq))
}

/// Ranges that a line names.
fn cut(ranges: &[(Seq, Seq)]) -> &[(Seq, Seq)] {
    &ranges[..ranges.len().min(weir_engine::finding::RANGES_MAX)]
}

/// Damaged places: those that checking met, then what opening found beyond them, then losses that have no place.
fn damaged<'s>(stream: &Stream, places: Vec<Place>, subject: &dyn Fn(Seq) -> Option<&'s [u8]>, told: &mut Told<'_>) {
    let lines = stream.damaged_places();
    let mut used = BTreeSet::new();
    for place in places {
        let start = format!("{}: offset {} ", place.file.display(), place.offset);
        let start_alone = format!("{}: offset {}: ", place.file.display(), place.offset);
        let line = lines
            .iter()
            .position(|line| line.starts_with(&start) || line.starts_with(&start_alone));
        used.extend(line);
        let settled_line = line.is_some_and(|line| is_settled_line(told, &lines[line]))
            || (place.lost.is_empty() && is_settled_line(told, &line_of(&place)));
        let single = match place.lost[..] {
            [(first, last)] if first == last => subject(first).map(text_of),
            _ => None,
        };
        let what = match place.lost.is_empty() {
            true => What::File,
            false => What::Message,
        };
        let found = Found {
            file: Some(place.file),
            offset: Some(place.offset),
            subject: single,
            ..Found::new(what, place.what)
        };
        let is_settled = settled_line || told.is_settled(&place.lost);
        let found = Found {
            lost: place.lost,
            ..found
        };
        told.add(told.with_key(found.settled_if(is_settled)));
    }
    // By what is said of them: a file that is missing costs many ranges.
    let mut lost: BTreeMap<String, Vec<(Seq, Seq)>> = BTreeMap::new();
    for of in stream.log_lost() {
        if within(&told.said, of.first) && within(&told.said, of.last) {
            continue;
        }
        // It says which file it is.
        let why = match stream.log_reader().get(of.first) {
            Err(error) => error.message,
            Ok(_) => of.why.to_owned(),
        };
        let why = why.split_once(" may be lost: ").map_or(&*why, |(_, note)| note);
        lost.entry(why.to_owned()).or_default().push((of.first, of.last));
    }
    let unused = lines.iter().enumerate().filter(|(at, _)| !used.contains(at));
    let unused: Vec<&String> = unused.map(|(_, line)| line).collect();
    for line in unused.iter().filter(|line| !lost.contains_key(**line)) {
        let found = lines::found(What::File, told.root, line);
        told.add(found.settled_if(is_settled_line(told, line)));
    }
    for (why, ranges) in lost {
        let single = ranges.iter().map(|(first, last)| last - first + 1).sum::<u64>() == 1;
        let is_settled = told.is_settled(&ranges) || is_settled_line(told, &why);
        let found = Found {
            subject: single.then(|| subject(ranges[0].0).map(text_of)).flatten(),
            lost: ranges,
            ..lines::found(What::Message, told.root, &why)
        };
        told.add(told.with_key(found.settled_if(is_settled)));
    }
}

fn is_settled_line(told: &Told<'_>, line: &str) -> bool {
    told.ledger.places().contains(&relative(told.root, line))
}

/// What the stream says of itself.
fn counts(state: &StreamState, checked: &StreamChecked, counted: &Counted, told: &mut Told<'_>) {
    let there = counted.messages + checked.unreadable;
    if state.messages != there {
        let text = format!(
            "it counts {}, and {there} are there",
            words::count(state.messages, "message")
        );
        told.add(Found::new(What::Index, text));
    }
    // What is damaged still counts with its bytes in some places, and not in others.
    if checked.unreadable > 0 || !told.said.is_empty() {
        return;
    }
    if state.bytes != counted.bytes {
        let text = format!(
            "it counts {}, and there are {}",
            words::count(state.bytes, "byte"),
            counted.bytes
        );
        told.add(Found::new(What::Index, text));
    }
    if let Some((first, time)) = counted.first
        && (first != state.first_seq || state.first_time != Some(time))
    {
        let text = format!("its first message should be {}, and is {first}", state.first_seq);
        told.add(Found::new(What::Index, text));
    }
}

fn differing_subjects(stream: &mut Stream, unreadable: u64, unwritten: &[Bytes], told: &mut Told<'_>) -> Result<()> {
    if unreadable > 0 {
        let text = "the index counts messages under other subjects than the log has them; which, cannot be told as long as messages are damaged";
        told.add(Found::new(What::Index, text));
        return Ok(());
    }
    let (named, count) = subjects::compare(stream, unwritten)?;
    let shown = named.len() as u64;
    for (subject, indexed, there) in named {
        let text = format!(
            "the index has {} of subject {subject}, and {there} are there",
            words::count(indexed, "message")
        );
        told.add(Found {
            subject: Some(subject),
            ..Found::new(What::Index, text)
        });
    }
    if count > shown {
        let text = format!("so it is with {}", words::count(count - shown, "more subject"));
        told.add(Found::new(What::Index, text));
    }
    Ok(())
}

/// Whether consumers are where their stream is. `saved` is what a checkpoint has of them that nothing came after.
fn consumers(stream: &mut Stream, saved: &[ConsumerSnapshot], told: &mut Told<'_>) -> Result<()> {
    let last = stream.state()?.last_seq;
    let of = |consumer: &ConsumerSnapshot, text: String| Found {
        consumer: Some(consumer.name.clone()),
        ..Found::new(What::Consumer, text)
    };
    for consumer in stream.consumer_backups() {
        let (delivered, floor) = (consumer.delivered, consumer.ack_floor);
        if delivered.stream > last || floor.stream > last {
            let to = delivered.stream.max(floor.stream);
            let text = format!("it is at message {to}, and the stream ends at {last}");
            told.add(of(&consumer, text));
        }
        if floor.consumer > delivered.consumer {
            let text = format!(
                "it has acknowledgements up to delivery {}, and made {}",
                floor.consumer, delivered.consumer
            );
            told.add(of(&consumer, text));
        }
        let beyond = |(_, delivery, _): &&(Seq, u64, NanoTime)| *delivery > delivered.consumer;
        if let Some((seq, delivery, _)) = consumer.pending.iter().find(beyond) {
            let text = format!(
                "it waits for message {seq} of delivery {delivery}, and made {}",
                delivered.consumer
            );
            told.add(of(&consumer, text));
        }
    }
    for consumer in saved {
        let mut gone = Vec::new();
        for (seq, _, _) in &consumer.pending {
            if !stream.is_live(*seq)? {
                push(&mut gone, *seq);
            }
        }
        if !gone.is_empty() {
            let text = format!(
                "it waits for the acknowledgement of {}, which is not there any more: a server forgets that",
                words::numbered("message", cut(&gone))
            );
            let known = gone.iter().all(|(first, last)| told.ledger.covers(*first, *last));
            told.add(of(consumer, text).settled_if(known && told.ledger.unsettled() == 0));
        }
    }
    Ok(())
}

/// Of what was noted as lost, the ranges of which messages can be read again, and how many: somebody has put their file back.
fn there_again(stream: &Stream, ledger: &Ledger) -> Vec<(Seq, Seq, u64)> {
    let back = stream.there_again(ledger).unwrap_or_default();
    let whole = ledger.losses().iter().filter_map(|loss| {
        let (first, last) = *back
            .iter()
            .find(|(first, last)| loss.first <= *first && *last <= loss.last)?;
        let live = stream.live(first, last).map_or(0, |live| live.len() as u64);
        Some((loss.first, loss.last, live))
    });
    whole.collect()
}

/// What was noted as lost, and nothing was said of so far; of `back` so many messages are there, and can be read.
fn noted(told: &mut Told<'_>, back: &[(Seq, Seq, u64)]) {
    let unsettled = told.ledger.unsettled();
    // A start takes those that are there again off what it knows to be lost.
    let is_back = |loss: &&Loss| {
        back.iter()
            .any(|(first, last, _)| (*first, *last) == (loss.first, loss.last))
    };
    let again = told.noted.losses().iter().filter(is_back);
    let others = told.ledger.losses().iter().filter(|loss| !is_back(loss));
    let cut = |loss: &&Loss| {
        !back
            .iter()
            .any(|(first, last, _)| *first <= loss.first && loss.last <= *last)
    };
    let losses: Vec<Loss> = again.chain(others.filter(cut)).cloned().collect();
    let listed = losses.iter().map(|loss| loss.last - loss.first + 1).sum::<u64>();
    for loss in &losses {
        if within(&told.said, loss.first) && within(&told.said, loss.last) {
            continue;
        }
        let lost = vec![(loss.first, loss.last)];
        let is_settled = loss.settled || unsettled == 0;
        let again = back.iter().find(|(first, last, _)| (*first, *last) == lost[0]);
        if let Some((first, last, count)) = again {
            let named = words::numbered("message", &lost);
            // What was deleted before is among the sequences, so that fewer may be all.
            let how_many = match *count == last - first + 1 {
                true => String::new(),
                false => format!("{count} of these sequences are "),
            };
            let text = format!(
                "{named}: noted as lost ({}), and {how_many}there again: the next start counts them as there",
                loss.why
            );
            told.add(told.with_key(Found::new(What::Message, text)).harmless());
            continue;
        }
        let text = format!("{} lost: {}", words::numbered("message", &lost), loss.why);
        let found = Found {
            lost,
            ..Found::new(What::Message, text)
        };
        told.add(told.with_key(found.settled_if(is_settled)));
    }
    let more = told.ledger.messages().saturating_sub(listed);
    if more > 0 {
        let text = format!(
            "{} more were lost, beyond the ranges that are kept",
            words::count(more, "message")
        );
        let found = Found {
            key: Some(told.key.clone()),
            ..Found::new(What::Message, text)
        };
        told.add(found.settled_if(unsettled == 0));
    }
}
