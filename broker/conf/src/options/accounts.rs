//! Accounts: who is in them, and what they may use.

use std::collections::HashSet;
use std::sync::Arc;

use nkeys::{KeyPair, KeyPairType};

use super::authorization::{self, User};
use super::schema::{self, Key, Kind, key};
use super::{Options, Warning, mappings, permissions, read, sharing, unsupported};
use crate::error::{ConfError, Faults};
use crate::file::{Entry, Value};
use crate::tenancy::{Found, Tenancy};

/// The name of the account of those who are in no other.
const GLOBAL: &str = "$G";

/// An entry of `accounts`
const ACCOUNT: &[Key] = &[
    key("nkey", Kind::Text),
    key("imports", Kind::Own),
    key("exports", Kind::Own),
    key("jetstream", Kind::Own),
    key("users", Kind::Own),
    key("default_permissions", Kind::Own),
    key("mappings maps", Kind::Own),
    key("limits", Kind::Block(LIMITS)),
    key("msg_trace trace_dest", Kind::Own),
];

/// `msg_trace { }`
const TRACES: &[Key] = &[key("dest", Kind::Own), key("sampling", Kind::Own)];

/// `limits { }`
const LIMITS: &[Key] = &[
    key("max_connections max_conn", Kind::Int),
    key("max_subscriptions max_subs", Kind::Int),
    key("max_payload max_pay", Kind::Int),
    key("max_leafnodes max_leafs", Kind::Int),
];

/// `jetstream { }` of an account
const JETSTREAM: &[Key] = &[
    key("max_memory max_mem mem memory", Kind::Int),
    key("max_store max_file max_disk store disk", Kind::Int),
    key("max_streams streams", Kind::Int),
    key("max_consumers consumers", Kind::Int),
    key("max_bytes_required max_stream_bytes max_bytes", Kind::Bool),
    key("mem_max_stream_bytes memory_max_stream_bytes", Kind::Int),
    key("disk_max_stream_bytes store_max_stream_bytes", Kind::Int),
    key("max_ack_pending", Kind::Int),
    key("cluster_traffic", Kind::Word(&["system", "owner", ""])),
];

/// An account of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountOptions {
    /// Its name.
    pub name: String,
    /// What it may store; `None`: it has no JetStream.
    pub jetstream: Option<AccountJetStream>,
    /// What its clients may use.
    pub limits: AccountLimits,
    /// What it exports, imports and maps.
    pub tenancy: Tenancy,
    /// Where it is told of messages that are part of a trace (`msg_trace`).
    pub traces: Option<AccountTraces>,
}

/// `msg_trace` of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountTraces {
    /// The subject, without wildcards.
    pub dest: String,
    /// Of how many of a hundred messages it is told there: 1 to 100.
    pub sampling: u8,
}

/// What the clients of an account may use. `None` is no limit of the account's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountLimits {
    /// Connections at once.
    pub max_connections: Option<usize>,
    /// Subscriptions of one connection.
    pub max_subscriptions: Option<usize>,
    /// Bytes of one message, headers and body.
    pub max_payload: Option<usize>,
}

/// What an account may store. `None` is no limit of the account's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountJetStream {
    /// Bytes of streams in memory.
    pub max_memory: Option<u64>,
    /// Bytes of other streams.
    pub max_store: Option<u64>,
    /// Streams.
    pub max_streams: Option<u64>,
    /// Consumers of one stream.
    pub max_consumers: Option<u64>,
    /// Whether a stream must say how large it may become.
    pub max_bytes_required: bool,
    /// What a stream in memory may say there, in bytes.
    pub memory_max_stream_bytes: Option<u64>,
    /// What another one may say.
    pub store_max_stream_bytes: Option<u64>,
    /// What a consumer may say for `max_ack_pending`.
    pub max_ack_pending: Option<u64>,
}

/// `accounts { … }` or `accounts [ … ]`
pub(super) fn apply(o: &mut Options, entry: &Entry) -> Result<(), ConfError> {
    let mut names: HashSet<String> = o.accounts.iter().map(|account| account.name.clone()).collect();
    match &entry.value.value {
        Value::Array(_) => {
            for name in read::texts(entry)? {
                add(o, &mut names, entry, bare(name))?;
            }
        }
        _ => {
            let mut faults = Faults::default();
            // Others are there for a $VARIABLE.
            for e in read::block(entry)?.entries.iter().filter(|e| !e.is_variable) {
                faults.take(account(o, &mut names, e));
            }
            faults.end()?;
        }
    }
    authorization::unique(&o.auth.users).map_err(|message| ConfError::at(&entry.pos, message))?;
    let all = o
        .accounts
        .iter()
        .map(|account| (account.name.as_str(), &account.tenancy));
    match Found::of(all).faults.first() {
        Some(fault) => Err(ConfError::at(&entry.value.pos, fault.why.clone())),
        None => Ok(()),
    }
}

