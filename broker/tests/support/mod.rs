//! A server in this process, and a client that speaks raw bytes to it.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub mod certificates;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use weir_broker::conf::Options;
use weir_broker::conf::options::{Backend, Tls};
use weir_broker::{Error, Server};

/// How long an answer may take before the test fails; far more than any takes, on a machine that has other things to do as well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the server asks when it likes.
const PING: &[u8] = b"PING\r\n";

/// CONNECT as most client libraries send it.
pub const HELLO: &str =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1}\r\n";

/// A server on a port of its own, stopped when the test ends.
pub struct TestServer {
    runtime: Runtime,
    pub server: Arc<Server>,
}

impl TestServer {
    pub fn start(change: impl FnOnce(&mut Options)) -> Self {
        Self::try_start(change).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same where it may not start.
    pub fn try_start(change: impl FnOnce(&mut Options)) -> Result<Self, Error> {
        let mut options = Options {
            host: "127.0.0.1".into(),
            port: 0,
            ..Options::default()
        };
        change(&mut options);
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(Server::start(patient(options)))?;
        Ok(Self { runtime, server })
    }

    /// Goes on with other options.
    pub fn reload(&self, options: Options) -> Result<(), Error> {
        self.run(self.server.reload(patient(options), |_| Ok(())))
    }

    /// A connection whose INFO has been read.
    pub fn connect(&self) -> Raw {
        let mut raw = Raw::new(TcpStream::connect(self.server.client_address().unwrap()).unwrap());
        assert!(raw.line().starts_with("INFO {"));
        raw
    }

    /// A connection that has said [`HELLO`], with the answer to its first PING read.
    pub fn client(&self) -> Raw {
        let mut raw = self.connect();
        raw.send(HELLO);
        raw.send("PING\r\n");
        raw.expect("PONG\r\n");
        assert!(raw.line().contains("\"connect_info\":true"));
        raw
    }

    /// A request to the monitoring port: status line and body.
    pub fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.server.monitor_address().unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    /// Runs something beside the test.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.runtime.spawn(work)
    }

    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// Options of a server that waits for its clients as long as the test waits for it, where they do not say how long. A client has seconds to say
/// who it is, and to take what it is sent; where the test's thread stands still so long, because others have the processor, it was closed.
fn patient(mut options: Options) -> Options {
    let usual = Options::default();
    if !options.auth.timeout_given && options.auth.timeout >= usual.auth.timeout {
        options.auth.timeout = options.auth.timeout.max(PATIENCE);
    }
    let websocket = options.websocket.as_mut().and_then(|websocket| websocket.tls.as_mut());
    for tls in options.tls.as_mut().into_iter().chain(websocket) {
        if tls.timeout == Tls::default().timeout {
            tls.timeout = PATIENCE;
        }
    }
    if options.write_deadline == usual.write_deadline {
        options.write_deadline = PATIENCE;
    }
    options
}

/// A server with JetStream, and the folder of its store.
pub struct JetStreamServer {
    pub server: TestServer,
    _folder: tempfile::TempDir,
}

impl JetStreamServer {
    pub fn start(backend: Backend, change: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = TestServer::start(|options| {
            options.jetstream.enabled = true;
            options.jetstream.store_dir = Some(folder.path().into());
            options.jetstream.backend = backend;
            change(options);
        });
        Self {
            server,
            _folder: folder,
        }
    }

    /// A client that hears its answers on `r`.
    pub fn client(&self) -> Raw {
        let mut client = self.server.client();
        client.send("SUB r 1\r\n");
        client
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.runtime.block_on(self.server.shutdown());
    }
}

/// A client's socket, and what came from it and was not looked at yet.
pub struct Raw<S = TcpStream> {
    pub stream: S,
    pending: Vec<u8>,
    /// Show the server's PINGs, which come when they like (the first two seconds after the connection was made).
    pub shows_pings: bool,
}

impl Raw {
    pub fn new(stream: TcpStream) -> Self {
        prepare(&stream);
        Self::over(stream)
    }
}

/// Has a socket wait no longer than it takes to look at the clock.
pub fn prepare(stream: &TcpStream) {
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    stream.set_nodelay(true).unwrap();
}

/// Sends. That the server has closed meanwhile is seen by the next read: what it said before is still there. A handshake that comes first
/// reads, and the server's part of it takes its time.
pub fn send(stream: &mut impl Write, mut bytes: &[u8]) {
    let end = Instant::now() + PATIENCE;
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => return,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                assert!(Instant::now() < end, "nothing came, and nothing can be sent");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

impl<S: Read + Write> Raw<S> {
    /// The same over whatever bytes go over; the socket below is [prepared](prepare).
    pub fn over(stream: S) -> Self {
        Self {
            stream,
            pending: Vec::new(),
            shows_pings: false,
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        send(&mut self.stream, bytes.as_ref());
    }

    /// Reads more. False: the server closed.
    fn more(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        let mut chunk = [0; 65536];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(read) => {
                    // One may have come in two pieces.
                    let from = self.pending.len().saturating_sub(PING.len());
                    self.pending.extend_from_slice(&chunk[..read]);
                    self.drop_pings(from);
                    return true;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    assert!(Instant::now() < end, "nothing came; so far: {:?}", self.shown());
                }
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => {
                    return false;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The beginning of what was not looked at.
    fn shown(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.pending[..self.pending.len().min(500)])
    }

    /// Of what came from this place on.
    fn drop_pings(&mut self, mut from: usize) {
        while let Some(at) = find(&self.pending[from..], PING).map(|at| from + at) {
            if !self.shows_pings && (at == 0 || self.pending[at - 1] == b'\n') {
                self.pending.drain(at..at + PING.len());
                from = at;
            } else {
                from = at + 1;
            }
        }
    }

    /// The next line, without its end.
    pub fn line(&mut self) -> String {
        loop {
            if let Some(at) = find(&self.pending, b"\r\n") {
                let line = String::from_utf8(self.pending[..at].to_vec()).unwrap();
                self.pending.drain(..at + 2);
                return line;
            }
            assert!(self.more(), "closed; so far: {:?}", self.shown());
        }
    }

    /// That many bytes.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        while self.pending.len() < count {
            assert!(self.more(), "closed; so far: {:?}", self.shown());
        }
        self.pending.drain(..count).collect()
    }

    /// The next bytes are exactly these.
    #[track_caller]
    pub fn expect(&mut self, wanted: &str) {
        let got = self.take(wanted.len());
        assert_eq!(String::from_utf8_lossy(&got), wanted);
    }

    /// Sends, and gets exactly this and nothing else (a PING behind it proves that).
    #[track_caller]
    pub fn exchange(&mut self, send: impl AsRef<[u8]>, wanted: &str) {
        self.send(send);
        self.send("PING\r\n");
        self.expect(&format!("{wanted}PONG\r\n"));
    }

    /// Gets exactly this, and then the end of the connection.
    #[track_caller]
    pub fn expect_end(&mut self, wanted: &str) {
        assert_eq!(self.until_end(), wanted);
    }

    /// All that still comes before the end of the connection.
    pub fn until_end(&mut self) -> String {
        while self.more() {}
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|found| found == wanted)
}
