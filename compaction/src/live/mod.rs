//! Tools on a running server: what they ask, they ask as any client does, of Weir or of a genuine nats-server.

mod backup;
mod inspect;
mod lines;
mod lost;
mod messages;
mod update;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

pub use backup::{backup, restore};
pub use inspect::{ConsumerSeen, Moving, Options as InspectOptions, Report, StreamSeen, SubjectSeen, inspect};
pub use lines::export_lines;
pub use messages::{dump, export_table};
pub use update::{Updated, compress, move_to};

use crate::error::{Error, MISSING_FOLDER, Result};

/// What the names of servers begin with.
const SCHEMES: [&str; 2] = ["nats://", "tls://"];
/// What they look like.
const URL_FORM: &str = "the URL of a server is nats://[user:password@|token@]host[:port]";
/// What helps where a file that lets a client in is not read.
const ACCESS_FILE: &str = "name a file with a user's JWT and seed (--creds), or with certificates in PEM (--tls-ca)";
/// How long a connection to an address may take to be made, until the server lets this client in.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Where a server is, and what lets a client in.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `nats://[user:password@|token@]host[:port]`; `tls://` for a server that speaks TLS alone.
    pub url: String,
    /// A file with a user's JWT and seed.
    pub creds: Option<PathBuf>,
    /// A file (PEM) with the certificates of those who certify the server.
    pub tls_ca: Option<PathBuf>,
}

/// The server that a path names, if it is none of a store.
pub fn url_of(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    SCHEMES
        .iter()
        .any(|scheme| text.starts_with(scheme))
        .then(|| text.to_owned())
}

/// What stands in a part of a URL, where bytes may be written as `%40`.
fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let hex = behind.get(..2).filter(|_| byte == b'%');
        let hex = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(hex.unwrap_or(byte));
        rest = if hex.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A connection to a server.
pub struct Server {
    runtime: Runtime,
    client: Client,
    url: String,
    /// Becomes true when the connection breaks. The client makes another, on which nobody answers what was asked before.
    broken: watch::Receiver<bool>,
}

/// Why something was not answered as it should.
pub(crate) fn failed(what: impl std::fmt::Display) -> Error {
    let remedy = "see whether the server runs and has JetStream for this user, and what its log says";
    failed_for(what, remedy)
}

/// As [`failed`], where something else helps.
pub(crate) fn failed_for(what: impl std::fmt::Display, remedy: &'static str) -> Error {
    Error::Server {
        text: what.to_string(),
        remedy,
    }
}