fn bare(name: String) -> AccountOptions {
    AccountOptions {
        name,
        jetstream: None,
        limits: AccountLimits::default(),
        tenancy: Tenancy::default(),
        traces: None,
    }
}

/// `names`: of the accounts that are there already.
fn add(o: &mut Options, names: &mut HashSet<String>, entry: &Entry, account: AccountOptions) -> Result<(), ConfError> {
    let name = &account.name;
    let fail = |message: String| Err(ConfError::at(&entry.pos, message));
    if name == GLOBAL {
        return fail(format!("{name:?} is a Reserved Account"));
    }
    if name.is_empty() || name.contains(char::is_whitespace) {
        return fail(format!("the account {name:?} must not be empty or contain blanks"));
    }
    if !names.insert(name.clone()) {
        return fail(format!("Duplicate Account Entry: {name}"));
    }
    o.accounts.push(account);
    Ok(())
}

fn account(o: &mut Options, names: &mut HashSet<String>, entry: &Entry) -> Result<(), ConfError> {
    let mut found = bare(entry.key.clone());
    let (mut users, mut permissions) = (Vec::new(), None);
    let mut faults = Faults::default();
    let warnings = &mut o.warnings;
    let mut key = |e: &Entry| {
        schema::check_entry(e, ACCOUNT)?;
        match e.key.to_ascii_lowercase().as_str() {
            "users" => authorization::users(e).map(|read| users = read),
            "default_permissions" => permissions::permissions(e).map(|read| permissions = Some(Arc::new(read))),
            "jetstream" => jetstream(e).map(|read| found.jetstream = read),
            "limits" => limits(e).map(|read| found.limits = read),
            "exports" => sharing::exports(&mut found.tenancy, e),
            "imports" => sharing::imports(&mut found.tenancy, e),
            "mappings" | "maps" => mappings::apply(&mut found.tenancy, e),
            "msg_trace" | "trace_dest" => traces(e, warnings).map(|read| found.traces = read),
            // Nobody asks an account of the configuration for its key, here as in nats-server.
            "nkey" => nkey(e),
            _ => unsupported::refuse(e, ACCOUNT),
        }
    };
    for e in &read::block(entry)?.entries {
        faults.take(key(e));
    }
    faults.end()?;
    authorization::by_default(&mut users, permissions.as_ref());
    let of = |user: User| User {
        account: Some(entry.key.clone()),
        ..user
    };
    o.auth.users.extend(users.into_iter().map(of));
    add(o, names, entry, found)
}

/// The public key of an account.
fn nkey(entry: &Entry) -> Result<(), ConfError> {
    let wrong = |shown: String| {
        let message = format!("Not a valid public nkey for an account: {shown}");
        Err(ConfError::at(&entry.value.pos, message))
    };
    match &entry.value.value {
        Value::Str(text) => {
            let key = KeyPair::from_public_key(text).ok();
            match key.is_some_and(|key| key.key_pair_type() == KeyPairType::Account) {
                true => Ok(()),
                false => wrong(read::told(text)),
            }
        }
        other => wrong(other.go_kind().to_owned()),
    }
}

/// A number that a negative one means "no limit" for.
fn limit(entry: &Entry) -> Result<Option<u64>, ConfError> {
    Ok(u64::try_from(read::int(entry, i64::MIN, i64::MAX)?).ok())
}

/// The same, where 0 means that as well.
fn positive(entry: &Entry) -> Result<Option<usize>, ConfError> {
    Ok(read::limit(entry)?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)))
}

fn limits(entry: &Entry) -> Result<AccountLimits, ConfError> {
    let mut found = AccountLimits::default();
    for e in &read::block(entry)?.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "max_connections" | "max_conn" => found.max_connections = positive(e)?,
            "max_subscriptions" | "max_subs" => found.max_subscriptions = positive(e)?,
            "max_payload" | "max_pay" => found.max_payload = positive(e)?,
            // There are no leaf nodes, which is no more than any number of them; or it is there for a $VARIABLE further down.
            _ => {}
        }
    }
    Ok(found)
}

