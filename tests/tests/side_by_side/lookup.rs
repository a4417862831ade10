//! Where servers that have accounts looked up by HTTP find them: the tokens of a [`World`](super::world::World).

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::Result;

pub struct Lookup {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Lookup {
    /// Tells these tokens, by the keys of their accounts.
    pub fn start(tokens: BTreeMap<String, String>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                // Who asks may be gone.
                let _ = stream.and_then(|stream| answer(stream, &tokens));
            }
        });
        Ok(Self {
            address,
            over,
            thread: Some(thread),
        })
    }

    /// Behind this the key of an account stands.
    pub fn url(&self) -> String {
        format!("http://{}/jwt/v1/accounts/", self.address)
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // It looks once more when somebody comes.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(stream: TcpStream, tokens: &BTreeMap<String, String>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let key = path.rsplit('/').next().unwrap_or_default();
    let (status, body) = match (key, tokens.get(key)) {
        // A server asks so whether there is anybody.
        ("", _) => ("200 OK", ""),
        (_, Some(token)) => ("200 OK", token.as_str()),
        (_, None) => ("404 Not Found", ""),
    };
    let length = body.len();
    write!(
        reader.get_mut(),
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
