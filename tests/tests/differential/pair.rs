//! The two servers, and how an operation is done on both.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use weir_tests::Server;

use super::compare::{Difference, compare};
use super::operation::{Action, Expect, Operation, Request};
use super::wire::{Connection, Message};

/// How long an answer may take that must come: one that the other server gave, or of an ephemeral consumer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long is waited for one that is to come, of the server that is asked first.
const USUAL: Duration = Duration::from_secs(1);
/// How long is waited for one that may not come.
const QUIET: Duration = Duration::from_millis(120);

/// The genuine server and ours.
pub struct Pair {
    theirs: Side,
    ours: Side,
}

/// What an operation led to.
pub struct Outcome {
    pub differences: Vec<Difference>,
    /// What the genuine server answered.
    pub theirs: Vec<Message>,
}

struct Side {
    server: Server,
    connection: Connection,
    /// How many requests were sent.
    requests: u64,
    /// The last of them, if not all came that it may be answered.
    open: Option<u64>,
    /// Reply subjects of deliveries, by stream and consumer.
    deliveries: HashMap<(String, String), Vec<String>>,
}

/// How often both are asked once more where the answers differ and asking changes nothing.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

impl Pair {
    pub async fn start(nats_server: &std::path::Path) -> Result<Pair> {
        let theirs = Server::start_program(nats_server).await?;
        let ours = Server::start().await?;
        Ok(Pair {
            theirs: Side::of(theirs)?,
            ours: Side::of(ours)?,
        })
    }

    /// Does the operation on one server, then on the other, and compares.
    pub fn run(&mut self, operation: &Operation) -> Result<Outcome> {
        let mut outcome = self.run_once(operation)?;
        // What is due at a time, the end of a TTL say, is done by one of them a little earlier than by the other.
        for _ in 0..LOOKS {
            if outcome.differences.is_empty() || !operation.only_looks() {
                break;
            }
            std::thread::sleep(BETWEEN_LOOKS);
            outcome = self.run_once(operation)?;
        }
        Ok(outcome)
    }

    fn run_once(&mut self, operation: &Operation) -> Result<Outcome> {
        let mut theirs = self.theirs.run(operation, None).context("the genuine server")?;
        let ours = self
            .ours
            .run(operation, Some(theirs.len()))
            .with_context(|| format!("our server; its log:\n{}", self.ours.server.log()))?;
        // Silence was waited for no longer than it usually takes, on a machine that may be at other things.
        if theirs.len() < ours.len() {
            theirs = self.theirs.late(operation, theirs).context("the genuine server")?;
        }
        self.theirs.close()?;
        self.ours.close()?;
        Ok(Outcome {
            differences: compare(&theirs, &ours),
            theirs,
        })
    }

    /// What each server has of a stream and its consumers, to explain a difference with.
    pub fn describe(&mut self, stream: &str) -> Result<String> {
        let mut all = String::new();
        for (name, side) in [("nats-server", &mut self.theirs), ("ours", &mut self.ours)] {
            for call in ["STREAM.INFO", "CONSUMER.LIST"] {
                for answer in side.ask(&format!("$JS.API.{call}.{stream}"))? {
                    let said = String::from_utf8_lossy(&answer.payload);
                    let _ = writeln!(all, "  {name}, {call}: {said}");
                }
            }
        }
        Ok(all)
    }

    /// Deletes a stream on both servers.
    pub fn forget(&mut self, stream: &str) -> Result<()> {
        for side in [&mut self.theirs, &mut self.ours] {
            side.ask(&format!("$JS.API.STREAM.DELETE.{stream}"))?;
            side.deliveries.retain(|(of, _), _| of != stream);
        }
        Ok(())
    }
}

impl Side {
    fn of(server: Server) -> Result<Side> {
        let connection = Connection::open(server.url())?;
        Ok(Side {
            server,
            connection,
            requests: 0,
            open: None,
            deliveries: HashMap::new(),
        })
    }

    /// `others` is how many messages the other server sent, if it was asked before.
    fn run(&mut self, operation: &Operation, others: Option<usize>) -> Result<Vec<Message>> {
        match &operation.action {
            Action::Request(request) => {
                let answer = self.request(request, others)?;
                self.note(operation, &answer);
                Ok(answer)
            }
            Action::Ephemeral(request) => {
                let mut answer = self.request(request, Some(1))?;
                let created: Value = answer
                    .first()
                    .and_then(|reply| serde_json::from_slice(&reply.payload).ok())
                    .unwrap_or_default();
                if let Some(name) = created["name"].as_str() {
                    for call in ["INFO", "DELETE"] {
                        let subject = format!("$JS.API.CONSUMER.{call}.{}.{name}", operation.stream);
                        answer.extend(self.ask(&subject)?);
                    }
                    for message in &mut answer {
                        let text = String::from_utf8_lossy(&message.payload);
                        message.payload = text.replace(name, "<ephemeral>").into_bytes();
                    }
                }
                Ok(answer)
            }
            Action::Ack {
                consumer,
                pick,
                payload,
            } => {
                let known = self.deliveries.get(&(operation.stream.clone(), consumer.clone()));
                let Some(known) = known.filter(|known| !known.is_empty()) else {
                    return Ok(Vec::new());
                };
                let request = Request {
                    subject: known[pick % known.len()].clone(),
                    headers: Vec::new(),
                    payload: payload.clone(),
                    expect: Expect::Perhaps,
                };
                let answer = self.request(&request, others)?;
                self.note(operation, &answer);
                Ok(answer)
            }
        }
    }

