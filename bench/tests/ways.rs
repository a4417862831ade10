//! TLS and WebSocket change nothing about what is checked: the same faults are found through both, and nothing else.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use clap::Parser;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use weir_bench::certificate;
use weir_bench::cli::{Cli, Command};
use weir_bench::error::{LoadError, Result};
use weir_bench::measure::Outcome;
use weir_bench::scenario::{Scenario, Target};
use weir_bench::way::{Entrance, Way};

use support::broker::{Fault, start};

/// Counts of what went through a bridge to WebSockets.
#[derive(Default)]
struct Counts {
    frames: AtomicUsize,
    messages: AtomicUsize,
    pongs: AtomicUsize,
}

/// Accepts connections, and serves each on a thread of its own.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    addr
}

/// Clients come by WebSocket and go on to `broker` by a plain socket.
fn websocket_bridge(broker: SocketAddr, counts: Arc<Counts>) -> SocketAddr {
    listen(move |client| {
        let plain = TcpStream::connect(broker).unwrap();
        let mut reader = BufReader::new(client.try_clone().unwrap());
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        let mut out = client;
        // The answer and the beginning of the first frame come together.
        let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            .to_vec();
        let mut from = plain.try_clone().unwrap();
        thread::spawn(move || {
            let mut piece = vec![0; 70_000];
            for most in [1, 2, 125, 126, 127, 4096, 65_535, 65_536, 70_000].into_iter().cycle() {
                let got = from.read(&mut piece[..most]).unwrap_or(0);
                if got == 0 {
                    break;
                }
                // In two frames, with a ping between them.
                let (first, second) = piece[..got].split_at(got / 2);
                frame(&mut answer, 0x02, first);
                frame(&mut answer, 0x89, b"there?");
                frame(&mut answer, 0x80, second);
                // The generator hangs up once it has seen a fault.
                if out.write_all(&answer).is_err() {
                    break;
                }
                answer.clear();
            }
        });
        // Ends when the generator hangs up.
        let _ = unmask(reader, plain, &counts);
    })
}

