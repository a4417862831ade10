//! What a user may publish and subscribe to.

use std::time::Duration;

use super::read;
use super::schema::{self, Key, Kind, key};
use crate::duration;
use crate::error::ConfError;
use crate::file::{Entry, Node, Value};

/// Answers that a request grants, where nothing else is said.
const RESPONSES: u64 = 1;
/// How long it grants them.
const RESPONSE_TIME: Duration = Duration::from_secs(2 * 60);

/// `permissions { }`
const PERMISSIONS: &[Key] = &[
    key("pub publish import", Kind::Own),
    key("sub subscribe export", Kind::Own),
    key("allow_responses publish_allow_responses", Kind::Own),
];

/// `publish { }` and `subscribe { }`
const SUBJECTS: &[Key] = &[key("allow", Kind::Own), key("deny", Kind::Own)];

/// `allow_responses { }`
const RESPONSE: &[Key] = &[
    key("max max_msgs max_messages max_responses", Kind::Int),
    key("expires expiration ttl", Kind::Text),
];

/// What a user may do. What is not said here is not restricted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects to publish to.
    pub publish: Subjects,
    /// Subjects to subscribe to; each may have a queue behind a blank, and is then about members of that queue.
    pub subscribe: Subjects,
    /// Whether whoever gets a request may answer it, although `publish` does not allow that.
    pub responses: Option<Responses>,
}

/// Filters that allow and that deny.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subjects {
    /// What is allowed; `None`: everything.
    pub allow: Option<Vec<String>>,
    /// What is not, even if it is allowed.
    pub deny: Vec<String>,
}

/// How a request may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Responses {
    /// Answers at most; `None` is any number.
    pub max: Option<u64>,
    /// How long after the request; `None` is for ever.
    pub expires: Option<Duration>,
}

/// `permissions { … }`
pub(super) fn permissions(entry: &Entry) -> Result<Permissions, ConfError> {
    schema::check_block(entry, PERMISSIONS)?;
    let mut found = Permissions::default();
    for e in &read::block(entry)?.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "pub" | "publish" | "import" => found.publish = subjects(e, false)?,
            "sub" | "subscribe" | "export" => found.subscribe = subjects(e, true)?,
            "allow_responses" | "publish_allow_responses" => found.responses = responses(e)?,
            // For a $VARIABLE.
            _ => {}
        }
    }
    if found.responses.is_some() {
        // Answers are what is allowed; nothing else is, unless it is said.
        found.publish.allow.get_or_insert_default();
    }
    Ok(found)
}

/// A list of filters, or what is allowed and denied.
fn subjects(entry: &Entry, queues: bool) -> Result<Subjects, ConfError> {
    let mut found = Subjects::default();
    let Value::Map(map) = &entry.value.value else {
        found.allow = allowed(filters(entry, queues)?);
        return Ok(found);
    };
    schema::check(map, SUBJECTS)?;
    for e in &map.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "allow" => found.allow = allowed(filters(e, queues)?),
            "deny" => found.deny = filters(e, queues)?,
            _ => {}
        }
    }
    Ok(found)
}

/// A list that is empty is, to nats-server, none.
fn allowed(filters: Vec<String>) -> Option<Vec<String>> {
    (!filters.is_empty()).then_some(filters)
}

fn filters(entry: &Entry, queues: bool) -> Result<Vec<String>, ConfError> {
    let nodes: &[Node] = match &entry.value.value {
        Value::Array(nodes) => nodes,
        _ => std::slice::from_ref(&entry.value),
    };
    let one = |node: &Node| match &node.value {
        Value::Str(filter) => check(filter, queues)
            .map(|()| filter.clone())
            .map_err(|message| ConfError::at(&node.pos, message)),
        other => {
            let message = format!("{} takes subjects, not {}", entry.key, other.kind());
            Err(ConfError::at(&node.pos, message))
        }
    };
    nodes.iter().map(one).collect()
}

/// nats-server's rule, in its words.
fn check(filter: &str, queues: bool) -> Result<(), String> {
    if is_subject(filter) {
        return Ok(());
    }
    let words: Vec<&str> = filter.split_whitespace().collect();
    match words[..] {
        [subject, queue] if queues => {
            if !is_subject(subject) {
                return Err(format!("subject {subject:?} is not a valid subject"));
            }
            match is_subject(queue) {
                true => Ok(()),
                false => Err(format!("queue {queue:?} is not a valid queue")),
            }
        }
        _ => Err(format!("subject {filter:?} is not a valid subject")),
    }
}

/// Tokens, none of them empty, with a `>` only at the end.
pub(super) fn is_subject(subject: &str) -> bool {
    let mut tokens = subject.split('.').peekable();
    while let Some(token) = tokens.next() {
        let ends = token == ">" && tokens.peek().is_some();
        if token.is_empty() || ends || token.contains([' ', '\t', '\n', '\r', '\u{c}']) {
            return false;
        }
    }
    true
}

/// `allow_responses: true` or `allow_responses { max, expires }`
fn responses(entry: &Entry) -> Result<Option<Responses>, ConfError> {
    let mut found = Responses {
        max: Some(RESPONSES),
        expires: Some(RESPONSE_TIME),
    };
    match &entry.value.value {
        Value::Bool(wanted) => return Ok(wanted.then_some(found)),
        Value::Map(map) => {
            schema::check(map, RESPONSE)?;
            for e in &map.entries {
                match e.key.to_ascii_lowercase().as_str() {
                    "max" | "max_msgs" | "max_messages" | "max_responses" => match read::int(e, i64::MIN, i64::MAX)? {
                        0 => {}
                        // A negative number has no end.
                        max => found.max = u64::try_from(max).ok(),
                    },
                    "expires" | "expiration" | "ttl" => {
                        let text = read::text(e)?;
                        // A negative time has no end.
                        match text.strip_prefix('-') {
                            Some(text) => {
                                let time = duration::parse(text).map_err(|error| ConfError::at(&e.value.pos, error))?;
                                if !time.is_zero() {
                                    found.expires = None;
                                }
                            }
                            None => {
                                let time =
                                    duration::parse(&text).map_err(|error| ConfError::at(&e.value.pos, error))?;
                                if !time.is_zero() {
                                    found.expires = Some(time);
                                }
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        other => {
            let message = format!(
                "{} must be true, false or a {{ block }}, not {}",
                entry.key,
                other.kind()
            );
            return Err(ConfError::at(&entry.value.pos, message));
        }
    }
    Ok(Some(found))
}
