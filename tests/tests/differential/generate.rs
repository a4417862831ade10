//! What comes next: operations that mostly make sense, chosen by a seed and by what the genuine server has at that time.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use weir_tests::seed::Seed;

use super::fields::{self, Field, WRONG_TYPES};
use super::operation::{Action, Expect, Operation};
use super::wire::Message;

/// Each captures the subjects under its own name in small letters, or some of them.
const STREAMS: [&str; 5] = ["Sa", "Sb", "Sc", "Sd", "Se"];
const CONSUMERS: [&str; 4] = ["c1", "c2", "c3", "c4"];
const TOKENS: [&str; 6] = ["x", "y", "z", "x.1", "x.2", "y.1.2"];
/// Later than all that happens here.
const FUTURE: &str = "2100-01-01T00:00:00Z";
const PAST: &str = "2020-01-01T00:00:00Z";

pub struct Generator {
    seed: Seed,
    streams: BTreeMap<String, Stream>,
    /// Counts batches, for their ids.
    batches: u64,
    /// What was begun and goes on next.
    queue: Vec<Operation>,
}

/// What the genuine server is known to have.
#[derive(Default)]
struct Stream {
    config: Value,
    last_seq: u64,
    consumers: BTreeSet<String>,
    /// Those of them that have filters.
    filtered: BTreeSet<String>,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        Generator {
            seed: Seed::of(&[seed]),
            streams: BTreeMap::new(),
            batches: 0,
            queue: Vec::new(),
        }
    }

    /// Takes note of what the genuine server answered.
    pub fn learn(&mut self, operation: &Operation, answer: &[Message]) {
        let name = &operation.stream;
        let Some(reply) = answer
            .first()
            .and_then(|reply| serde_json::from_slice::<Value>(&reply.payload).ok())
        else {
            return;
        };
        if !reply["error"].is_null() {
            return;
        }
        match operation.kind().as_str() {
            "STREAM.CREATE" | "STREAM.UPDATE" => {
                let stream = self.streams.entry(name.clone()).or_default();
                stream.config = reply["config"].clone();
                stream.last_seq = reply["state"]["last_seq"].as_u64().unwrap_or(0);
            }
            "STREAM.DELETE" => self.forget(name),
            "CONSUMER.CREATE" | "CONSUMER.DURABLE.CREATE" if matches!(operation.action, Action::Request(_)) => {
                if let (Some(stream), Some(consumer)) = (self.streams.get_mut(name), reply["name"].as_str()) {
                    stream.consumers.insert(consumer.to_owned());
                    let config = &reply["config"];
                    if config["filter_subject"].is_string() || config["filter_subjects"].is_array() {
                        stream.filtered.insert(consumer.to_owned());
                    }
                }
            }
            "CONSUMER.DELETE" => {
                let consumer = operation.subject().rsplit('.').next().unwrap_or_default();
                if let Some(stream) = self.streams.get_mut(name) {
                    stream.consumers.remove(consumer);
                    stream.filtered.remove(consumer);
                }
            }
            "publish" => {
                if let (Some(stream), Some(seq)) = (self.streams.get_mut(name), reply["seq"].as_u64()) {
                    stream.last_seq = seq.max(stream.last_seq);
                }
            }
            _ => {}
        }
    }

    pub fn forget(&mut self, stream: &str) {
        self.streams.remove(stream);
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.seed.between(1, 100) <= percent
    }

    fn pick<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.seed.between(0, list.len() as u64 - 1) as usize]
    }

    /// A stream that exists, nearly always.
    fn a_stream(&mut self) -> String {
        let known: Vec<String> = self.streams.keys().cloned().collect();
        if known.is_empty() || self.chance(2) {
            return (*self.pick(&STREAMS)).to_owned();
        }
        self.pick(&known).clone()
    }

    fn a_consumer(&mut self, stream: &str) -> String {
        let known: Vec<String> = match self.streams.get(stream) {
            Some(stream) => stream.consumers.iter().cloned().collect(),
            None => Vec::new(),
        };
        if known.is_empty() || self.chance(4) {
            return (*self.pick(&CONSUMERS)).to_owned();
        }
        self.pick(&known).clone()
    }

    /// A sequence that the stream has or had, or nearly.
    fn a_seq(&mut self, stream: &str) -> u64 {
        let last = self.streams.get(stream).map_or(0, |stream| stream.last_seq);
        self.seed.between(last.saturating_sub(12), last + 2)
    }

    fn a_filter(&mut self, stream: &str) -> String {
        let prefix = stream.to_lowercase();
        match self.seed.between(0, 9) {
            0 => format!("{prefix}.>"),
            1 => format!("{prefix}.*"),
            2 => format!("{prefix}.*.1"),
            3 => ">".to_owned(),
            4 => "none".to_owned(),
            _ => self.a_subject(stream),
        }
    }

    fn a_subject(&mut self, stream: &str) -> String {
        let token = *self.pick(&TOKENS);
        format!("{}.{token}", stream.to_lowercase())
    }

    pub fn next(&mut self) -> Operation {
        if let Some(operation) = self.queue.pop() {
            return operation;
        }
        if self.streams.len() < 2 {
            return self.create_stream();
        }
        match self.seed.between(0, 99) {
            0..=5 => self.create_stream(),
            6..=10 => self.update_stream(),
            11..=12 => {
                let stream = self.a_stream();
                let payload = if self.chance(10) { "{}" } else { "" };
                Operation::api(&stream, format!("STREAM.DELETE.{stream}"), payload)
            }
            13..=17 => self.stream_info(),
            18..=19 => self.stream_pages(),
            20..=22 => self.purge(),
            23..=28 => self.msg_get(),
            29..=31 => self.msg_delete(),
            32..=40 => self.direct_get(),
            41..=64 => self.publish(),
            65..=66 => self.atomic_batch(),
            67..=75 => self.create_consumer(),
            76..=79 => self.consumer_look(),
            80 => {
                let (stream, payload) = (self.a_stream(), if self.chance(10) { "{}" } else { "" });
                let consumer = self.a_consumer(&stream);
                Operation::api(&stream, format!("CONSUMER.DELETE.{stream}.{consumer}"), payload)
            }
            81..=83 => self.consumer_control(),
            84..=90 => self.pull(),
            91..=97 => self.ack(),
            _ => self.strange(),
        }
    }

    /// A few of the fields, mostly with values that they take.
    fn some_fields(&mut self, fields: &[Field], most: u64, odd: u64) -> Vec<(String, String)> {
        let count = self.seed.between(0, most);
        let mut chosen: Vec<(String, String)> = Vec::new();
        for _ in 0..count {
            let field = self.pick(fields);
            if chosen.iter().any(|(name, _)| name == field.name) {
                continue;
            }
            let value = if self.chance(2) {
                (*self.pick(&WRONG_TYPES)).to_owned()
            } else if self.chance(odd) && !field.odd.is_empty() {
                self.pick(&field.odd).clone()
            } else {
                self.pick(&field.fine).clone()
            };
            let name = if self.chance(1) {
                field.name.to_uppercase()
            } else {
                field.name.to_owned()
            };
            chosen.push((name, value));
        }
        if self.chance(1) {
            chosen.push(("colour".to_owned(), "1".to_owned()));
        }
        if self.chance(5) {
            chosen.push(("pedantic".to_owned(), "true".to_owned()));
        }
        chosen
    }

    fn create_stream(&mut self) -> Operation {
        let name = (*self.pick(&STREAMS)).to_owned();
        let prefix = name.to_lowercase();
        let mut all = vec![
            ("name".to_owned(), format!("\"{name}\"")),
            ("subjects".to_owned(), format!("[\"{prefix}.>\"]")),
        ];
        for flag in ["allow_direct", "allow_rollup_hdrs", "allow_msg_ttl", "allow_atomic"] {
            if self.chance(50) {
                all.push((flag.to_owned(), "true".to_owned()));
            }
        }
        let odd = if self.chance(30) { 40 } else { 0 };
        let some = self.some_fields(&fields::stream(&prefix), 5, odd);
        merge(&mut all, some);
        let subject = if self.chance(1) {
            "Other".to_owned()
        } else {
            name.clone()
        };
        self.config_call("STREAM.CREATE", &name, &subject, all)
    }

    fn update_stream(&mut self) -> Operation {
        let name = self.a_stream();
        let prefix = name.to_lowercase();
        let mut all = match self.streams.get(&name).and_then(|stream| stream.config.as_object()) {
            Some(config) => config
                .iter()
                .map(|(key, value)| (key.clone(), value.to_string()))
                .collect(),
            None => vec![("name".to_owned(), format!("\"{name}\""))],
        };
        if self.chance(15) {
            all.retain(|(key, _)| key == "name" || key == "subjects");
        }
        let odd = if self.chance(40) { 60 } else { 0 };
        let some = self.some_fields(&fields::stream(&prefix), 3, odd);
        merge(&mut all, some);
        self.config_call("STREAM.UPDATE", &name, &name, all)
    }

    fn config_call(&mut self, call: &str, name: &str, subject: &str, all: Vec<(String, String)>) -> Operation {
        let mut text = object(&all);
        if self.chance(1) {
            self.spoil(&mut text);
        }
        let operation = Operation::api(name, format!("{call}.{subject}"), text);
        let level = *self.pick(&["0", "2", "5", "6", "x"]);
        if self.chance(2) {
            return operation.with_headers(vec![("Nats-Required-Api-Level".to_owned(), level.to_owned())]);
        }
        operation
    }

    /// Makes JSON that is none.
    fn spoil(&mut self, text: &mut String) {
        match self.seed.between(0, 4) {
            0 => text.truncate(text.len() - 1),
            1 => text.push('x'),
            2 => text.insert(1, ','),
            3 => *text = "[]".to_owned(),
            _ => text.push_str("{}"),
        }
    }

    fn stream_info(&mut self) -> Operation {
        let stream = self.a_stream();
        let filter = self.a_filter(&stream);
        let payload = match self.seed.between(0, 9) {
            0..=2 => String::new(),
            3..=4 => "{\"deleted_details\":true}".to_owned(),
            5..=6 => format!("{{\"subjects_filter\":\"{filter}\"}}"),
            7 => format!(
                "{{\"subjects_filter\":\"{filter}\",\"offset\":{}}}",
                self.seed.between(0, 4)
            ),
            8 => "{\"subjects_filter\":\">\",\"deleted_details\":true}".to_owned(),
            _ => (*self.pick(&[
                "{}",
                "x",
                "{\"offset\":-1}",
                "{\"x\":1}",
                "{\"offset\":\"1\"}",
                "[]",
                "null",
            ]))
            .to_owned(),
        };
        Operation::api(&stream, format!("STREAM.INFO.{stream}"), payload)
    }

    fn stream_pages(&mut self) -> Operation {
        let stream = self.a_stream();
        let filter = self.a_filter(&stream);
        let call = *self.pick(&["STREAM.NAMES", "STREAM.LIST"]);
        let payload = match self.seed.between(0, 4) {
            0..=1 => String::new(),
            2 => format!("{{\"subject\":\"{filter}\"}}"),
            3 => format!("{{\"offset\":{}}}", self.seed.between(0, 4)),
            _ => (*self.pick(&[
                "{}",
                "x",
                "{\"offset\":-1}",
                "{\"x\":1}",
                "{\"subject\":\"a..b\"}",
                "{\"offset\":99}",
            ]))
            .to_owned(),
        };
        Operation::api("", call, payload)
    }

    fn purge(&mut self) -> Operation {
        let stream = self.a_stream();
        let filter = self.a_filter(&stream);
        let seq = self.a_seq(&stream);
        let keep = self.seed.between(0, 3);
        let payload = match self.seed.between(0, 11) {
            0 => String::new(),
            1..=3 => format!("{{\"filter\":\"{filter}\"}}"),
            4 => format!("{{\"seq\":{seq}}}"),
            5 => format!("{{\"keep\":{keep}}}"),
            6..=7 => format!("{{\"filter\":\"{filter}\",\"keep\":{keep}}}"),
            8..=9 => format!("{{\"filter\":\"{filter}\",\"seq\":{seq}}}"),
            10 => format!("{{\"seq\":{seq},\"keep\":{keep}}}"),
            _ => (*self.pick(&[
                "{\"x\":1}",
                "x",
                "{\"seq\":-1}",
                "{\"filter\":\"a..b\"}",
                "{\"keep\":\"1\"}",
            ]))
            .to_owned(),
        };
        Operation::api(&stream, format!("STREAM.PURGE.{stream}"), payload)
    }

    fn msg_get(&mut self) -> Operation {
        let stream = self.a_stream();
        let payload = self.get_payload(&stream, false);
        Operation::api(&stream, format!("STREAM.MSG.GET.{stream}"), payload)
    }

    fn get_payload(&mut self, stream: &str, many: bool) -> String {
        let (filter, seq) = (self.a_filter(stream), self.a_seq(stream));
        let other = self.a_filter(stream);
        let time = *self.pick(&[PAST, PAST, FUTURE, "0001-01-01T00:00:00Z"]);
        let mut all: Vec<(String, String)> = Vec::new();
        let mut add = |name: &str, value: String| all.push((name.to_owned(), value));
        match self.seed.between(0, if many { 13 } else { 8 }) {
            0..=2 => add("seq", seq.to_string()),
            3..=4 => add("last_by_subj", format!("\"{filter}\"")),
            5 => add("next_by_subj", format!("\"{filter}\"")),
            6 => {
                add("next_by_subj", format!("\"{filter}\""));
                add("seq", seq.to_string());
            }
            7 => add("start_time", format!("\"{time}\"")),
            8 => {
                add("next_by_subj", format!("\"{filter}\""));
                add("start_time", format!("\"{time}\""));
            }
            9 => add("multi_last", format!("[\"{filter}\",\"{other}\"]")),
            _ => add("multi_last", format!("[\"{filter}\"]")),
        }
        let multi = all.iter().any(|(name, _)| name == "multi_last");
        if multi && self.chance(40) {
            all.push(("up_to_seq".to_owned(), seq.to_string()));
        }
        if multi && self.chance(15) {
            all.push(("up_to_time".to_owned(), format!("\"{time}\"")));
        }
        if many && self.chance(60) {
            all.push(("batch".to_owned(), self.seed.between(0, 6).to_string()));
        }
        if many && self.chance(15) {
            all.push(("max_bytes".to_owned(), self.seed.between(0, 300).to_string()));
        }
        if self.chance(10) {
            all.push(("no_hdr".to_owned(), "true".to_owned()));
        }
        if self.chance(6) {
            let odd = [
                ("seq", "1"),
                ("seq", "-1"),
                ("last_by_subj", "\"sa.x\""),
                ("batch", "2"),
                ("start_time", "\"x\""),
                ("x", "1"),
                ("up_to_seq", "3"),
                ("multi_last", "[\"sa.x\"]"),
                ("next_by_subj", "\"sa.x\""),
                ("batch", "-1"),
                ("max_bytes", "-1"),
            ];
            let (name, value) = *self.pick(&odd);
            merge(&mut all, vec![(name.to_owned(), value.to_owned())]);
        }
        let mut text = object(&all);
        if self.chance(2) {
            text = (*self.pick(&["", "{}", "x", "[]"])).to_owned();
        }
        text
    }

    fn msg_delete(&mut self) -> Operation {
        let stream = self.a_stream();
        let seq = self.a_seq(&stream);
        let payload = match self.seed.between(0, 9) {
            0 => (*self.pick(&["", "{}", "x", "{\"seq\":-1}", "{\"seq\":1,\"x\":1}", "{\"seq\":0}"])).to_owned(),
            1..=3 => format!("{{\"seq\":{seq},\"no_erase\":true}}"),
            _ => format!("{{\"seq\":{seq}}}"),
        };
        Operation::api(&stream, format!("STREAM.MSG.DELETE.{stream}"), payload)
    }

    fn direct_get(&mut self) -> Operation {
        let stream = self.a_stream();
        let mut subject = format!("$JS.API.DIRECT.GET.{stream}");
        let payload = if self.chance(20) {
            let filter = self.a_filter(&stream);
            subject = format!("{subject}.{filter}");
            (*self.pick(&["", "", "", "{\"no_hdr\":true}", "{\"seq\":1}", "{\"max_bytes\":1}", "x"])).to_owned()
        } else {
            self.get_payload(&stream, true)
        };
        // A wildcard is no subject to publish to, which ends some clients' connections.
        let subject = subject.replace(['*', '>'], "x");
        let many = payload.contains("batch\":") && !payload.contains("batch\":0") || payload.contains("multi_last");
        let expect = if many { Expect::Upto(usize::MAX) } else { Expect::One };
        Operation::request(&stream, subject, payload, expect)
    }

    fn publish(&mut self) -> Operation {
        let stream = self.a_stream();
        let subject = self.a_subject(&stream);
        let payload = match self.seed.between(0, 19) {
            0..=1 => Vec::new(),
            2 => self.seed.bytes(300),
            _ => format!("p{}", self.seed.between(0, 999)).into_bytes(),
        };
        let mut headers = Vec::new();
        while self.chance(45) && headers.len() < 3 {
            let header = self.a_header(&stream);
            if headers.iter().all(|(name, _)| *name != header.0) {
                headers.push(header);
            }
        }
        let no_ack = self
            .streams
            .get(&stream)
            .is_some_and(|stream| stream.config["no_ack"] == true);
        let expect = if no_ack { Expect::Perhaps } else { Expect::One };
        Operation::request(&stream, subject, payload, expect).with_headers(headers)
    }

    fn a_header(&mut self, stream: &str) -> (String, String) {
        let seq = self.a_seq(stream);
        let subject = self.a_subject(stream);
        let number = self.seed.between(0, 5);
        let (name, values): (&str, Vec<String>) = match self.seed.between(0, 14) {
            0..=2 => ("Nats-Msg-Id", vec![format!("id{number}")]),
            3 => (
                "Nats-Expected-Stream",
                vec![stream.to_owned(), stream.to_owned(), "Other".to_owned()],
            ),
            4 => (
                "Nats-Expected-Last-Sequence",
                vec![seq.to_string(), seq.to_string(), "x".to_owned(), "-1".to_owned()],
            ),
            5..=6 => (
                "Nats-Expected-Last-Subject-Sequence",
                vec![seq.to_string(), "0".to_owned(), seq.to_string(), "x".to_owned()],
            ),
            7 => (
                "Nats-Expected-Last-Subject-Sequence-Subject",
                vec![subject.clone(), subject, format!("{}.*", stream.to_lowercase())],
            ),
            8 => ("Nats-Expected-Last-Msg-Id", vec![format!("id{number}")]),
            9..=10 => (
                "Nats-Rollup",
                vec!["sub".to_owned(), "all".to_owned(), "x".to_owned(), "ALL".to_owned()],
            ),
            11 => (
                "Nats-TTL",
                ["1h", "never", "3600", "0", "1ms", "-1", "x", "1h30m", ""]
                    .map(str::to_owned)
                    .to_vec(),
            ),
            12 => (
                "Nats-Incr",
                ["1", "+5", "-3", "x", "99999999999999999999", ""]
                    .map(str::to_owned)
                    .to_vec(),
            ),
            13 => ("X-Own", vec!["v".to_owned(), String::new()]),
            _ => {
                let mut schedule = vec![
                    ("Nats-Schedule", "@at 2100-01-01T00:00:00Z"),
                    ("Nats-Schedule", "@every 1h"),
                    ("Nats-Schedule", "x"),
                    ("Nats-Schedule", "0 0 0 1 1 *"),
                    ("Nats-Schedule-Target", "none.x"),
                    ("Nats-Schedule-Source", "none.y"),
                    ("Nats-Schedule-TTL", "1h"),
                    ("Nats-Schedule-TTL", "x"),
                    ("Nats-Schedule-Time-Zone", "Europe/Berlin"),
                ];
                let (name, value) = schedule.swap_remove(self.seed.between(0, 8) as usize);
                let value = value.replace("none", &stream.to_lowercase());
                return (name.to_owned(), value);
            }
        };
        (name.to_owned(), self.pick(&values).clone())
    }

    /// Messages of an atomic batch, the rest of which comes with the next operations.
    fn atomic_batch(&mut self) -> Operation {
        let stream = self.a_stream();
        self.batches += 1;
        let id = format!("batch{}", self.batches);
        let len = self.seed.between(1, 4);
        let mut messages = Vec::new();
        for number in 1..=len {
            let shown = if self.chance(4) { number + 1 } else { number };
            let mut headers = vec![
                ("Nats-Batch-Id".to_owned(), id.clone()),
                ("Nats-Batch-Sequence".to_owned(), shown.to_string()),
            ];
            if self.chance(20) {
                let header = self.a_header(&stream);
                headers.push(header);
            }
            if number == len {
                let commit = *self.pick(&["1", "1", "1", "1", "eob", "x"]);
                headers.push(("Nats-Batch-Commit".to_owned(), commit.to_owned()));
            }
            let subject = self.a_subject(&stream);
            let message = Operation::request(&stream, subject, format!("b{number}"), Expect::Perhaps);
            messages.push(message.with_headers(headers));
        }
        messages.reverse();
        self.queue = messages;
        self.next()
    }

    fn create_consumer(&mut self) -> Operation {
        let stream = self.a_stream();
        let prefix = stream.to_lowercase();
        let name = (*self.pick(&CONSUMERS)).to_owned();
        let odd = if self.chance(40) { 50 } else { 0 };
        let mut all = vec![("ack_policy".to_owned(), "\"explicit\"".to_owned())];
        let some = self.some_fields(&fields::consumer(&prefix), 4, odd);
        all.retain(|_| !some.is_empty() || odd == 0);
        merge(&mut all, some);
        // A consumer whose filters are taken away is not told of new messages any more by nats-server.
        let filtered = self
            .streams
            .get(&stream)
            .is_some_and(|stream| stream.filtered.contains(&name));
        if filtered && !all.iter().any(|(key, _)| key.starts_with("filter_")) {
            all.push(("filter_subject".to_owned(), format!("\"{prefix}.>\"")));
        }
        let form = self.seed.between(0, 19);
        let mut ephemeral = false;
        let call = match form {
            0..=7 => {
                all.push(("durable_name".to_owned(), format!("\"{name}\"")));
                all.push(("name".to_owned(), format!("\"{name}\"")));
                format!("CONSUMER.CREATE.{stream}.{name}")
            }
            8..=10 => {
                all.push(("durable_name".to_owned(), format!("\"{name}\"")));
                format!("CONSUMER.DURABLE.CREATE.{stream}.{name}")
            }
            11..=13 => {
                let filter = self.a_filter(&stream);
                all.retain(|(key, _)| key != "filter_subject");
                all.push(("durable_name".to_owned(), format!("\"{name}\"")));
                if !self.chance(8) {
                    all.push(("filter_subject".to_owned(), format!("\"{filter}\"")));
                }
                let filter = filter.replace(['*', '>'], "x");
                format!("CONSUMER.CREATE.{stream}.{name}.{filter}")
            }
            14..=16 => {
                ephemeral = true;
                format!("CONSUMER.CREATE.{stream}")
            }
            17 => {
                ephemeral = true;
                all.push(("name".to_owned(), format!("\"e{name}\"")));
                format!("CONSUMER.CREATE.{stream}.e{name}")
            }
            18 => {
                // Names that do not fit the subject. Without a durable one it lives for a while only.
                let key = *self.pick(&["name", "durable_name"]);
                ephemeral = key == "name";
                all.push((key.to_owned(), "\"other\"".to_owned()));
                let call = *self.pick(&["CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE"]);
                format!("{call}.{stream}.{name}")
            }
            _ => {
                let durable = *self.pick(&["\"a b\"", "\"a.b\"", "\"a/b\"", "\"\"", "\"x\""]);
                ephemeral = durable == "\"\"";
                all.push(("durable_name".to_owned(), durable.to_owned()));
                format!("CONSUMER.CREATE.{stream}")
            }
        };
        if !ephemeral {
            // How much it gets at a time would depend on the time.
            for (key, value) in &mut all {
                if key == "replay_policy" && value == "\"original\"" {
                    *value = "\"instant\"".to_owned();
                }
            }
        }
        let mut whole = vec![
            (
                "stream_name".to_owned(),
                format!("\"{}\"", if self.chance(1) { "Other" } else { &stream }),
            ),
            ("config".to_owned(), object(&all)),
        ];
        if self.chance(15) {
            let action = *self.pick(&["\"\"", "\"create\"", "\"update\"", "\"x\""]);
            whole.push(("action".to_owned(), action.to_owned()));
        }
        if let Some(at) = all.iter().position(|(key, _)| key == "pedantic") {
            let pedantic = all.swap_remove(at);
            whole[1].1 = object(&all);
            whole.push(pedantic);
        }
        let mut text = object(&whole);
        if self.chance(1) {
            self.spoil(&mut text);
        }
        let operation = Operation::api(&stream, call, text);
        match operation.action {
            Action::Request(request) if ephemeral => Operation {
                action: Action::Ephemeral(request),
                ..operation
            },
            action => Operation { action, ..operation },
        }
    }

    fn consumer_look(&mut self) -> Operation {
        let stream = self.a_stream();
        let consumer = self.a_consumer(&stream);
        match self.seed.between(0, 9) {
            0..=6 => {
                let payload = if self.chance(5) { "{}" } else { "" };
                Operation::api(&stream, format!("CONSUMER.INFO.{stream}.{consumer}"), payload)
            }
            other => {
                let call = if other == 7 { "NAMES" } else { "LIST" };
                let payload = *self.pick(&[
                    "",
                    "",
                    "{}",
                    "{\"offset\":1}",
                    "{\"offset\":99}",
                    "x",
                    "{\"x\":1}",
                    "{\"offset\":-1}",
                ]);
                Operation::api(&stream, format!("CONSUMER.{call}.{stream}"), payload)
            }
        }
    }

    fn consumer_control(&mut self) -> Operation {
        let stream = self.a_stream();
        let consumer = self.a_consumer(&stream);
        let seq = self.a_seq(&stream);
        let (call, payload) = match self.seed.between(0, 9) {
            0..=1 => ("PAUSE", format!("{{\"pause_until\":\"{FUTURE}\"}}")),
            2..=4 => {
                let odd = [
                    "",
                    "{}",
                    "x",
                    "{\"pause_until\":5}",
                    "{\"pause_until\":\"x\"}",
                    "{\"pause_until\":\"2020-01-01T00:00:00Z\"}",
                ];
                ("PAUSE", (*self.pick(&odd)).to_owned())
            }
            5 => ("RESET", String::new()),
            6 => ("RESET", format!("{{\"seq\":{seq}}}")),
            7 => (
                "RESET",
                (*self.pick(&["{}", "x", "{\"seq\":0}", "{\"x\":1}", "{\"seq\":-1}"])).to_owned(),
            ),
            8 => ("UNPIN", "{\"group\":\"g\"}".to_owned()),
            _ => (
                "UNPIN",
                (*self.pick(&["", "{}", "x", "{\"group\":\"none\"}", "{\"x\":1}"])).to_owned(),
            ),
        };
        Operation::api(&stream, format!("CONSUMER.{call}.{stream}.{consumer}"), payload)
    }

    fn pull(&mut self) -> Operation {
        let stream = self.a_stream();
        let consumer = self.a_consumer(&stream);
        let batch = self.seed.between(1, 5);
        let mut all = vec![("batch".to_owned(), batch.to_string())];
        if self.chance(85) {
            all.push(("no_wait".to_owned(), "true".to_owned()));
        } else {
            all.push(("expires".to_owned(), "50000000".to_owned()));
        }
        if self.chance(10) {
            all.push(("max_bytes".to_owned(), self.seed.between(1, 400).to_string()));
        }
        if self.chance(12) {
            let odd = [
                ("group", "\"g\""),
                ("group", "\"none\""),
                ("min_pending", "1"),
                ("min_pending", "100"),
                ("min_ack_pending", "1"),
                ("id", "\"none\""),
                ("priority", "3"),
                ("priority", "10"),
                ("idle_heartbeat", "40000000"),
                ("batch", "-1"),
                ("x", "1"),
                ("expires", "\"x\""),
                ("batch", "0"),
            ];
            let (name, value) = *self.pick(&odd);
            merge(&mut all, vec![(name.to_owned(), value.to_owned())]);
        }
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        // One that waits for ever would take what a later one asks for.
        let (payload, most) = (object(&all), batch as usize);
        Operation::request(&stream, subject, payload, Expect::Upto(most))
    }

    fn ack(&mut self) -> Operation {
        let stream = self.a_stream();
        let consumer = self.a_consumer(&stream);
        let payloads: [&str; 12] = [
            "+ACK",
            "+ACK",
            "+ACK",
            "",
            "-NAK",
            "-NAK {\"delay\":3600000000000}",
            "+WPI",
            "+TERM",
            "+TERM because",
            "+NXT",
            "+NXT {\"batch\":1,\"no_wait\":true}",
            "+WHAT",
        ];
        let payload = (*self.pick(&payloads)).as_bytes().to_vec();
        let pick = self.seed.between(0, 1 << 20) as usize;
        if self.chance(50) {
            self.queue.push(Operation::api(
                &stream,
                format!("CONSUMER.INFO.{stream}.{consumer}"),
                "",
            ));
        }
        Operation {
            stream,
            action: Action::Ack {
                consumer,
                pick,
                payload,
            },
        }
    }

    fn strange(&mut self) -> Operation {
        let stream = self.a_stream();
        let call = match self.seed.between(0, 7) {
            0 => "INFO".to_owned(),
            1 => format!("STREAM.LEADER.STEPDOWN.{stream}"),
            2 => format!("STREAM.PEER.REMOVE.{stream}"),
            3 => format!("STREAM.CANCEL_MOVE.{stream}"),
            4 => format!("CONSUMER.LEADER.STEPDOWN.{stream}.c1"),
            5 => format!("STREAM.SNAPSHOT.{stream}"),
            6 => format!("STREAM.RESTORE.{stream}"),
            _ => "INFO".to_owned(),
        };
        let payload = *self.pick(&["", "{}", "x", "{\"x\":1}"]);
        Operation::api(&stream, call, payload)
    }
}

fn object(fields: &[(String, String)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", fields.join(","))
}

/// Puts fields into others, in place of those of the same name.
fn merge(all: &mut Vec<(String, String)>, some: Vec<(String, String)>) {
    for (name, value) in some {
        all.retain(|(known, _)| *known != name);
        all.push((name, value));
    }
}