impl Server {
    /// Connects.
    ///
    /// # Errors
    /// If the URL is none, no server is there, or it does not let this client in.
    pub fn connect(access: &Access) -> Result<Self> {
        let address: ServerAddr = access
            .url
            .parse()
            .map_err(|error| failed_for(format_args!("{}: {error}", access.url), URL_FORM))?;
        if address.host().is_empty() {
            return Err(failed_for(format_args!("{}: it names no host", access.url), URL_FORM));
        }
        // What stands in it is nobody's who reads what is printed.
        let url = format!("{}:{}", address.host(), address.port());
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(format_args!("starting: {error}")))?;
        let mut options = ConnectOptions::new()
            .name("weir")
            .connection_timeout(CONNECT)
            .request_timeout(Some(ANSWER));
        let (breaks, broken) = watch::channel(false);
        options = options.event_callback(move |event| {
            if matches!(event, Event::Disconnected | Event::Closed) {
                breaks.send_replace(true);
            }
            std::future::ready(())
        });
        options = match (address.username().map(decoded), address.password().map(decoded)) {
            (Some(user), Some(password)) => options.user_and_password(user, password),
            (Some(token), None) => options.token(token),
            (None, _) => options,
        };
        if let Some(ca) = &access.tls_ca {
            // Whoever reads it later does not say which file it is.
            let read = std::fs::read(ca)
                .map_err(|error| failed_for(format_args!("{}: {error}", ca.display()), ACCESS_FILE))?;
            if !String::from_utf8_lossy(&read).contains("-----BEGIN CERTIFICATE-----") {
                return Err(failed_for(
                    format_args!("{}: it has no certificate (PEM)", ca.display()),
                    ACCESS_FILE,
                ));
            }
            options = options.add_root_certificates(ca.clone());
        }
        let client = runtime.block_on(async {
            if let Some(creds) = &access.creds {
                let read = options.credentials_file(creds).await;
                options = read.map_err(|error| failed_for(format_args!("{}: {error}", creds.display()), ACCESS_FILE))?;
            }
            let connected = options.connect(address).await;
            connected.map_err(|error| {
                failed_for(
                    format_args!("{url}: {error}"),
                    "see whether a server runs there, and lets this user in (user:password@ in the URL, --creds, --tls-ca)",
                )
            })
        })?;
        Ok(Self {
            runtime,
            client,
            url,
            broken,
        })
    }

    /// What comes of something that waits for the server, unless the connection breaks.
    ///
    /// # Errors
    /// If it breaks, or did so before.
    pub(crate) async fn unless_broken<T>(&self, what: &str, waiting: impl Future<Output = T>) -> Result<T> {
        let mut broken = self.broken.clone();
        tokio::select! {
            // What has come already counts.
            biased;
            got = waiting => Ok(got),
            // The sender lives as long as the client.
            _ = broken.wait_for(|is_broken| *is_broken) => Err(failed(format_args!(
                "{what} was not answered: the connection to {} broke; what it had begun, it goes on with by itself when it runs again",
                self.url
            ))),
        }
    }

    /// Host and port.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it calls itself, and its version.
    pub fn name(&self) -> (String, String) {
        let info = self.client.server_info();
        (info.server_name, info.version)
    }

    /// Of a server of Weir's, its own version, as it says itself when somebody connects; `None` of another.
    ///
    /// # Errors
    /// If it says nothing.
    pub(crate) fn weir_version(&self) -> Result<Option<String>> {
        /// The longest first line that is read, in bytes.
        const LINE_MAX: u64 = 64 << 10;
        let silent = |error| failed(format_args!("{}: {error}", self.url));
        let addresses = self.url.to_socket_addrs().map_err(silent)?;
        let mut tried = addresses.map(|address| TcpStream::connect_timeout(&address, CONNECT));
        let none = || Err(std::io::ErrorKind::AddrNotAvailable.into());
        let first = tried.next().unwrap_or_else(none);
        let stream = first.or_else(|error| tried.find(Result::is_ok).unwrap_or(Err(error)));
        let stream = stream.map_err(silent)?;
        stream.set_read_timeout(Some(CONNECT)).map_err(silent)?;
        let mut line = Vec::new();
        BufReader::new(stream.take(LINE_MAX))
            .read_until(b'\n', &mut line)
            .map_err(silent)?;
        let info = line.strip_prefix(b"INFO ").unwrap_or_default();
        let info: Value = serde_json::from_slice(info).unwrap_or_default();
        Ok(info["weir_version"].as_str().map(str::to_owned))
    }

    /// Asks something of the JetStream API.
    ///
    /// # Errors
    /// If it is not answered, or refused.
    pub(crate) fn ask(&self, call: &str, body: &Value) -> Result<Value> {
        let answer = self.runtime.block_on(ask(self, call, body))?;
        match refused(call, &answer) {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    /// All pages of a list: what is in the field, and why what is offline is so, by name.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub(crate) fn list(&self, call: &str, field: &str) -> Result<Listed> {
        let mut all = Listed::default();
        let mut offset = 0;
        loop {
            let mut answer = self.ask(call, &json!({"offset": offset}))?;
            let page = answer[field].as_array_mut().map(std::mem::take).unwrap_or_default();
            // What is offline counts, and need not be in the field.
            let limit = answer["limit"].as_u64().unwrap_or(0).max(page.len() as u64);
            offset += limit;
            all.found.extend(page);
            for (name, why) in answer["offline"].as_object().into_iter().flatten() {
                let why = why.as_str().unwrap_or_default();
                all.offline.insert(name.clone(), why.to_owned());
            }
            if limit == 0 || offset >= answer["total"].as_u64().unwrap_or(0) {
                return Ok(all);
            }
        }
    }
}

/// What a server lists.
#[derive(Default)]
pub(crate) struct Listed {
    /// What can be shown.
    pub found: Vec<Value>,
    /// Why what is offline is so, by name; some of it may be among the others as well.
    pub offline: BTreeMap<String, String>,
}

async fn ask(server: &Server, call: &str, body: &Value) -> Result<Value> {
    let payload = match body {
        Value::Null => Bytes::new(),
        body => body.to_string().into(),
    };
    let asked = server.client.request(format!("$JS.API.{call}"), payload);
    let answer = server.unless_broken(call, asked).await?.map_err(|error| {
        let help = match error.kind() {
            async_nats::RequestErrorKind::NoResponders => ": JetStream is not enabled there, or not for this account",
            _ => "",
        };
        failed(format_args!("{call} was not answered: {error}{help}"))
    })?;
    serde_json::from_slice(&answer.payload).map_err(|error| failed(format_args!("the answer to {call}: {error}")))
}

/// Why something was refused, if it was.
fn refusal(answer: &Value) -> Option<String> {
    let error = answer.get("error")?;
    let text = error["description"].as_str().unwrap_or("it does not say why");
    Some(match error["err_code"].as_u64() {
        Some(code) => format!("{text} ({code})"),
        None => text.to_owned(),
    })
}

/// Why the server did not do something, if it did not: that a stream is offline is damage, as it is for tools that read the store.
fn refused(what: &str, answer: &Value) -> Option<Error> {
    let text = format!("the server refuses {what}: {}", refusal(answer)?);
    Some(match is_offline(answer) {
        true => Error::ServerOffline { text },
        // That is put back, or repaired, and has nothing to do with this user.
        false if text.contains(MISSING_FOLDER) => Error::ServerDamaged { text },
        false => failed(text),
    })
}

/// Whether an answer is that the stream or the consumer is offline.
fn is_offline(answer: &Value) -> bool {
    use weir_engine::reject;
    let codes = [
        reject::STREAM_OFFLINE.code,
        reject::STREAM_OFFLINE_REASON.code,
        reject::CONSUMER_OFFLINE.code,
        reject::CONSUMER_OFFLINE_REASON.code,
    ];
    codes.iter().any(|code| u64::from(*code) == error_code(answer))
}

/// The number of an answer's error; 0 if it has none.
fn error_code(answer: &Value) -> u64 {
    answer["error"]["err_code"].as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests;
