//! The checks of the stream scenarios must fail when a stream or consumer is wrong: a small
//! stand-in for JetStream that keeps one stream in memory and commits one fault.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader, Read, Result as IoResult, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use clap::Parser;
use weir_bench::cli::{Cli, Command};
use weir_bench::error::{LoadError, Result};
use weir_bench::measure::Outcome;
use weir_bench::scenario::{Scenario, Target};
use weir_bench::way::Entrance;

const MESSAGES: u64 = 300;
/// Sequence at which the fault is committed.
const VICTIM: u64 = 200;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The publish is refused.
    Refuse,
    /// The ack has the sequence of the message before.
    RepeatSeq,
    /// The ack says that the message is a duplicate.
    CallDuplicate,
    /// The ack comes twice.
    AckTwice,
    /// Acknowledged, and under its sequence lies the body of the message before.
    StoreOther,
    /// Acknowledged, and one byte is different.
    StoreChanged,
    /// The stream counts one message less than it acknowledged.
    CountLess,
    /// The consumer delivers the message before again.
    DeliverAgain,
    /// The consumer leaves the message out.
    Skip,
    /// The delivery says that it is the second one.
    Redeliver,
    /// An ack of the consumer is not counted.
    ForgetAck,
}

#[derive(Default)]
struct Store {
    /// Subject and body, by sequence from 1.
    messages: Vec<(String, Vec<u8>)>,
    delivered: u64,
    acked: u64,
}

struct Session {
    writer: TcpStream,
    store: Arc<Mutex<Store>>,
    fault: Fault,
}

impl Session {
    /// All replies go to inboxes of the connection that asked, so they are written back to it.
    fn send(&mut self, subject: &str, reply: &str, body: &[u8]) -> IoResult<()> {
        let mut out = format!("MSG {subject} 1 {reply} {}\r\n", body.len()).into_bytes();
        out.extend_from_slice(body);
        out.extend_from_slice(b"\r\n");
        self.writer.write_all(&out)
    }

    fn publish(&mut self, subject: &str, reply: &str, body: Vec<u8>) -> IoResult<()> {
        let store = Arc::clone(&self.store);
        let mut store = store.lock().unwrap();
        if subject.starts_with("$JS.ACK.") {
            let forgotten = self.fault == Fault::ForgetAck && subject.split('.').nth(5) == Some(&VICTIM.to_string());
            store.acked += u64::from(!forgotten);
            return Ok(());
        }
        if let Some(call) = subject.strip_prefix("$JS.API.") {
            return self.call(&mut store, call, reply, &body);
        }
        self.store(&mut store, subject, reply, body)
    }

    fn store(&mut self, store: &mut Store, subject: &str, reply: &str, mut body: Vec<u8>) -> IoResult<()> {
        let seq = store.messages.len() as u64 + 1;
        let mut ack = format!("{{\"stream\":\"S\",\"seq\":{seq}}}");
        if seq == VICTIM {
            match self.fault {
                Fault::Refuse => ack = "{\"error\":{\"code\":503},\"stream\":\"S\",\"seq\":0}".into(),
                Fault::RepeatSeq => ack = format!("{{\"stream\":\"S\",\"seq\":{}}}", seq - 1),
                Fault::CallDuplicate => {
                    ack = format!("{{\"stream\":\"S\",\"seq\":{seq},\"duplicate\":true}}");
                }
                Fault::AckTwice => self.send(reply, "", ack.as_bytes())?,
                Fault::StoreOther => body = store.messages.last().unwrap().1.clone(),
                Fault::StoreChanged => *body.last_mut().unwrap() ^= 1,
                _ => {}
            }
        }
        store.messages.push((subject.to_owned(), body));
        self.send(reply, "", ack.as_bytes())
    }

    fn call(&mut self, store: &mut Store, call: &str, reply: &str, body: &[u8]) -> IoResult<()> {
        let total = store.messages.len() as u64;
        if call.starts_with("CONSUMER.MSG.NEXT.") {
            let request: serde_json::Value = serde_json::from_slice(body).unwrap();
            return self.deliver(store, reply, request["batch"].as_u64().unwrap());
        }
        let answer = if call.starts_with("STREAM.INFO.") {
            let counted = total - u64::from(self.fault == Fault::CountLess);
            format!(
                "{{\"state\":{{\"messages\":{counted},\"first_seq\":1,\"last_seq\":{total},\
                 \"num_subjects\":{total}}}}}"
            )
        } else if call.starts_with("CONSUMER.INFO.") {
            let (pending, floor) = (store.delivered - store.acked, store.acked);
            format!("{{\"num_ack_pending\":{pending},\"ack_floor\":{{\"stream_seq\":{floor}}}}}")
        } else if call.starts_with("STREAM.MSG.GET.") {
            let request: serde_json::Value = serde_json::from_slice(body).unwrap();
            let subject = request["last_by_subj"].as_str().unwrap();
            let at = store.messages.iter().rposition(|(s, _)| s == subject).unwrap();
            // One sequence off is what a wrong index would answer.
            let seq = at + 1 + usize::from(self.fault == Fault::Skip);
            format!("{{\"message\":{{\"subject\":\"{subject}\",\"seq\":{seq}}}}}")
        } else {
            "{}".to_owned()
        };
        self.send(reply, "", answer.as_bytes())
    }

