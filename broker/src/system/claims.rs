//! Tokens of accounts, brought, listed, looked up and deleted in the system account: what `nsc push` and `nsc pull` do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use serde_json::{Value, json};
use weir_jwt::{AccountClaims, MAX_TOKEN, Token, decode, decode_generic, key};

use super::{Item, System, put};
use crate::error::Result;
use crate::interest::{Account, Inbound, Service, Work};
use crate::trust::{Directory, Trust};

/// Bytes of requests that may wait, which are tokens of accounts mostly: 32 of the largest size, or as many as there is room for in the queue.
const WAITING_MAX: usize = 32 * MAX_TOKEN;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// This is the token of the account that the subject names.
    UpdateOf,
    /// This is the token of the account that it is of.
    Update,
    /// Which accounts there are.
    List,
    /// These are to go.
    Delete,
    /// The token of an account.
    Lookup,
    /// All tokens, unless whoever asks has the same.
    Pack,
}

/// A request.
pub(super) struct Claims {
    errand: Errand,
    subject: Bytes,
    reply: Bytes,
    payload: Bytes,
    /// Counts the bytes that wait.
    _waiting: Waiting,
}

struct Waiting(Arc<AtomicUsize>, usize);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

struct Listener {
    errand: Errand,
    queue: SyncSender<Item>,
    waiting: Arc<AtomicUsize>,
}

impl Service for Listener {
    fn message(&self, message: &Inbound<'_>, _: &mut Work) {
        if message.payload.len() > MAX_TOKEN {
            tracing::warn!("a token of {} bytes is not looked at", message.payload.len());
            return;
        }
        let size = message.payload.len();
        let waiting = Waiting(Arc::clone(&self.waiting), size);
        if self.waiting.fetch_add(size, Ordering::Relaxed) + size > WAITING_MAX {
            tracing::warn!("too many tokens at once: one is dropped");
            return;
        }
        let claims = Claims {
            errand: self.errand,
            subject: message.own(message.subject),
            reply: message.own(message.reply),
            payload: message.own(message.payload),
            _waiting: waiting,
        };
        put(&self.queue, Item::Claims(Box::new(claims)));
    }
}

/// Subscribes to what is asked of a server with such a resolver.
pub(super) fn serve(trust: &Trust, system: &Arc<Account>, queue: &SyncSender<Item>) -> Result<()> {
    let waiting = Arc::<AtomicUsize>::default();
    let hear = |subject: &str, errand: Errand| {
        let listener = Listener {
            errand,
            queue: queue.clone(),
            waiting: Arc::clone(&waiting),
        };
        system.serve(subject.as_bytes(), Arc::new(listener)).map(|_| ())
    };
    hear("$SYS.ACCOUNT.*.CLAIMS.UPDATE", Errand::UpdateOf)?;
    hear("$SYS.REQ.ACCOUNT.*.CLAIMS.UPDATE", Errand::UpdateOf)?;
    let Some(directory) = trust.directory() else {
        return Ok(());
    };
    hear("$SYS.REQ.CLAIMS.UPDATE", Errand::Update)?;
    hear("$SYS.REQ.CLAIMS.LIST", Errand::List)?;
    hear("$SYS.REQ.CLAIMS.DELETE", Errand::Delete)?;
    if directory.is_full() {
        hear("$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP", Errand::Lookup)?;
        hear("$SYS.REQ.CLAIMS.PACK", Errand::Pack)?;
    }
    Ok(())
}

/// What came of a request: whose account it is about, and what is said.
enum Outcome {
    Done(String, String),
    Failed(String, String),
}

