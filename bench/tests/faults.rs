//! The checks of the generator are only worth something when they fail: a small broker that loses,
//! doubles, swaps or changes one message must be found out.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use clap::Parser;
use weir_bench::cli::{Cli, Command, LoadArgs};
use weir_bench::error::{LoadError, Result};
use weir_bench::measure::Outcome;
use weir_bench::scenario::{Scenario, Target};
use weir_bench::server::{RunningServer, ServerSpec};

/// What the broker does to its 100th message.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    Lose,
    Double,
    SwapWithNext,
    ChangeLastByte,
}

const VICTIM: usize = 100;

#[derive(Default)]
struct Broker {
    /// Subject as subscribed, subscription id, and where to write.
    subscriptions: Vec<(String, String, TcpStream)>,
    routed: usize,
    held: Option<(String, Vec<u8>)>,
}

impl Broker {
    fn publish(&mut self, fault: Fault, subject: &str, reply: &str, mut body: Vec<u8>) {
        self.routed += 1;
        let victim = self.routed == VICTIM;
        if victim && fault == Fault::ChangeLastByte {
            *body.last_mut().unwrap() ^= 1;
        }
        match fault {
            Fault::Lose if victim => return,
            Fault::Double if victim => self.deliver(subject, reply, &body),
            Fault::SwapWithNext if victim => {
                self.held = Some((subject.to_owned(), body));
                return;
            }
            _ => {}
        }
        self.deliver(subject, reply, &body);
        if let Some((subject, body)) = self.held.take() {
            self.deliver(&subject, "", &body);
        }
    }

    fn deliver(&mut self, subject: &str, reply: &str, body: &[u8]) {
        for (pattern, sid, stream) in &mut self.subscriptions {
            let matches = match pattern.strip_suffix('*') {
                Some(prefix) => subject.starts_with(prefix),
                None => pattern == subject,
            };
            if matches {
                let mut out = format!("MSG {subject} {sid} {reply} {}\r\n", body.len()).into_bytes();
                out.extend_from_slice(body);
                out.extend_from_slice(b"\r\n");
                // The generator hangs up once it has seen the fault.
                let _ = stream.write_all(&out);
            }
        }
    }
}

fn serve(stream: TcpStream, broker: &Mutex<Broker>, fault: Fault) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    writer.write_all(b"INFO {\"version\":\"0\"}\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while {
        line.clear();
        reader.read_line(&mut line)? > 0
    } {
        let tokens: Vec<&str> = line.split_ascii_whitespace().collect();
        match tokens.as_slice() {
            ["PING"] => {
                let _order = broker.lock().unwrap();
                writer.write_all(b"PONG\r\n")?;
            }
            ["SUB", subject, sid] => {
                let entry = ((*subject).to_owned(), (*sid).to_owned(), writer.try_clone()?);
                broker.lock().unwrap().subscriptions.push(entry);
            }
            ["PUB", subject, rest @ ..] => {
                let length: usize = rest.last().unwrap().parse().unwrap();
                let reply = if rest.len() == 2 { rest[0] } else { "" };
                let mut body = vec![0; length + 2];
                reader.read_exact(&mut body)?;
                body.truncate(length);
                broker.lock().unwrap().publish(fault, subject, reply, body);
            }
            _ => {}
        }
    }
    Ok(())
}

fn start(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let broker = Arc::new(Mutex::new(Broker::default()));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let broker = Arc::clone(&broker);
            thread::spawn(move || serve(stream.unwrap(), &broker, fault));
        }
    });
    addr
}

fn load(arguments: &[&str]) -> LoadArgs {
    let line = ["weir-load", "run", "pubsub", "--patience", "5"]
        .iter()
        .chain(arguments);
    match Cli::try_parse_from(line).unwrap().command {
        Command::Run(run) => run.load,
        Command::Compare(_) => unreachable!("`run` was asked for"),
    }
}

fn run(fault: Fault, scenario: Scenario, messages: &str) -> Result<Outcome> {
    let load = load(&["--messages", messages, "--subscribers", "3"]);
    let target = Target {
        addr: start(fault),
        pid: None,
        patience: load.patience(),
    };
    scenario.run(target, &load)
}

#[test]
fn an_honest_broker_passes() {
    assert_eq!(run(Fault::None, Scenario::Pubsub, "5000").unwrap().messages, 5000);
    assert_eq!(run(Fault::None, Scenario::Fanout, "1000").unwrap().messages, 3000);
    let requests = run(Fault::None, Scenario::Request, "200").unwrap();
    assert_eq!(requests.messages, 200);
    assert_eq!(requests.latency.unwrap().samples, 200);
}

#[test]
fn a_broker_with_one_fault_is_found_out() {
    for fault in [Fault::Lose, Fault::Double, Fault::SwapWithNext, Fault::ChangeLastByte] {
        for scenario in [Scenario::Pubsub, Scenario::Fanout] {
            match run(fault, scenario, "5000") {
                Err(LoadError::Verify(_)) => {}
                other => panic!("{fault:?} in {scenario:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_very_last_message_is_missed_too() {
    match run(Fault::Lose, Scenario::Pubsub, "100") {
        Err(LoadError::Verify(text)) => assert!(text.contains("100 were sent"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn idle_without_a_process_is_refused() {
    assert!(matches!(
        run(Fault::None, Scenario::Idle, "1"),
        Err(LoadError::Usage(_))
    ));
}

#[test]
fn a_program_that_is_no_server_is_reported_with_its_output() {
    let spec: ServerSpec = "x=false".parse().unwrap();
    match RunningServer::start(&spec, false, None) {
        Err(LoadError::Server(text)) => assert!(text.contains("ended by itself"), "{text}"),
        other => panic!("{other:?}"),
    }
}
