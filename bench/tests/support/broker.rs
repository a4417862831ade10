//! A small broker that may lose, double, swap or change one message.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the broker does to its 100th message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
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

/// Starts one that does this; it ends with the process.
pub fn start(fault: Fault) -> SocketAddr {
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