    /// What the operation that was the last led to, with what comes only now.
    fn late(&mut self, operation: &Operation, mut answer: Vec<Message>) -> Result<Vec<Message>> {
        let expect = match &operation.action {
            Action::Request(request) => request.expect,
            Action::Ack { .. } => Expect::Perhaps,
            Action::Ephemeral(_) => return Ok(answer),
        };
        if let Some(number) = self.open
            && !is_complete(expect, &answer)
        {
            let before = answer.len();
            self.answers(number, expect, PATIENCE, &mut answer)?;
            match before {
                0 => self.note(operation, &answer),
                before => self.note_deliveries(&answer[before..]),
            }
        }
        Ok(answer)
    }

    /// Listens to no answer any more.
    fn close(&mut self) -> Result<()> {
        match self.open.take() {
            Some(number) => self.connection.unsubscribe(number),
            None => Ok(()),
        }
    }

    /// Remembers what an answer says of deliveries: those that it has, and those that have gone.
    fn note(&mut self, operation: &Operation, answer: &[Message]) {
        self.note_deliveries(answer);
        if let Action::Request(request) = &operation.action
            && answer.len() == 1
            && is_success(&answer[0].payload)
        {
            if request.subject.starts_with("$JS.API.STREAM.DELETE.") {
                self.deliveries.retain(|(stream, _), _| *stream != operation.stream);
            }
            if let Some(consumer) = request.subject.strip_prefix("$JS.API.CONSUMER.DELETE.") {
                self.deliveries
                    .retain(|(stream, name), _| format!("{stream}.{name}") != consumer);
            }
        }
    }

    fn request(&mut self, request: &Request, others: Option<usize>) -> Result<Vec<Message>> {
        self.close()?;
        self.requests += 1;
        let number = self.requests;
        let inbox = inbox(number);
        self.connection.subscribe(&inbox, number)?;
        self.connection
            .publish(&request.subject, &inbox, &request.block(), &request.payload)?;
        let mut answer = Vec::new();
        let limit = match (request.expect, others) {
            // One that answered makes it worth waiting for the other.
            (_, Some(some)) if some > 0 => PATIENCE,
            (Expect::Perhaps, _) => QUIET,
            (Expect::One | Expect::Upto(_), Some(_)) => QUIET * 5,
            (Expect::One | Expect::Upto(_), None) => USUAL,
        };
        self.open = Some(number);
        self.answers(number, request.expect, limit, &mut answer)?;
        if is_complete(request.expect, &answer) {
            self.close()?;
        }
        Ok(answer)
    }

    /// Takes the answers to a request, until they are complete or time is over.
    fn answers(&mut self, number: u64, expect: Expect, limit: Duration, answer: &mut Vec<Message>) -> Result<()> {
        let (inbox, deadline) = (inbox(number), Instant::now() + limit);
        while let Some(mut message) = self.connection.next(deadline)? {
            // What comes late belongs to an operation that was compared without it.
            if message.subscription != number {
                continue;
            }
            if message.subject == inbox {
                message.subject = "<inbox>".to_owned();
            }
            answer.push(message);
            if is_complete(expect, answer) {
                break;
            }
        }
        Ok(())
    }

    fn note_deliveries(&mut self, messages: &[Message]) {
        for message in messages {
            let tokens: Vec<&str> = message.reply.split('.').collect();
            if let ["$JS", "ACK", stream, consumer, ..] = tokens[..] {
                let known = self.deliveries.entry((stream.to_owned(), consumer.to_owned()));
                known.or_default().push(message.reply.clone());
            }
        }
    }

    fn ask(&mut self, subject: &str) -> Result<Vec<Message>> {
        let request = Request {
            subject: subject.to_owned(),
            headers: Vec::new(),
            payload: Vec::new(),
            expect: Expect::One,
        };
        self.request(&request, Some(1))
    }
}

/// Where a request wants its answers.
fn inbox(number: u64) -> String {
    format!("_D.{number}")
}

/// Whether these are all answers to a request.
fn is_complete(expect: Expect, answer: &[Message]) -> bool {
    let Some(last) = answer.last() else { return false };
    match expect {
        Expect::One | Expect::Perhaps => true,
        Expect::Upto(most) => answer.len() >= most || last.status().is_some_and(|code| code != 100),
    }
}

fn is_success(payload: &[u8]) -> bool {
    serde_json::from_slice::<Value>(payload).is_ok_and(|reply| reply["success"] == true)
}
