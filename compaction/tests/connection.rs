//! A server that is gone: the tool says so, and waits no longer than it must.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

const INFO: &str = "{\"server_id\":\"S\",\"server_name\":\"s\",\"version\":\"2.15.0\",\"go\":\"-\",\"host\":\"127.0.0.1\",\
                    \"port\":4222,\"max_payload\":1048576,\"proto\":1,\"headers\":true}";

/// What `weir` says, and its exit code.
fn weir(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), told)
}

/// Lets a client in, and waits for what it asks, which is answered nothing.
fn asked_in_vain(client: &TcpStream) {
    let mut lines = BufReader::new(client.try_clone().unwrap());
    let mut client = client;
    write!(client, "INFO {INFO}\r\n").unwrap();
    let mut line = String::new();
    while !line.starts_with("PUB") && !line.starts_with("HPUB") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it asks something");
        if line.starts_with("PING") {
            client.write_all(b"PONG\r\n").unwrap();
        }
    }
}

#[test]
fn a_connection_that_breaks_is_told_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || asked_in_vain(&listener.accept().unwrap().0));
    let (code, told) = weir(&["inspect", &url]);
    server.join().unwrap();
    assert_eq!(code, Some(1));
    assert!(
        told.contains("the connection to 127.0.0.1:") && told.contains(" broke"),
        "{told}"
    );
}

#[test]
fn a_port_where_nobody_listens_is_refused_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    drop(listener);
    let (code, told) = weir(&["inspect", &url]);
    assert_eq!(code, Some(1));
    assert!(told.contains("refused"), "{told}");
}

/// It waited half a minute, and then guessed that the server had no JetStream.
#[test]
fn what_a_user_may_not_ask_is_told_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let said = "Permissions Violation for Publish to \"$JS.API.STREAM.LIST\"";
    let server = std::thread::spawn(move || {
        let mut client = listener.accept().unwrap().0;
        asked_in_vain(&client);
        write!(client, "-ERR '{said}'\r\n").unwrap();
        // Until it goes.
        while client.read(&mut [0; 1 << 10]).is_ok_and(|read| read > 0) {}
    });
    let (code, told) = weir(&["inspect", &url]);
    server.join().unwrap();
    assert_eq!(code, Some(1));
    assert!(told.contains(said) && told.contains("let this user publish"), "{told}");
}

#[test]
fn a_refused_user_is_told_so_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut client = listener.accept().unwrap().0;
        write!(client, "INFO {INFO}\r\n").unwrap();
        BufReader::new(&client).read_line(&mut String::new()).unwrap();
        client.write_all(b"-ERR 'Authorization Violation'\r\n").unwrap();
        while client.read(&mut [0; 1 << 10]).is_ok_and(|read| read > 0) {}
    });
    let (code, told) = weir(&["inspect", &url]);
    server.join().unwrap();
    assert_eq!(code, Some(1));
    assert_eq!(told.matches("authorization violation").count(), 1, "{told}");
}
