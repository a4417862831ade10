//! The limit of open files: raised at the start, and shared so that connections never take what storage needs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use support::{HELLO, Raw};

/// The server's program, started by a shell that first lowers a limit.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    fn start(ulimit: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit {ulimit} && exec \"$@\""), "sh"])
            .arg(env!("CARGO_BIN_EXE_weir-server"))
            .args(["-a", "127.0.0.1", "-p", "-1"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = log.next().unwrap().unwrap();
            if let Some((_, address)) = line.split_once("Listening for client connections on ") {
                break address.parse().unwrap();
            }
        };
        // Read on, so that the server never waits for its log.
        std::thread::spawn(move || log.count());
        Self { child, address }
    }

    fn connect(&self) -> Raw {
        Raw::new(TcpStream::connect(self.address).unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    let program = Program::start("-Sn 64", &[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let mut fields = line.split_ascii_whitespace().skip(3);
    assert_eq!(fields.next().unwrap(), fields.next().unwrap(), "{line}");
}

#[test]
fn connections_are_refused_before_storage_lacks_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let program = Program::start("-n 200", &["-js", "-sd", store]);
    let mut first = program.connect();
    assert!(first.line().starts_with("INFO {"));
    first.send(HELLO);
    first.send("SUB answer 1\r\n");
    let mut kept = Vec::new();
    let mut refused = 0;
    for _ in 0..200 {
        let mut other = program.connect();
        assert!(other.line().starts_with("INFO {"));
        other.send("CONNECT {\"verbose\":false}\r\nPING\r\n");
        match other.line().as_str() {
            "PONG" => kept.push(other),
            line => {
                assert_eq!(line, "-ERR 'maximum connections exceeded'");
                refused += 1;
            }
        }
    }
    // Half of the limit, with the first.
    assert_eq!((kept.len(), refused), (99, 101));
    for number in 0..10 {
        let create = format!("{{\"name\":\"S{number}\",\"subjects\":[\"s.{number}\"]}}");
        let length = create.len();
        for request in [
            format!("PUB $JS.API.STREAM.CREATE.S{number} answer {length}\r\n{create}\r\n"),
            format!("PUB s.{number} answer 1\r\nx\r\n"),
        ] {
            first.send(request);
            let head = first.line();
            assert!(head.starts_with("MSG answer 1 "), "stream {number}: {head}");
            let answer = first.line();
            assert!(!answer.contains("error"), "stream {number}: {answer}");
        }
    }
}