impl System {
    /// Does what a request asks for.
    pub(super) fn attend(&self, claims: &Claims) {
        let Some(trust) = &self.hall.trust else {
            return;
        };
        let system = &self.reports.accounts.system;
        let reply = |payload: &[u8]| {
            if !claims.reply.is_empty() {
                super::send(system, &claims.reply, payload);
            }
        };
        let named = named(&claims.subject);
        match (claims.errand, trust.directory()) {
            (Errand::Lookup, Some(directory)) => {
                let token = directory.load(named.as_deref().unwrap_or_default()).unwrap_or_default();
                reply(token.as_bytes());
            }
            (Errand::Pack, Some(directory)) => {
                if claims.payload != directory.hash()[..] {
                    for (key, token) in directory.all() {
                        reply(format!("{key}|{token}").as_bytes());
                    }
                }
                reply(b"");
            }
            (Errand::List, Some(directory)) => {
                let keys: Vec<String> = directory.all().into_iter().map(|(key, _)| key).collect();
                reply(
                    json!({"server": self.about.server(), "data": keys})
                        .to_string()
                        .as_bytes(),
                );
            }
            (Errand::Delete, Some(directory)) => {
                let outcome = delete(trust, directory, &system.name, &claims.payload);
                reply(self.outcome(outcome).as_bytes());
            }
            (Errand::Update | Errand::UpdateOf, Some(directory)) => {
                let outcome = save(trust, directory, named.as_deref(), &claims.payload);
                reply(self.outcome(outcome).as_bytes());
            }
            (_, None) => {
                let outcome = update(trust, &named.unwrap_or_default(), &claims.payload);
                reply(self.outcome(outcome).as_bytes());
            }
        }
    }

    fn outcome(&self, outcome: Outcome) -> String {
        let under = |account: String, fields: Value| {
            let mut fields = fields;
            if !account.is_empty() {
                fields["account"] = json!(account);
            }
            fields
        };
        let server = self.about.server();
        match outcome {
            Outcome::Done(account, message) => {
                tracing::debug!("{message} - {account}");
                json!({"server": server, "data": under(account, json!({"code": 200, "message": message}))})
            }
            Outcome::Failed(account, description) => {
                tracing::error!("{account} - {description}");
                json!({"server": server, "error": under(account, json!({"code": 500, "description": description}))})
            }
        }
        .to_string()
    }
}

/// The account that a subject names.
fn named(subject: &[u8]) -> Option<String> {
    let subject = std::str::from_utf8(subject).ok()?;
    let rest = subject
        .strip_prefix("$SYS.REQ.ACCOUNT.")
        .or_else(|| subject.strip_prefix("$SYS.ACCOUNT."))?;
    rest.split('.').next().map(str::to_owned)
}

fn read(payload: &[u8]) -> std::result::Result<(AccountClaims, &str), String> {
    let token = std::str::from_utf8(payload).map_err(|_| "it is no text".to_owned())?;
    let claims = decode(token)
        .and_then(Token::account)
        .map_err(|error| error.to_string())?;
    Ok((claims, token))
}

/// The account of somebody who came before claims something else: nothing is kept.
fn update(trust: &Trust, named: &str, payload: &[u8]) -> Outcome {
    let failed = |what: &str, why: String| Outcome::Failed(named.to_owned(), format!("{what} - {why}"));
    if payload.is_empty() {
        return failed("jwt update error", "request body is empty".to_owned());
    }
    let wrong = "jwt update resulted in error";
    let (claims, token) = match read(payload) {
        Ok(read) => read,
        Err(error) => return failed(wrong, error),
    };
    if claims.common.subject != named {
        return failed(wrong, "subject does not match jwt content".to_owned());
    }
    if trust.known(named).is_none() {
        return Outcome::Done(named.to_owned(), "jwt update skipped".to_owned());
    }
    match trust.runtime().block_on(trust.update(named, token)) {
        Ok(()) => Outcome::Done(named.to_owned(), "jwt updated".to_owned()),
        Err(error) => failed(wrong, error.to_string()),
    }
}

