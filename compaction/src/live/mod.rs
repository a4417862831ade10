//! Tools on a running server: what they ask, they ask as any client does, of Weir or of a genuine nats-server.

mod access;
mod backup;
mod greeting;
mod inspect;
mod lines;
mod lost;
mod messages;
mod update;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, Event, ServerError};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

pub use access::{Access, Tls, User};
pub use backup::{backup, restore};
pub use inspect::{ConsumerSeen, Moving, Options as InspectOptions, Report, StreamSeen, SubjectSeen, inspect};
pub use lines::export_lines;
pub use messages::{dump, export_table};
pub use update::{Updated, compress, move_to};

use crate::error::{Error, MISSING_FOLDER, Result};

/// What the names of servers begin with.
const SCHEMES: [&str; 2] = ["nats://", "tls://"];
/// How long a connection to an address may take to be made, until the server lets this client in.
const CONNECT: Duration = Duration::from_secs(5);
/// What helps where a server is not entered.
const NOT_LET_IN: &str = "see whether a server runs there, and lets this user in (user:password@ in the URL, --creds, --nkey; with TLS \
     --tlsca for who certifies the server, and --tlscert with --tlskey if it wants a certificate; --tlsfirst if it begins with TLS)";
/// What helps where a server does not let this user ask.
const NOT_ALLOWED: &str = "let this user publish to the subjects of $JS.API that the tool asks, and subscribe to its _INBOX, or name another user";
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// The server that a path names, if it is none of a store.
pub fn url_of(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    SCHEMES
        .iter()
        .any(|scheme| text.starts_with(scheme))
        .then(|| text.to_owned())
}

/// A connection to a server.
pub struct Server {
    runtime: Runtime,
    client: Client,
    url: String,
    place: (String, u16),
    tls: Tls,
    hindered: watch::Receiver<Hindered>,
}

/// Why nothing that was asked is answered any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Hindered {
    #[default]
    No,
    /// The server does not let this user ask it, or take the answer; what it says.
    Forbidden(String),
    /// The connection broke. The client makes another, on which nobody answers what was asked before.
    Broken,
}

impl Hindered {
    /// Whether it keeps the answer to a call away. What a user may not ask has no part in what it asks besides.
    fn concerns(&self, call: &str) -> bool {
        match self {
            Self::No => false,
            Self::Broken => true,
            Self::Forbidden(said) => match said.split_once("Publish to \"$JS.API.") {
                Some((_, subject)) => subject.strip_prefix(call).is_some_and(|rest| rest.starts_with('"')),
                None => true,
            },
        }
    }
}

/// What the server says when somebody publishes or subscribes what his permissions do not have.
const FORBIDDEN: &str = "permissions violation";

/// What the server says of a stream whose subjects another has, with one number or another.
const OVERLAP: &str = "subjects overlap with an existing stream";
/// What helps then.
const DISJOINT: &str = "two streams of an account cannot have the same subjects: change them in what is imported (its backup.json, or the first of its lines of JSON), \
     or delete the stream that has them, and run the command again";

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
        let address = access.address()?;
        // What stands in it is nobody's who reads what is printed.
        let url = format!("{}:{}", address.host(), address.port());
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(format_args!("starting: {error}")))?;
        let (hinders, hindered) = watch::channel(Hindered::No);
        let options = access
            .options(&address)?
            .name("weir")
            .connection_timeout(CONNECT)
            .request_timeout(Some(ANSWER))
            .event_callback(move |event| {
                match event {
                    Event::Disconnected | Event::Closed => {
                        hinders.send_replace(Hindered::Broken);
                    }
                    Event::ServerError(ServerError::Other(said)) if said.to_lowercase().contains(FORBIDDEN) => {
                        hinders.send_replace(Hindered::Forbidden(said));
                    }
                    _ => {}
                }
                std::future::ready(())
            });
        let place = (address.host().to_owned(), address.port());
        let connected = runtime.block_on(options.connect(address));
        let client = connected.map_err(|error| match error.kind() {
            // Its source says the same once more.
            ConnectErrorKind::AuthorizationViolation => failed_for(format_args!("{url}: {}", error.kind()), NOT_LET_IN),
            _ => failed_for(format_args!("{url}: {error}"), NOT_LET_IN),
        })?;
        Ok(Self {
            runtime,
            client,
            url,
            place,
            tls: access.tls.clone(),
            hindered,
        })
    }

    /// What comes of something that waits for the server, unless the connection breaks, or the server does not let this user.
    ///
    /// # Errors
    /// If either is so, or was before.
    pub(crate) async fn unless_hindered<T>(&self, what: &str, waiting: impl Future<Output = T>) -> Result<T> {
        let mut hindered = self.hindered.clone();
        let why = tokio::select! {
            // What has come already counts.
            biased;
            got = waiting => return Ok(got),
            // The sender lives as long as the client.
            why = hindered.wait_for(|why| why.concerns(what)) => why.map_or(Hindered::Broken, |why| why.clone()),
        };
        Err(match why {
            Hindered::Forbidden(said) => failed_for(
                format_args!("{what} was not answered: {} says: {said}", self.url),
                NOT_ALLOWED,
            ),
            Hindered::No | Hindered::Broken => failed(format_args!(
                "{what} was not answered: the connection to {} broke; what it had begun, it goes on with by itself when it runs again",
                self.url
            )),
        })
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
        let (host, port) = &self.place;
        let info = greeting::info(host, *port, &self.tls);
        let info = info.map_err(|error| failed(format_args!("{}: {error}", self.url)))?;
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
    let answer = server.unless_hindered(call, asked).await?.map_err(|error| {
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
        false if text.contains(OVERLAP) => failed_for(text, DISJOINT),
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
