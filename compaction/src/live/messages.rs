//! The messages of a stream, asked for one by one, many at a time; nothing is left behind on the server.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use serde_json::{Value, json};
use weir_engine::json::parse_time;
use weir_engine::store::OpeningProgress;
use weir_engine::stream::Message;
use weir_engine::{NanoTime, Seq};

use super::lost::{Losses, ranges_of};
use super::{Server, ask, error_code, failed, is_offline, refusal, refused};
use crate::dump::{Dumped, Options, Shown, check_filters};
use crate::error::Result;
use crate::export::{Exported, table_of};

/// Messages that are asked for at once, at most.
const WINDOW: usize = 64;
/// The error of a sequence that holds nothing.
const NO_MESSAGE: u64 = 10_037;

/// What was asked for.
enum Got {
    Message(Message),
    /// It is there, and cannot be had.
    Lost(Seq, String),
}

enum Answer {
    Message(Message),
    Nothing,
    Refused(String),
}

struct Reader<'a> {
    server: &'a Server,
    call: String,
    filters: &'a [String],
    next: Seq,
    to: Seq,
    window: usize,
    read: VecDeque<Got>,
}

impl Reader<'_> {
    /// Answers for these sequences, of the first message at or above each, or of each itself.
    fn get(&self, seqs: &[Seq], exact: bool) -> Result<Vec<Answer>> {
        let filter = match self.filters {
            [only] => only,
            _ => ">",
        };
        let bodies: Vec<Value> = seqs
            .iter()
            .map(|seq| match exact {
                true => json!({"seq": seq}),
                false => json!({"seq": seq, "next_by_subj": filter}),
            })
            .collect();
        let asked = bodies.iter().map(|body| ask(self.server, &self.call, body));
        let answers = self.server.runtime.block_on(join_all(asked));
        answers.into_iter().map(|answer| answer_of(&answer?)).collect()
    }

    /// The first message at or above a sequence.
    fn first_from(&self, seq: Seq) -> Result<Option<Message>> {
        Ok(match self.get(&[seq], false)?.pop() {
            Some(Answer::Message(message)) => Some(message),
            _ => None,
        })
    }

    /// The first sequence whose message was stored at that time or later; times go up with sequences.
    fn seq_at(&self, time: NanoTime, first: Seq, last: Seq) -> Result<Seq> {
        let (mut low, mut high) = (first, last.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first_from(middle)? {
                Some(message) if message.time < time => low = message.seq + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    fn next(&mut self) -> Result<Option<Got>> {
        while self.read.is_empty() && self.next <= self.to {
            self.fill()?;
        }
        Ok(self.read.pop_front())
    }

    fn fill(&mut self) -> Result<()> {
        let seqs: Vec<Seq> = (self.next..=self.to).take(self.window).collect();
        let mut found = 0;
        for (asked, answer) in seqs.iter().copied().zip(self.get(&seqs, false)?) {
            if asked < self.next {
                // What an answer before has passed over.
                continue;
            }
            match answer {
                Answer::Message(message) if message.seq > self.to => {
                    self.next = Seq::MAX;
                    break;
                }
                Answer::Message(message) => {
                    found += 1;
                    self.next = message.seq.saturating_add(1).max(asked + 1);
                    let is_wanted = |filter: &String| weir_subject::matches(filter.as_bytes(), &message.subject);
                    if self.filters.len() < 2 || self.filters.iter().any(is_wanted) {
                        self.read.push_back(Got::Message(message));
                    }
                }
                Answer::Nothing => {
                    self.next = Seq::MAX;
                    break;
                }
                Answer::Refused(why) => {
                    // It is this one, or one above.
                    if let Some(Answer::Refused(_)) = self.get(&[asked], true)?.pop() {
                        self.read.push_back(Got::Lost(asked, why));
                    }
                    self.next = asked + 1;
                }
            }
        }
        // Where there are gaps, many answers are the same.
        self.window = match found * 2 >= seqs.len() {
            true => (self.window * 2).min(WINDOW),
            false => found.max(1),
        };
        Ok(())
    }
}

fn answer_of(answer: &Value) -> Result<Answer> {
    if error_code(answer) == NO_MESSAGE {
        return Ok(Answer::Nothing);
    }
    if is_offline(answer)
        && let Some(error) = refused("a message", answer)
    {
        return Err(error);
    }
    if let Some(why) = refusal(answer) {
        return Ok(Answer::Refused(why));
    }
    let message = &answer["message"];
    let text = |field: &str| message[field].as_str().unwrap_or_default();
    let bytes = |field: &str| {
        let decoded = BASE64_STANDARD.decode(text(field));
        decoded.map_err(|error| failed(format_args!("a message that makes no sense: {error}")))
    };
    let time = parse_time(text("time")).map_err(|error| failed(format_args!("a message's time: {error}")))?;
    let seq = message["seq"]
        .as_u64()
        .ok_or_else(|| failed("a message without a sequence"))?;
    Ok(Answer::Message(Message {
        seq,
        time: time.unwrap_or(0),
        subject: text("subject").as_bytes().to_vec().into(),
        headers: bytes("hdrs")?.into(),
        payload: bytes("data")?.into(),
    }))
}

/// Shows messages of a stream as [`dump`](crate::dump::dump) does, those that were there when it began. No consumer is made.
///
/// # Errors
/// If the server does not answer, or has no such stream.
pub fn dump(server: &Server, options: &Options, show: &mut dyn FnMut(Shown<'_>) -> ControlFlow<()>) -> Result<Dumped> {
    check_filters(options)?;
    let info = server.ask(&format!("STREAM.INFO.{}", options.stream), &Value::Null)?;
    let state = &info["state"];
    let number = |field: &str| state[field].as_u64().unwrap_or(0);
    let (first, last) = (number("first_seq").max(1), number("last_seq"));
    let mut reader = Reader {
        server,
        call: format!("STREAM.MSG.GET.{}", options.stream),
        filters: &options.subjects,
        next: options.from.max(first),
        to: options.to.min(last),
        window: 1,
        read: VecDeque::new(),
    };
    if let Some(since) = options.since {
        reader.next = reader.next.max(reader.seq_at(since, first, last)?);
    }
    if let Some(until) = options.until {
        reader.to = reader.to.min(reader.seq_at(until, first, last)?.saturating_sub(1));
    }
    let mut dumped = Dumped::default();
    let before = Losses::of(state);
    let from = reader.next;
    if before.are_open() {
        let lost = before.newer_than(&Losses::default(), from, reader.to);
        for (first, last) in ranges_of(&lost) {
            dumped.damaged = true;
            if show(Shown::Lost(first, last, "the server has lost it")).is_break() {
                return Ok(dumped);
            }
        }
    }
    let (mut shown_to, mut told) = (reader.to, Vec::new());
    while dumped.messages < options.limit
        && let Some(got) = reader.next()?
    {
        let shown = match &got {
            Got::Message(message) => {
                dumped.messages += 1;
                if dumped.messages == options.limit {
                    shown_to = message.seq;
                }
                show(Shown::Message(message))
            }
            // It was told as lost before the first message.
            Got::Lost(seq, _) if before.listed.binary_search(seq).is_ok() => continue,
            Got::Lost(seq, why) => {
                dumped.damaged = true;
                told.push(*seq);
                show(Shown::Lost(*seq, *seq, why))
            }
        };
        if shown.is_break() {
            return Ok(dumped);
        }
    }
    // The server passes over a damaged message, and notes it when it meets it: now, perhaps for the first time.
    let info = server.ask(&format!("STREAM.INFO.{}", options.stream), &Value::Null)?;
    let after = Losses::of(&info["state"]);
    let mut met = after.newer_than(&before, from, shown_to);
    met.retain(|seq| !told.contains(seq));
    for (first, last) in ranges_of(&met) {
        dumped.damaged = true;
        if show(Shown::Lost(
            first,
            last,
            "its record is damaged: the server passed over it",
        ))
        .is_break()
        {
            return Ok(dumped);
        }
    }
    if after.total > before.total && after.listed.len() == before.listed.len() {
        // Beyond those that are listed: which is not known.
        dumped.damaged = true;
    }
    Ok(dumped)
}

/// Writes messages of a stream to an Apache Parquet file as [`export_table`](crate::export::export_table) does.
///
/// # Errors
/// If the server does not answer or has no such stream, or the file cannot be written.
pub fn export_table(
    server: &Server,
    out: &Path,
    what: &Options,
    progress: Option<OpeningProgress>,
) -> Result<Exported> {
    let info = server.ask(&format!("STREAM.INFO.{}", what.stream), &Value::Null)?;
    let of = info["state"]["messages"].as_u64().unwrap_or(0);
    table_of(out, what, String::new(), of, progress, &mut |show| {
        dump(server, what, show)
    })
}