/// A token for the directory, and, if somebody of the account has come before, for what holds now.
fn save(trust: &Trust, directory: &Directory, named: Option<&str>, payload: &[u8]) -> Outcome {
    let full = directory.is_full();
    let wrong = match full {
        true => "jwt update resulted in error",
        false => "jwt update cache resulted in error",
    };
    let failed =
        |account: &str, what: &str, why: String| Outcome::Failed(account.to_owned(), format!("{what} - {why}"));
    let (claims, token) = match read(payload) {
        Ok(read) => read,
        Err(error) => {
            let account = named.filter(|_| !full).unwrap_or("n/a");
            return failed(account, wrong, error);
        }
    };
    let account = claims.common.subject.as_str();
    if let Some(named) = named.filter(|named| *named != account) {
        return failed(named, wrong, "subject does not match jwt content".to_owned());
    }
    let operator = trust.operator();
    if operator.is_some_and(|operator| {
        operator.nats.strict_signing_key_usage && operator.common.subject == claims.common.issuer
    }) {
        return failed(
            account,
            wrong,
            "operator requires issuer to be a signing key".to_owned(),
        );
    }
    // It would be in the place of one that is good, and be good for nobody.
    if !trust.trusts(&claims.common.issuer) {
        return failed(account, wrong, "issuer is not trusted".to_owned());
    }
    if !full && trust.known(account).is_none() {
        return Outcome::Done(account.to_owned(), "jwt update cache skipped".to_owned());
    }
    let errors = claims.check(crate::trust::now()).errors;
    if !errors.is_empty() {
        let what = if full {
            "jwt validation failed"
        } else {
            "jwt update cache validation failed"
        };
        return failed(account, what, format!("validation errors: [{}]", errors.join(" ")));
    }
    match directory.save(account, token) {
        Ok(changed) => {
            if changed && let Err(error) = trust.runtime().block_on(trust.update(account, token)) {
                tracing::error!("DirResolver - Update for account {account:?} resulted in error {error}");
            }
            let message = if full { "jwt updated" } else { "jwt updated cache" };
            Outcome::Done(account.to_owned(), message.to_owned())
        }
        Err(error) => failed(account, wrong, error),
    }
}

/// Accounts that an operator wants to go, in a token that it has signed itself.
fn delete(trust: &Trust, directory: &Directory, system: &str, payload: &[u8]) -> Outcome {
    let request = std::str::from_utf8(payload)
        .map_err(|_| "it is no text".to_owned())
        .and_then(|token| decode_generic(token).map_err(|error| error.to_string()));
    let subject = request
        .as_ref()
        .map_or_else(|_| String::new(), |request| request.common.subject.clone());
    let wanted = request.and_then(|request| {
        let common = &request.common;
        if !directory.deletes() {
            return Err("delete must be enabled in server config".to_owned());
        }
        if common.subject != common.issuer {
            return Err("not self signed".to_owned());
        }
        if !trust.is_operator(&common.issuer) {
            return Err("not trusted".to_owned());
        }
        let malformed = || "malformed request".to_owned();
        let list = request.nats["accounts"].as_array().ok_or_else(malformed)?;
        let mut accounts = Vec::new();
        for entry in list {
            let account = entry
                .as_str()
                .filter(|account| key::is_account(account))
                .ok_or_else(malformed)?;
            if account == system {
                return Err("not allowed to delete system account".to_owned());
            }
            accounts.push(account.to_owned());
        }
        Ok(accounts)
    });
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(error) => {
            let what = format!("delete accounts request by {subject} failed");
            return Outcome::Failed(String::new(), format!("{what} - {error}"));
        }
    };
    let (mut done, mut errors) = (0, Vec::new());
    for account in &wanted {
        match directory.delete(account) {
            Ok(there) => {
                done += 1;
                if there {
                    trust.runtime().block_on(trust.remove(account));
                }
            }
            Err(error) => errors.push(error),
        }
    }
    match errors.is_empty() {
        true => Outcome::Done(String::new(), format!("deleted {done} accounts")),
        false => {
            let what = format!("deleted {done} accounts, failed for {}", errors.len());
            Outcome::Failed(String::new(), format!("{what} - {}", errors.join("\n")))
        }
    }
}
