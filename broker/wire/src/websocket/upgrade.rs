//! The HTTP request that asks for a WebSocket, and its answers.

use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

use super::origin::{Origin, host_and_port};

/// Longest request, in bytes: cookies and tokens fit.
pub const HEAD_MAX: usize = 32 * 1024;

/// Most headers of a request.
const HEADERS_MAX: usize = 100;

/// What the key is hashed with (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Length of the key's bytes.
const KEY_LENGTH: usize = 16;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
}

/// Why there is no WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP's status.
    pub status: u16,
    /// Why, for the log; nats-server's words.
    pub reason: String,
}

/// A request that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upgrade {
    /// permessage-deflate was asked for and is granted.
    pub compression: bool,
}

fn refusal(status: u16, reason: impl Into<String>) -> Refusal {
    Refusal {
        status,
        reason: reason.into(),
    }
}

/// Reads a request from what came so far. Returns it with its length; `None`: there is more to come.
///
/// # Errors
/// That is no request, or one that is too long: what to answer.
pub fn read_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Refusal> {
    let mut room = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut room);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_MAX => {
            let text = |value: &[u8]| String::from_utf8_lossy(value).trim_matches([' ', '\t']).to_owned();
            let headers = request.headers.iter();
            let head = Head {
                method: request.method.unwrap_or_default().to_owned(),
                path: request.path.unwrap_or_default().to_owned(),
                headers: headers
                    .map(|header| (header.name.to_owned(), text(header.value)))
                    .collect(),
            };
            Ok(Some((head, length)))
        }
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => Err(refusal(431, "request header fields too large")),
        Err(error) => Err(refusal(400, error.to_string())),
    }
}

impl Head {
    /// What stands behind the host in the URL.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The first header of that name, in whatever case it is written.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = move |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers.iter().filter(named).map(|(_, value)| value.as_str())
    }

    /// Whether one of the words of a header's list is this one.
    fn lists(&self, name: &str, word: &str) -> bool {
        self.all(name)
            .flat_map(|list| list.split(','))
            .any(|found| found.trim().eq_ignore_ascii_case(word))
    }

    /// A cookie's value.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let mut pairs = self.all("Cookie").flat_map(|list| list.split(';'));
        let value = pairs.find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key.trim() == name).then(|| value.trim())
        })?;
        Some(
            value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'))
                .unwrap_or(value),
        )
    }

    /// The address that a proxy says the client has. Anybody can write that.
    #[must_use]
    pub fn forwarded_for(&self) -> Option<IpAddr> {
        self.header("X-Forwarded-For")?.parse().ok()
    }

    /// Whether a WebSocket is asked for as it should be.
    ///
    /// # Errors
    /// It is not: what to answer.
    pub fn upgrade(&self) -> Result<Upgrade, Refusal> {
        if self.method != "GET" {
            return Err(refusal(405, "request method must be GET"));
        }
        if self.header("Host").is_none_or(str::is_empty) {
            return Err(refusal(400, "'Host' missing in request"));
        }
        if !self.lists("Upgrade", "websocket") {
            return Err(refusal(400, "invalid value for header 'Upgrade'"));
        }
        if !self.lists("Connection", "Upgrade") {
            return Err(refusal(400, "invalid value for header 'Connection'"));
        }
        let key = self.header("Sec-WebSocket-Key").unwrap_or_default();
        if key.is_empty() {
            return Err(refusal(400, "key missing"));
        }
        if BASE64_STANDARD.decode(key).map_or(0, |bytes| bytes.len()) != KEY_LENGTH {
            return Err(refusal(400, "invalid websocket key"));
        }
        if !self.lists("Sec-WebSocket-Version", "13") {
            return Err(refusal(400, "invalid version"));
        }
        let extensions = self.all("Sec-WebSocket-Extensions").flat_map(|list| list.split(','));
        let mut names = extensions.map(|extension| extension.split(';').next().unwrap_or_default().trim());
        Ok(Upgrade {
            compression: names.any(|name| name.eq_ignore_ascii_case("permessage-deflate")),
        })
    }

    /// Whether the page that asks may. Whoever names no page is no browser, and may.
    ///
    /// # Errors
    /// It may not: what to answer.
    pub fn check_origin(&self, same: bool, allowed: &[Origin], tls: bool) -> Result<(), Refusal> {
        if !same && allowed.is_empty() {
            return Ok(());
        }
        let no = |why: String| refusal(403, format!("origin not allowed: {why}"));
        let given = self.header("Origin").filter(|origin| !origin.is_empty());
        let Some(given) = given.or_else(|| self.header("Sec-WebSocket-Origin")) else {
            return Ok(());
        };
        let origin = Origin::parse(given).map_err(|error| no(error.to_string()))?;
        if same {
            let here = host_and_port(self.header("Host").unwrap_or_default(), tls);
            if here.is_none_or(|(host, port)| host != origin.host || port != origin.port) {
                return Err(no("not same origin".to_owned()));
            }
        }
        if !allowed.is_empty() && !allowed.contains(&origin) {
            return Err(no("not in the allowed list".to_owned()));
        }
        Ok(())
    }

    /// The answer that makes the connection a WebSocket, with headers of the server's own.
    #[must_use]
    pub fn accept(&self, upgrade: Upgrade, headers: &[(String, String)]) -> Vec<u8> {
        let mut hash = Sha1::new();
        hash.update(self.header("Sec-WebSocket-Key").unwrap_or_default());
        hash.update(GUID);
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
            BASE64_STANDARD.encode(hash.finalize())
        );
        if upgrade.compression {
            answer.push_str(
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n",
            );
        }
        for (name, value) in headers {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        answer.push_str("\r\n");
        answer.into_bytes()
    }
}

impl Refusal {
    /// The whole answer. The connection ends with it.
    #[must_use]
    pub fn response(&self) -> Vec<u8> {
        let text = match self.status {
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            _ => "Bad Request",
        };
        format!(
            "HTTP/1.1 {} {text}\r\nContent-Type: text/plain; charset=utf-8\r\nSec-WebSocket-Version: 13\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}\n",
            self.status,
            text.len() + 1
        )
        .into_bytes()
    }
}
