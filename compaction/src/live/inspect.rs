//! What a running server has: streams, consumers, subjects, and what is lost.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use humansize::{BINARY, format_size};
use serde::Serialize;
use serde_json::{Value, json};
use weir_engine::{Seq, words};

use super::lost::Losses;
use super::{Server, failed};
use crate::error::{Error, Result};

/// What to look at.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only the stream of this name.
    pub stream: Option<String>,
    /// How many of each stream's subjects, those with the most messages, are listed; `None` for none.
    pub top_subjects: Option<usize>,
    /// Only the consumers of this name.
    pub consumer: Option<String>,
}

/// What there is. The JSON form of these is an interface: fields are added, never renamed or removed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Host and port.
    pub url: String,
    /// What the server calls itself.
    pub server: String,
    /// The version that it says it has: of Weir's servers that of the nats-server whose protocol they speak.
    pub version: String,
    /// Of a server of Weir's, its own version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weir_version: Option<String>,
    /// The streams, by name.
    pub streams: Vec<StreamSeen>,
    /// Why streams are offline, by name; those of which the server can read something are among the others as well.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub offline: BTreeMap<String, String>,
    /// How many things are wrong with the server's store and not settled, beside what single streams have lost: of its catalogue, journals
    /// and logs.
    pub findings: u64,
    /// What these are, in the words of the server's `/healthz`, where it tells this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Whether one stream was asked for, which is judged alone.
    #[serde(skip)]
    pub of_a_stream: bool,
    /// Whether consumers of one name were asked for: then more is told of each.
    #[serde(skip)]
    pub of_a_consumer: bool,
}

/// A stream.
#[derive(Clone, Debug, Serialize)]
pub struct StreamSeen {
    /// Its name.
    pub name: String,
    /// `file` or `memory`.
    pub storage: String,
    /// Where a server of Weir's keeps it, as far as its metadata say.
    pub backend: Option<String>,
    /// Where it is to go, and why it is not there, while its metadata say otherwise than it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
    /// Messages.
    pub messages: u64,
    /// Their bytes, as limits count them.
    pub bytes: u64,
    /// The first sequence.
    pub first_seq: Seq,
    /// The last sequence given.
    pub last_seq: Seq,
    /// When the first message was stored; RFC 3339.
    pub first_time: String,
    /// When the last one was.
    pub last_time: String,
    /// Distinct subjects.
    pub subject_count: u64,
    /// The subjects with the most messages, if they were asked for.
    pub subjects: Vec<SubjectSeen>,
    /// Its consumers, by name.
    pub consumers: Vec<ConsumerSeen>,
    /// Sequences of messages that the server has lost, as far as it names them.
    pub lost: Vec<Seq>,
    /// How many it has lost, named or not.
    pub lost_total: u64,
    /// Whether these are at least so many: the server lists 1,000 and does not count the others.
    pub lost_at_least: bool,
    /// How many of them somebody has settled.
    pub lost_settled: u64,
    /// Its configuration, as the server tells it.
    pub config: Value,
}

/// A stream that goes over to another backend, or is to.
#[derive(Clone, Debug, Serialize)]
pub struct Moving {
    /// The backend that it is to be in.
    pub to: String,
    /// Messages that are copied.
    pub done: u64,
    /// Why it stays where it was, if it does.
    pub why: Option<String>,
}

/// A subject and how many messages it has.
#[derive(Clone, Debug, Serialize)]
pub struct SubjectSeen {
    /// The subject.
    pub subject: String,
    /// Messages.
    pub messages: u64,
}

/// A consumer.
#[derive(Clone, Debug, Serialize)]
pub struct ConsumerSeen {
    /// Its name.
    pub name: String,
    /// The stream sequence of the last delivery.
    pub delivered: Seq,
    /// The stream sequence up to which all is acknowledged.
    pub ack_floor: Seq,
    /// What was sent and is not acknowledged.
    pub num_ack_pending: u64,
    /// What of that was sent more than once.
    pub num_redelivered: u64,
    /// What is to be sent.
    pub num_pending: u64,
    /// Its configuration, as the server tells it.
    pub config: Value,
}