/// `msg_trace: subject` or `msg_trace { dest, sampling }`; one that says nothing is none.
fn traces(entry: &Entry, warnings: &mut Vec<Warning>) -> Result<Option<AccountTraces>, ConfError> {
    let dest = |e: &Entry| -> Result<String, ConfError> {
        let fail = |message: String| Err(ConfError::at(&e.value.pos, message));
        match &e.value.value {
            Value::Str(dest) if weir_subject::is_literal(dest.as_bytes()) => Ok(dest.clone()),
            Value::Str(dest) => fail(format!("Trace destination {dest:?} is not valid")),
            _ => fail(format!("Field {:?} should be a string", e.key)),
        }
    };
    if !matches!(entry.value.value, Value::Map(_)) {
        let dest = dest(entry)?;
        return Ok(Some(AccountTraces { dest, sampling: 100 }));
    }
    schema::check_block(entry, TRACES)?;
    let (mut to, mut share) = (None, None);
    for e in &read::block(entry)?.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "dest" => to = Some(dest(e)?),
            "sampling" => share = Some(sampling(e)?),
            _ => {}
        }
    }
    if to.is_none() && share.is_some() {
        let pos = &entry.value.pos;
        let text = format!("{pos}: Trace destination sampling ignored since no destination was set");
        warnings.push(Warning::doubtful(text));
    }
    Ok(to.map(|dest| AccountTraces {
        dest,
        sampling: share.unwrap_or(100),
    }))
}

/// A percentage, with its sign or as a number.
fn sampling(entry: &Entry) -> Result<u8, ConfError> {
    let fail = |message: String| Err(ConfError::at(&entry.value.pos, message));
    let number = match &entry.value.value {
        Value::Int(number) => *number,
        Value::Str(text) => match text.strip_suffix('%').unwrap_or(text).parse::<i64>() {
            Ok(number) => number,
            Err(_) => return fail(format!("Invalid trace destination sampling value {text:?}")),
        },
        _ => {
            let key = &entry.key;
            return fail(format!(
                "Trace destination sampling field {key:?} should be an integer or a percentage"
            ));
        }
    };
    match u8::try_from(number) {
        Ok(share @ 1..=100) => Ok(share),
        _ => fail(format!(
            "Trace destination sampling value {number} is invalid, needs to be [1..100]"
        )),
    }
}

fn jetstream(entry: &Entry) -> Result<Option<AccountJetStream>, ConfError> {
    match &entry.value.value {
        Value::Bool(on) => return Ok(on.then(AccountJetStream::default)),
        Value::Str(text) => {
            return match text.to_ascii_lowercase().as_str() {
                "enabled" | "enable" => Ok(Some(AccountJetStream::default())),
                "disabled" | "disable" => Ok(None),
                _ => {
                    let message = format!("Expected 'enabled' or 'disabled' for string value, got '{text}'");
                    Err(ConfError::at(&entry.value.pos, message))
                }
            };
        }
        _ => {}
    }
    schema::check_block(entry, JETSTREAM)?;
    let mut found = AccountJetStream::default();
    for e in &read::block(entry)?.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "max_memory" | "max_mem" | "mem" | "memory" => found.max_memory = limit(e)?,
            "max_store" | "max_file" | "max_disk" | "store" | "disk" => found.max_store = limit(e)?,
            "max_streams" | "streams" => found.max_streams = limit(e)?.filter(|&most| most > 0),
            "max_consumers" | "consumers" => found.max_consumers = limit(e)?.filter(|&most| most > 0),
            "max_bytes_required" | "max_stream_bytes" | "max_bytes" => found.max_bytes_required = read::boolean(e)?,
            "mem_max_stream_bytes" | "memory_max_stream_bytes" => {
                found.memory_max_stream_bytes = limit(e)?.filter(|&most| most > 0);
            }
            "disk_max_stream_bytes" | "store_max_stream_bytes" => {
                found.store_max_stream_bytes = limit(e)?.filter(|&most| most > 0);
            }
            "max_ack_pending" => found.max_ack_pending = limit(e)?.filter(|&most| most > 0),
            // `cluster_traffic`: a cluster that consists of this server has none. Or it is there for a $VARIABLE further down.
            _ => {}
        }
    }
    Ok(Some(found))
}