    fn deliver(&mut self, store: &mut Store, inbox: &str, batch: u64) -> IoResult<()> {
        for _ in 0..batch {
            store.delivered += 1;
            let (mut seq, mut count) = (store.delivered, 1);
            match self.fault {
                Fault::DeliverAgain if seq == VICTIM => seq -= 1,
                Fault::Skip if seq >= VICTIM => seq += 1,
                Fault::Redeliver if seq == VICTIM => count = 2,
                _ => {}
            }
            let Some((_, body)) = store.messages.get(seq as usize - 1) else {
                break;
            };
            let reply = format!("$JS.ACK.S.C.{count}.{seq}.{}.1700.0", store.delivered);
            let body = body.clone();
            self.send(inbox, &reply, &body)?;
        }
        Ok(())
    }
}

fn serve(stream: TcpStream, store: Arc<Mutex<Store>>, fault: Fault) -> IoResult<()> {
    let mut session = Session {
        writer: stream.try_clone()?,
        store,
        fault,
    };
    session.writer.write_all(b"INFO {\"version\":\"0\"}\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        let tokens: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
        line.clear();
        match tokens.first().map(String::as_str) {
            Some("PING") => session.writer.write_all(b"PONG\r\n")?,
            Some("PUB") => {
                let length: usize = tokens.last().unwrap().parse().unwrap();
                let mut body = vec![0; length + 2];
                reader.read_exact(&mut body)?;
                body.truncate(length);
                let reply = if tokens.len() == 4 { &tokens[2] } else { "" };
                session.publish(&tokens[1], reply, body)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn start(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let store = Arc::new(Mutex::new(Store::default()));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let store = Arc::clone(&store);
            // The generator hangs up once it has seen the fault; that is no failure here.
            thread::spawn(move || drop(serve(stream.unwrap(), store, fault)));
        }
    });
    addr
}

fn run(fault: Fault, scenario: Scenario) -> Result<Outcome> {
    run_with(fault, scenario, MESSAGES)
}

fn run_with(fault: Fault, scenario: Scenario, messages: u64) -> Result<Outcome> {
    let messages = messages.to_string();
    let line = [
        "weir-load",
        "run",
        "publish",
        "--patience",
        "1",
        "--batch",
        "50",
        "--messages",
    ];
    let cli = Cli::try_parse_from(line.into_iter().chain([messages.as_str()])).unwrap();
    let Command::Run(args) = cli.command else {
        unreachable!("`run` was asked for")
    };
    let patience = args.load.patience();
    scenario.run(
        Target {
            entrance: Entrance::plain(start(fault)),
            pid: None,
            patience,
        },
        &args.load,
    )
}

#[test]
fn an_honest_stream_passes() {
    for scenario in [Scenario::Publish, Scenario::Subjects] {
        assert_eq!(run(Fault::None, scenario).unwrap().messages, MESSAGES, "{scenario:?}");
    }
}

#[test]
fn an_honest_consumer_passes() {
    assert_eq!(run(Fault::None, Scenario::Pull).unwrap().messages, MESSAGES);
}

#[test]
fn a_refused_publish_is_reported() {
    assert!(matches!(run(Fault::Refuse, Scenario::Publish), Err(LoadError::Api(_))));
}

#[test]
fn a_stream_with_one_fault_is_found_out() {
    for fault in [
        Fault::RepeatSeq,
        Fault::CallDuplicate,
        Fault::AckTwice,
        Fault::StoreOther,
        Fault::StoreChanged,
        Fault::CountLess,
        // In the reading back.
        Fault::DeliverAgain,
        Fault::Skip,
    ] {
        match run(fault, Scenario::Publish) {
            Err(LoadError::Verify(_)) => {}
            other => panic!("{fault:?}: {other:?}"),
        }
    }
}

#[test]
fn an_ack_too_many_after_the_last_message_is_found_out() {
    let result = run_with(Fault::AckTwice, Scenario::Publish, VICTIM);
    assert!(matches!(result, Err(LoadError::Verify(_))), "{result:?}");
}

#[test]
fn a_wrong_subject_index_is_found_out() {
    assert!(matches!(
        run(Fault::Skip, Scenario::Subjects),
        Err(LoadError::Verify(_))
    ));
}

#[test]
fn a_consumer_with_one_fault_is_found_out() {
    for fault in [
        Fault::StoreOther,
        Fault::StoreChanged,
        Fault::DeliverAgain,
        Fault::Skip,
        Fault::Redeliver,
        Fault::ForgetAck,
    ] {
        match run(fault, Scenario::Pull) {
            Err(LoadError::Verify(_)) => {}
            other => panic!("{fault:?}: {other:?}"),
        }
    }
}
