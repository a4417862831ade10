//! A responder of OCSP on this machine, and what it was asked.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use x509_ocsp::CertId;

use super::answers::{Ca, Said, Saying, asked};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it does with a request.
pub enum Reply {
    /// The authority's answer about whatever it is asked about: this, until so many seconds from then on.
    Says(Saying, u64),
    /// These bytes, with that status.
    Bytes(u16, Vec<u8>),
    /// It says that it is elsewhere, with that status.
    Elsewhere(u16, String),
    /// It hangs up.
    Nothing,
}

/// By method, and by what is asked about.
type Behaviour = Box<dyn Fn(&str, &CertId) -> Reply + Send>;

/// Answers as it is told to, one request after the other.
pub struct Responder {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    ca: Arc<Ca>,
    behave: Mutex<Behaviour>,
    /// `METHOD path` of each request that was answered.
    requests: Mutex<Vec<String>>,
    one_more: Condvar,
    stopped: AtomicBool,
}

impl Responder {
    pub fn start(ca: &Arc<Ca>, saying: Saying) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            ca: Arc::clone(ca),
            behave: Mutex::new(Box::new(move |_, _| Reply::Says(saying, 3600))),
            requests: Mutex::default(),
            one_more: Condvar::new(),
            stopped: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stopped.load(Ordering::Relaxed) {
                    return;
                }
                // Whoever asked may be gone.
                let _ = stream.and_then(|stream| serving.serve(stream));
            }
        });
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Behaves like this from now on.
    pub fn behave(&self, how: impl Fn(&str, &CertId) -> Reply + Send + 'static) {
        *self.shared.behave.lock().unwrap() = Box::new(how);
    }

    pub fn say(&self, saying: Saying) {
        self.behave(move |_, _| Reply::Says(saying, 3600));
    }

    /// What it was asked so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Waits until it has answered that many requests.
    pub fn wait_for(&self, count: usize) {
        let requests = self.shared.requests.lock().unwrap();
        let waited = self
            .shared
            .one_more
            .wait_timeout_while(requests, PATIENCE, |all| all.len() < count);
        assert!(waited.unwrap().0.len() >= count, "nobody asks");
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(stream.try_clone()?);
        let (mut first, mut length, mut kind) = (String::new(), 0, String::new());
        lines.read_line(&mut first)?;
        loop {
            let mut line = String::new();
            lines.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
                Some((name, value)) if name.eq_ignore_ascii_case("content-type") => kind = value.to_owned(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body)?;
        let mut words = first.split(' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Ok(());
        };
        if method == "POST" {
            assert_eq!(kind, "application/ocsp-request");
        } else {
            let base64 = path.rsplit('/').next().unwrap();
            let base64 = base64.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
            body = BASE64_STANDARD.decode(base64).unwrap();
        }
        let id = asked(&body);
        let reply = (self.behave.lock().unwrap())(method, &id);
        let (status, location, answer) = match reply {
            Reply::Says(saying, left) => {
                let said = Said::until(saying, SystemTime::now(), Duration::from_secs(left));
                (200, None, self.ca.answer(id, &said))
            }
            Reply::Bytes(status, bytes) => (status, None, bytes),
            Reply::Elsewhere(status, location) => (status, Some(location), Vec::new()),
            Reply::Nothing => (0, None, Vec::new()),
        };
        if status > 0 {
            let location = location.map_or_else(String::new, |location| format!("Location: {location}\r\n"));
            let length = answer.len();
            write!(
                stream,
                "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n{location}Connection: close\r\n\r\n"
            )?;
            stream.write_all(&answer)?;
        }
        let path = if method == "GET" { "/…" } else { path };
        self.requests.lock().unwrap().push(format!("{method} {path}"));
        self.one_more.notify_all();
        Ok(())
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // The one that it waits for.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