fn frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        short @ ..=125 => out.push(short as u8),
        middle @ ..=0xFFFF => {
            out.push(126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Takes the frames of a client apart.
fn unmask(mut from: impl Read, mut to: TcpStream, counts: &Counts) -> std::io::Result<()> {
    loop {
        let mut head = [0; 2];
        from.read_exact(&mut head)?;
        assert_eq!(head[1] & 0x80, 0x80, "a client has to mask");
        let more = match head[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mut long = [0; 8];
        from.read_exact(&mut long[8 - more..])?;
        let length = match more {
            0 => u64::from(head[1] & 0x7F),
            _ => u64::from_be_bytes(long),
        };
        let mut key = [0; 4];
        from.read_exact(&mut key)?;
        let mut payload = vec![0; length as usize];
        from.read_exact(&mut payload)?;
        for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
            *byte ^= key;
        }
        match head[0] {
            0x82 => {
                counts.frames.fetch_add(1, Ordering::Relaxed);
                let messages = memchr::memmem::find_iter(&payload, b"PUB load.").count();
                counts.messages.fetch_add(messages, Ordering::Relaxed);
                to.write_all(&payload)?;
            }
            0x8A => {
                assert_eq!(payload, b"there?");
                counts.pongs.fetch_add(1, Ordering::Relaxed);
            }
            other => panic!("frame {other:x}"),
        }
    }
}

/// Clients come by TLS and go on to `broker` by a plain socket. They are told to by INFO, or begin with it.
fn tls_bridge(broker: SocketAddr, told: bool) -> SocketAddr {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate::write_into(folder.path()).unwrap();
    let certificate = CertificateDer::from_pem_file(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    listen(move |client| bridge_tls(client, broker, Arc::clone(&config), told))
}

fn bridge_tls(mut client: TcpStream, broker: SocketAddr, config: Arc<ServerConfig>, told: bool) {
    let plain = TcpStream::connect(broker).unwrap();
    let mut from = BufReader::new(plain.try_clone().unwrap());
    if told {
        from.read_line(&mut String::new()).unwrap();
        client
            .write_all(b"INFO {\"version\":\"0\",\"tls_required\":true}\r\n")
            .unwrap();
    }
    let mut session = ServerConnection::new(config).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut client).unwrap();
    }
    let session = Arc::new(Mutex::new(session));
    let (theirs, mut out) = (Arc::clone(&session), client.try_clone().unwrap());
    thread::spawn(move || {
        let mut piece = vec![0; 50_000];
        while let Ok(got @ 1..) = from.read(&mut piece) {
            let mut session = theirs.lock().unwrap();
            session.writer().write_all(&piece[..got]).unwrap();
            while session.wants_write() {
                // The generator hangs up once it has seen a fault.
                if session.write_tls(&mut out).is_err() {
                    return;
                }
            }
        }
    });
    let mut to = plain;
    let mut sealed = vec![0; 50_000];
    let mut got = 0;
    loop {
        let mut rest = &sealed[..got];
        let mut opened = Vec::new();
        let mut guard = session.lock().unwrap();
        loop {
            // An error says that there is no more for now. Some may have come with the handshake.
            let _ = guard.reader().read_to_end(&mut opened);
            if rest.is_empty() {
                break;
            }
            guard.read_tls(&mut rest).unwrap();
            guard.process_new_packets().unwrap();
        }
        drop(guard);
        if to.write_all(&opened).is_err() {
            return;
        }
        got = client.read(&mut sealed).unwrap_or(0);
        if got == 0 {
            return;
        }
    }
}

fn run(entrance: Entrance, scenario: Scenario, messages: &str) -> Result<Outcome> {
    let line = ["weir-load", "run", "pubsub", "--patience", "5", "--subscribers", "3"];
    let cli = Cli::try_parse_from(line.into_iter().chain(["--messages", messages])).unwrap();
    let Command::Run(args) = cli.command else {
        unreachable!("`run` was asked for")
    };
    let target = Target {
        entrance,
        pid: Some(std::process::id()),
        patience: args.load.patience(),
    };
    scenario.run(target, &args.load)
}

fn by_websocket(fault: Fault) -> (Entrance, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let addr = websocket_bridge(start(fault), Arc::clone(&counts));
    (Way::Websocket.entrance(addr), counts)
}

fn by_tls(fault: Fault) -> Entrance {
    Way::Tls.entrance(tls_bridge(start(fault), true))
}

fn by_wss(fault: Fault) -> (Entrance, Arc<Counts>) {
    let (websocket, counts) = by_websocket(fault);
    (Way::Wss.entrance(tls_bridge(websocket.addr, false)), counts)
}

#[test]
fn an_honest_broker_passes_by_websocket_with_many_messages_in_a_frame() {
    let (entrance, counts) = by_websocket(Fault::None);
    let of = |scenario, messages| run(entrance.clone(), scenario, messages).unwrap().messages;
    assert_eq!(of(Scenario::Pubsub, "20000"), 20_000);
    let (frames, messages) = (
        counts.frames.load(Ordering::Relaxed),
        counts.messages.load(Ordering::Relaxed),
    );
    assert_eq!(messages, 20_001, "the one that ends the run too");
    assert!(frames < messages / 100, "{messages} messages in {frames} frames");
    assert!(counts.pongs.load(Ordering::Relaxed) > 0);
    assert_eq!(of(Scenario::Fanout, "1000"), 3000);
    assert_eq!(of(Scenario::Request, "200"), 200);
    assert_eq!(of(Scenario::Connections, "21"), 21);
}

#[test]
fn an_honest_broker_passes_by_a_websocket_on_tls() {
    let (entrance, counts) = by_wss(Fault::None);
    let of = |scenario, messages| run(entrance.clone(), scenario, messages).unwrap().messages;
    assert_eq!(of(Scenario::Pubsub, "20000"), 20_000);
    assert!(counts.messages.load(Ordering::Relaxed) > 0 && counts.pongs.load(Ordering::Relaxed) > 0);
    assert_eq!(of(Scenario::Request, "200"), 200);
    assert_eq!(of(Scenario::Connections, "21"), 21);
}

#[test]
fn an_honest_broker_passes_by_tls() {
    let entrance = by_tls(Fault::None);
    let of = |scenario, messages| run(entrance.clone(), scenario, messages).unwrap().messages;
    assert_eq!(of(Scenario::Pubsub, "20000"), 20_000);
    assert_eq!(of(Scenario::Fanout, "1000"), 3000);
    assert_eq!(of(Scenario::Request, "200"), 200);
    let connections = run(entrance, Scenario::Connections, "21").unwrap();
    assert_eq!(connections.messages, 21);
    assert_eq!(connections.latency.unwrap().samples, 21);
    assert!(connections.connection_bytes.is_some());
}

#[test]
fn a_broker_with_one_fault_is_found_out_by_each() {
    for fault in [Fault::Lose, Fault::Double, Fault::SwapWithNext, Fault::ChangeLastByte] {
        for entrance in [by_websocket(fault).0, by_tls(fault), by_wss(fault).0] {
            match run(entrance, Scenario::Pubsub, "5000") {
                Err(LoadError::Verify(_)) => {}
                other => panic!("{fault:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn tls_that_was_to_be_and_is_not_is_found_out() {
    let entrance = Way::Tls.entrance(start(Fault::None));
    match run(entrance, Scenario::Pubsub, "10") {
        Err(LoadError::Protocol(text)) => assert!(text.contains("does not ask for TLS"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rules_that_do_not_hold_are_found_out() {
    let entrance = Way::Permissions.entrance(start(Fault::None));
    match run(entrance, Scenario::Pubsub, "10") {
        Err(LoadError::Verify(text)) => assert!(text.contains("not allowed"), "{text}"),
        other => panic!("{other:?}"),
    }
}