/// Looks at a server's streams.
///
/// # Errors
/// If it does not answer, or has no stream or consumer of the wanted name.
pub fn inspect(server: &Server, options: &Options) -> Result<Report> {
    let info = options
        .stream
        .as_ref()
        .map(|name| server.ask(&format!("STREAM.INFO.{name}"), &Value::Null));
    let info = info.transpose()?;
    let mut listed = server.list("STREAM.LIST", "streams")?;
    if let Some(wanted) = &options.stream {
        listed.offline.retain(|name, _| name == wanted);
    }
    let offline = listed.offline;
    let infos = info.map_or(listed.found, |info| vec![info]);
    let mut streams = Vec::with_capacity(infos.len());
    for mut info in infos {
        if options.stream.is_none() {
            // What is lost is told of each stream alone. One that is deleted meanwhile is shown as it was listed.
            let name = text(&info["config"]["name"]);
            info = server.ask(&format!("STREAM.INFO.{name}"), &Value::Null).unwrap_or(info);
        }
        streams.push(stream(server, info, options)?);
    }
    if let Some(wanted) = &options.consumer
        && streams.iter().all(|stream| stream.consumers.is_empty())
    {
        return Err(Error::NoSuchConsumer { wanted: wanted.clone() });
    }
    streams.sort_by(|a, b| a.name.cmp(&b.name));
    // Of a server that does not tell it, nothing is known.
    let store = server.ask("INFO", &Value::Null).map(|mut info| info["weir"].take());
    let store = store.unwrap_or_default();
    let (name, version) = server.name();
    let weir_version = server.weir_version();
    if let Ok(None) = weir_version {
        // Elsewhere that is a word like any other, which may have come with a backup.
        streams.iter_mut().for_each(|stream| stream.backend = None);
    }
    Ok(Report {
        url: server.url().to_owned(),
        server: name,
        version,
        // One that says nothing before TLS begins is asked no more.
        weir_version: weir_version.ok().flatten(),
        streams,
        offline,
        findings: number(&store["findings"]),
        trouble: store["trouble"].as_str().map(str::to_owned),
        of_a_stream: options.stream.is_some(),
        of_a_consumer: options.consumer.is_some(),
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn stream(server: &Server, mut info: Value, options: &Options) -> Result<StreamSeen> {
    let config = info["config"].take();
    let name = config["name"]
        .as_str()
        .ok_or_else(|| failed("a stream without a name"))?;
    let state = &info["state"];
    let lost = Losses::of(state);
    let moving = &info["moving"];
    // The metadata say where it is to be.
    let backend = moving["from"].as_str().or(config["metadata"]["weir.backend"].as_str());
    let mut seen = StreamSeen {
        name: name.to_owned(),
        storage: text(&config["storage"]),
        backend: backend.map(str::to_owned),
        moving: moving["to"].as_str().map(|to| Moving {
            to: to.to_owned(),
            done: number(&moving["done"]),
            why: moving["why"].as_str().map(str::to_owned),
        }),
        messages: number(&state["messages"]),
        bytes: number(&state["bytes"]),
        first_seq: number(&state["first_seq"]),
        last_seq: number(&state["last_seq"]),
        first_time: text(&state["first_ts"]),
        last_time: text(&state["last_ts"]),
        subject_count: number(&state["num_subjects"]),
        subjects: Vec::new(),
        consumers: Vec::new(),
        lost_total: lost.total,
        lost_at_least: lost.at_least,
        lost_settled: lost.settled,
        lost: lost.listed,
        config: Value::Null,
    };
    let consumers = match server.list(&format!("CONSUMER.LIST.{name}"), "consumers") {
        // That it is offline is told, and the others are shown.
        Err(Error::ServerOffline { .. }) => Vec::new(),
        listed => listed?.found,
    };
    for consumer in consumers {
        let consumer = consumer_of(consumer);
        if options.consumer.as_ref().is_none_or(|wanted| *wanted == consumer.name) {
            seen.consumers.push(consumer);
        }
    }
    seen.consumers.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(top) = options.top_subjects {
        seen.subjects = subjects(server, name, top)?;
    }
    seen.config = config;
    Ok(seen)
}

fn consumer_of(mut consumer: Value) -> ConsumerSeen {
    ConsumerSeen {
        name: text(&consumer["name"]),
        delivered: number(&consumer["delivered"]["stream_seq"]),
        ack_floor: number(&consumer["ack_floor"]["stream_seq"]),
        num_ack_pending: number(&consumer["num_ack_pending"]),
        num_redelivered: number(&consumer["num_redelivered"]),
        num_pending: number(&consumer["num_pending"]),
        config: consumer["config"].take(),
    }
}

/// The subjects with the most messages; page by page, so that no more than these are kept.
fn subjects(server: &Server, stream: &str, top: usize) -> Result<Vec<SubjectSeen>> {
    let (mut kept, mut offset) = (Vec::new(), 0);
    loop {
        let body = json!({"subjects_filter": ">", "offset": offset});
        let info = server.ask(&format!("STREAM.INFO.{stream}"), &body)?;
        let Some(page) = info["state"]["subjects"].as_object() else {
            return Ok(kept);
        };
        kept.extend(page.iter().map(|(subject, messages)| SubjectSeen {
            subject: subject.clone(),
            messages: number(messages),
        }));
        kept.sort_by(|a, b| b.messages.cmp(&a.messages).then_with(|| a.subject.cmp(&b.subject)));
        kept.truncate(top);
        offset += page.len() as u64;
        if page.is_empty() || offset >= number(&info["total"]) {
            return Ok(kept);
        }
    }
}

impl StreamSeen {
    fn losses(&self) -> Losses {
        Losses {
            listed: self.lost.clone(),
            total: self.lost_total,
            at_least: self.lost_at_least,
            settled: self.lost_settled,
        }
    }
}

impl Report {
    /// The consumers, with their streams, if one was asked for.
    fn details(&self) -> impl Iterator<Item = (&str, &ConsumerSeen)> {
        let asked = self.streams.iter().filter(|_| self.of_a_consumer);
        asked.flat_map(|stream| stream.consumers.iter().map(|consumer| (&*stream.name, consumer)))
    }

    /// Whether a server says that messages are lost or something of its store, and nobody has settled that, or that a stream is offline.
    pub fn is_damaged(&self) -> bool {
        self.findings > 0 && !self.of_a_stream
            || !self.offline.is_empty()
            || self.streams.iter().any(|stream| stream.losses().are_open())
    }

    /// What is wrong with the server's store; empty if nothing is. Ends with a newline.
    fn tell_of_the_store(&self) -> String {
        if self.findings == 0 {
            return String::new();
        }
        let things = words::count(self.findings, "thing");
        let what = self.trouble.as_deref().unwrap_or("/healthz says what");
        format!(
            "\nWrong with the server's store, and not settled: {things}: {what}\nWith the server stopped, `weir inspect` shows all of it, and \
             `weir repair --dry-run` what can be done.\n"
        )
    }

    /// Tables, and what is lost. Ends with a newline.
    pub fn to_text(&self) -> String {
        let mut out = format!("Server {} at {}, ", self.server, self.url);
        out += &match &self.weir_version {
            Some(weir) => format!("Weir {weir}, as nats-server {}\n", self.version),
            None => format!("version {}\n", self.version),
        };
        if self.streams.is_empty() {
            out += match self.offline.is_empty() {
                true => "It has no streams.\n",
                false => "It has no streams that can be read.\n",
            };
            out += &self.tell_of_offline();
            out += &self.tell_of_the_store();
            return out;
        }
        let mut table = new_table(&[
            "Stream",
            "Storage",
            "Sequences",
            "Messages",
            "Bytes",
            "Subjects",
            "Consumers",
            "First message",
            "Last message",
        ]);
        for stream in &self.streams {
            let range = match stream.messages {
                0 => format!("none, last {}", stream.last_seq),
                _ => words::range(stream.first_seq, stream.last_seq),
            };
            let time = |time: &str| match stream.messages {
                0 => "-".to_owned(),
                _ => time.to_owned(),
            };
            table.add_row(vec![
                Cell::new(&stream.name),
                Cell::new(stream.backend.as_ref().unwrap_or(&stream.storage)),
                right(range),
                right(stream.messages),
                right(format_size(stream.bytes, BINARY)),
                right(stream.subject_count),
                right(stream.consumers.len()),
                Cell::new(time(&stream.first_time)),
                Cell::new(time(&stream.last_time)),
            ]);
        }
        // Writing to a string cannot fail.
        let _ = writeln!(out, "\n{table}");
        let _ = self.write_more(&mut out);
        out
    }

    fn tell_of_offline(&self) -> String {
        let told = self.offline.iter();
        told.map(|(name, why)| format!("\nStream {name} is offline: {why}.\n"))
            .collect()
    }

    fn write_more(&self, out: &mut String) -> std::fmt::Result {
        if self.streams.iter().any(|stream| !stream.consumers.is_empty()) {
            let mut table = new_table(&[
                "Stream",
                "Consumer",
                "Delivered",
                "Ack floor",
                "Ack pending",
                "Redelivered",
                "Pending",
            ]);
            for stream in &self.streams {
                for consumer in &stream.consumers {
                    table.add_row(vec![
                        Cell::new(&stream.name),
                        Cell::new(&consumer.name),
                        right(consumer.delivered),
                        right(consumer.ack_floor),
                        right(consumer.num_ack_pending),
                        right(consumer.num_redelivered),
                        right(consumer.num_pending),
                    ]);
                }
            }
            writeln!(out, "\nConsumers\n{table}")?;
        }
        for stream in self.streams.iter().filter(|stream| !stream.subjects.is_empty()) {
            let mut table = new_table(&["Subject", "Messages"]);
            for subject in &stream.subjects {
                table.add_row(vec![Cell::new(&subject.subject), right(subject.messages)]);
            }
            writeln!(out, "\nSubjects of {}\n{table}", stream.name)?;
        }
        for stream in self.streams.iter().filter(|stream| !stream.lost.is_empty()) {
            writeln!(out, "\nStream {} has lost {}.", stream.name, stream.losses().to_text())?;
        }
        out.push_str(&self.tell_of_offline());
        out.push_str(&self.tell_of_the_store());
        for stream in &self.streams {
            let Some(Moving { to, done, why }) = &stream.moving else {
                continue;
            };
            let name = &stream.name;
            match why {
                Some(why) => writeln!(
                    out,
                    "\nStream {name} is to go over to {to}, and stays where it was: {why}."
                )?,
                None => writeln!(
                    out,
                    "\nStream {name} goes over to {to}: {} copied.",
                    words::count(*done, "message")
                )?,
            }
        }
        for (stream, consumer) in self.details() {
            let ConsumerSeen {
                name,
                num_pending,
                num_ack_pending,
                num_redelivered,
                config,
                ..
            } = consumer;
            writeln!(
                out,
                "\nConsumer {name} of {stream}: {} still to be sent, {num_ack_pending} sent and not acknowledged, {num_redelivered} of these sent \
                 again. Which those are a running server does not tell: `weir inspect` of its store does.\nConfiguration of {name} of {stream}: {config}",
                words::count(*num_pending, "message"),
            )?;
        }
        Ok(())
    }
}

fn right(value: impl ToString) -> Cell {
    Cell::new(value.to_string()).set_alignment(CellAlignment::Right)
}

fn new_table(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(titles);
    table
}
