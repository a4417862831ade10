//! A server in this process, and one connection to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;
use weir_broker::Server;
use weir_broker::conf::Options;

/// How long an answer may take: far longer than any does.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where answers go.
const INBOX: &str = "_FUZZ";

pub struct Harness {
    connection: BufReader<TcpStream>,
    requests: u64,
    // In this order: the server ends before its folder goes.
    server: Running,
    _folder: tempfile::TempDir,
}

struct Running {
    runtime: Runtime,
    server: Arc<Server>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.runtime.block_on(self.server.shutdown());
    }
}

impl Harness {
    /// Starts a server with JetStream, in a folder of its own.
    pub fn start() -> Self {
        // Syncs cost nothing there.
        let memory = std::path::Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let folder = folder.expect("a folder");
        let text = format!(
            "port: -1\nhost: 127.0.0.1\njetstream {{ store_dir: {:?}, max_file: 256M, max_mem: 64M }}",
            folder.path().display().to_string()
        );
        let options = Options::parse(&text, "fuzz.conf", &|_| None).expect("a configuration");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let server = runtime.block_on(Server::start(options)).expect("a server");
        let server = Running { runtime, server };
        Self {
            connection: connect(&server.server),
            requests: 0,
            server,
            _folder: folder,
        }
    }

    /// Sends a message.
    pub fn publish(&mut self, subject: &[u8], reply: &str, payload: &[u8]) {
        let line = [
            b"PUB ",
            subject,
            b" ",
            reply.as_bytes(),
            b" ",
            payload.len().to_string().as_bytes(),
        ]
        .concat();
        let sent = self
            .connection
            .get_mut()
            .write_all(&[&line[..], b"\r\n", payload, b"\r\n"].concat());
        sent.expect("the server reads");
    }

    /// Waits until the server has taken what was sent, whatever it makes of it; it may have closed the connection.
    pub fn settle(&mut self) {
        let sent = self.connection.get_mut().write_all(b"PING\r\n");
        if sent.is_ok() {
            while let Some(line) = self.line() {
                if line.starts_with("PONG") {
                    return;
                }
                self.rest(&line);
            }
        }
        self.connection = connect(&self.server.server);
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, subject: &[u8], payload: &[u8]) -> Vec<u8> {
        self.requests += 1;
        let inbox = format!("{INBOX}.{}", self.requests);
        self.publish(subject, &inbox, payload);
        while let Some(line) = self.line() {
            let own = line.split(' ').nth(1) == Some(&inbox);
            let message = self.rest(&line);
            if own {
                return message;
            }
            assert!(!line.starts_with("-ERR"), "{line}");
        }
        panic!("no answer to {:?}", String::from_utf8_lossy(subject));
    }

    /// As [`ask`](Self::ask), of the API: the answer is a document.
    pub fn ask_api(&mut self, call: &str, payload: &[u8]) -> Value {
        let answer = self.ask(format!("$JS.API.{call}").as_bytes(), payload);
        match serde_json::from_slice(&answer) {
            Ok(document) => document,
            Err(error) => panic!("{error}: {:?}", String::from_utf8_lossy(&answer)),
        }
    }

    /// Removes all streams.
    pub fn clean(&mut self) {
        loop {
            let names = self.ask_api("STREAM.NAMES", b"");
            let Some(names) = names["streams"].as_array().filter(|names| !names.is_empty()) else {
                return;
            };
            for name in names.iter().filter_map(Value::as_str) {
                let gone = self.ask_api(&format!("STREAM.DELETE.{name}"), b"");
                assert_eq!(gone["success"], true, "{name}: {gone}");
            }
        }
    }

    /// The next line; `None` at the end of the connection.
    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.connection.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(String::from_utf8_lossy(&line).trim_end().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer for {PATIENCE:?}"),
            Err(_) => None,
        }
    }

    /// What belongs to a line, a message without its headers.
    fn rest(&mut self, line: &str) -> Vec<u8> {
        let mut parts = line.split(' ').rev();
        let mut number = || {
            parts
                .next()
                .and_then(|number| number.parse::<usize>().ok())
                .unwrap_or(0)
        };
        let (total, headers) = match line.split(' ').next() {
            Some("MSG") => (number(), 0),
            Some("HMSG") => (number(), number()),
            Some("PING") => {
                let _ = self.connection.get_mut().write_all(b"PONG\r\n");
                return Vec::new();
            }
            _ => return Vec::new(),
        };
        let mut bytes = vec![0; total + 2];
        self.connection.read_exact(&mut bytes).expect("the rest of a message");
        bytes.truncate(total);
        bytes.split_off(headers)
    }
}

fn connect(server: &Server) -> BufReader<TcpStream> {
    let address = server.client_address().expect("an address");
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream.set_nodelay(true).expect("no delay");
    let hello = format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}}\r\nSUB {INBOX}.* 1\r\n"
    );
    stream.write_all(hello.as_bytes()).expect("the server reads");
    BufReader::new(stream)
}
