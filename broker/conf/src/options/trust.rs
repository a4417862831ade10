//! Operator mode: whose word about accounts and users is taken, and where accounts are found.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use weir_jwt::{OperatorClaims, decode, key, undecorated};

use super::schema::{self, Key, Kind, key};
use super::{CallingTls, Options, read};
use crate::error::ConfError;
use crate::file::{Entry, Value};

/// What every token begins with.
const TOKEN: &str = "eyJ";
/// How long an account is looked for, unless the file says otherwise.
const FETCH_TIMEOUT: Duration = Duration::from_millis(1900);
/// How often a full resolver looks what others have, unless the file says otherwise.
const INTERVAL: Duration = Duration::from_secs(60);
/// Accounts that a cache holds, unless the file says otherwise.
const CACHE_LIMIT: usize = 1000;

/// `resolver { }`
const RESOLVER: &[Key] = &[
    key("type", Kind::Text),
    key("dir", Kind::Text),
    key("allow_delete", Kind::Bool),
    key("hard_delete", Kind::Bool),
    key("limit", Kind::Int),
    key("ttl", Kind::Text),
    key("interval", Kind::Text),
    key("timeout", Kind::Text),
];

/// Whose word is taken about accounts and users. Without keys: nobody's, and users are those of the configuration.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Operators.
    pub operators: Vec<OperatorClaims>,
    /// The same, as they are signed.
    pub operator_jwts: Vec<String>,
    /// Public keys of operators, and of what signs for them.
    pub keys: Vec<String>,
    /// Of these, those of operators whose accounts only sign by signing keys.
    pub strict_keys: Vec<String>,
    /// Where accounts are found.
    pub resolver: Option<Resolver>,
    /// TLS with where accounts are looked up by HTTP; `None`: as is usual.
    pub resolver_tls: Option<CallingTls>,
    /// Accounts that are there from the start: tokens by their keys.
    pub preload: BTreeMap<String, String>,
    /// Accounts that users may be in; empty: all.
    pub pinned: Vec<String>,
    /// The token of clients that show none.
    pub default_sentinel: Option<String>,
}

/// Where accounts are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolver {
    /// In the configuration.
    Memory,
    /// By HTTP, or HTTPS: this, with the account's key behind it.
    Url(String),
    /// In a directory that has all of them.
    Full {
        /// The directory.
        dir: PathBuf,
        /// What becomes of an account that is deleted; `None`: none is.
        delete: Option<Deletion>,
        /// How often it is looked what other servers have.
        interval: Duration,
        /// Accounts at most; `None`: any number.
        limit: Option<usize>,
        /// How long an account is looked for.
        timeout: Duration,
    },
    /// In a directory that has those that were asked for.
    Cache {
        /// The directory.
        dir: PathBuf,
        /// How long one is there that nobody asks for; `None`: until it expires.
        ttl: Option<Duration>,
        /// Accounts at most; those that were not asked for longest make room.
        limit: usize,
        /// How long an account is looked for.
        timeout: Duration,
    },
}

/// What becomes of the file of an account that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It gets another name.
    Rename,
    /// It is removed.
    Remove,
}

impl Trust {
    /// Whether users prove themselves by tokens.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether this key signs accounts.
    #[must_use]
    pub fn has(&self, issuer: &str) -> bool {
        self.keys.iter().any(|key| key == issuer)
    }
}

// Tokens stay out of logs.
impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("keys", &self.keys)
            .field("resolver", &self.resolver)
            .field("preload", &self.preload.keys())
            .finish_non_exhaustive()
    }
}

/// A key of the file that is about this.
pub(super) fn apply(o: &mut Options, entry: &Entry) -> Result<(), ConfError> {
    match entry.key.to_ascii_lowercase().as_str() {
        "trusted" | "trusted_keys" => {
            o.trust.keys = read::texts(entry)?;
            // What stands there may be the seed.
            match o.trust.keys.iter().all(|key| key::is_operator(key)) {
                true => Ok(()),
                false => fail(entry, "each trust key is required to be a valid public operator nkey"),
            }
        }
        "resolver" | "account_resolver" | "accounts_resolver" => {
            o.trust.resolver = Some(resolver(entry)?);
            Ok(())
        }
        "resolver_preload" => preload(o, entry),
        "resolver_pinned_accounts" => {
            o.trust.pinned = read::texts(entry)?;
            Ok(())
        }
        "default_sentinel" => {
            o.trust.default_sentinel = Some(read::text(entry)?).filter(|text| !text.is_empty());
            Ok(())
        }
        _ => operators(o, entry),
    }
}

fn fail<T>(entry: &Entry, message: impl Into<String>) -> Result<T, ConfError> {
    Err(ConfError::at(&entry.value.pos, message))
}

/// Files that hold operators, or these themselves.
fn operators(o: &mut Options, entry: &Entry) -> Result<(), ConfError> {
    for text in read::texts(entry)? {
        let contents = match std::fs::read_to_string(&text) {
            Ok(contents) => contents,
            Err(_) if text.starts_with(TOKEN) => text,
            Err(error) => {
                let message = format!("error parsing operator JWT: open {}: {error}", read::told(&text));
                return fail(entry, message);
            }
        };
        let token = undecorated(&contents).trim().to_owned();
        match decode(&token).and_then(weir_jwt::Token::operator) {
            Ok(claims) => {
                o.trust.operators.push(claims);
                o.trust.operator_jwts.push(token);
            }
            Err(error) => return fail(entry, format!("error parsing operator JWT: {error}")),
        }
    }
    Ok(())
}

fn preload(o: &mut Options, entry: &Entry) -> Result<(), ConfError> {
    for e in &read::block(entry)?.entries {
        let token = read::text(e)?;
        if decode(&token).and_then(weir_jwt::Token::account).is_err() {
            return fail(e, "invalid account JWT");
        }
        o.trust.preload.insert(e.key.clone(), token);
    }
    Ok(())
}

fn resolver(entry: &Entry) -> Result<Resolver, ConfError> {
    match &entry.value.value {
        Value::Map(_) => directory(entry),
        _ => {
            let text = read::text(entry)?;
            let word = text.trim();
            if ["mem", "memory"].iter().any(|name| word.eq_ignore_ascii_case(name)) {
                return Ok(Resolver::Memory);
            }
            let inner = word
                .get(..3)
                .filter(|start| start.eq_ignore_ascii_case("url"))
                .and_then(|_| word[3..].trim().strip_prefix('('))
                .and_then(|rest| rest.strip_suffix(')'));
            match inner {
                Some(inner) => url(inner.trim().trim_matches('"').trim())
                    .map(Resolver::Url)
                    .or_else(|message| fail(entry, message)),
                None => fail(
                    entry,
                    "error parsing account resolver, should be MEM or  URL(\"url\") or a map containing dir and type state=[FULL|CACHE])",
                ),
            }
        }
    }
}

/// A URL that accounts are looked up under, with a slash behind it.
fn url(text: &str) -> Result<String, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!(
            "error parsing account resolver url [{}]: it has no scheme",
            read::told(text)
        ));
    };
    let known = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if !known || host.is_empty() || text.contains(char::is_whitespace) {
        return Err(format!(
            "error parsing account resolver url [{}]: it is no http URL",
            read::told(text)
        ));
    }
    Ok(match text.ends_with('/') {
        true => text.to_owned(),
        false => format!("{text}/"),
    })
}

fn directory(entry: &Entry) -> Result<Resolver, ConfError> {
    schema::check_block(entry, RESOLVER)?;
    let (mut kind, mut dir, mut allow, mut hard) = (String::new(), String::new(), false, None);
    let (mut limit, mut ttl, mut interval, mut timeout) = (0, Duration::ZERO, Duration::ZERO, FETCH_TIMEOUT);
    for e in &read::block(entry)?.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "type" => kind = read::text(e)?,
            "dir" => dir = read::text(e)?,
            "allow_delete" => allow = read::boolean(e)?,
            "hard_delete" => hard = Some(read::boolean(e)?),
            "limit" => limit = read::int(e, i64::MIN, i64::MAX)?,
            "ttl" => ttl = read::time(e)?,
            "interval" => interval = read::time(e)?,
            "timeout" => timeout = read::positive_time(e)?,
            _ => {}
        }
    }
    let limit = usize::try_from(limit).ok().filter(|&limit| limit > 0);
    let kind = kind.to_ascii_uppercase();
    if ["FULL", "CACHE"].contains(&kind.as_str()) {
        if dir.is_empty() {
            return fail(entry, "dir has no value and needs to point to a directory");
        }
        if std::fs::metadata(&dir).is_ok_and(|there| !there.is_dir()) {
            return fail(entry, "dir needs to point to an accessible directory");
        }
    }
    let dir = PathBuf::from(dir);
    match kind.as_str() {
        "MEM" | "MEMORY" => Ok(Resolver::Memory),
        "FULL" => {
            if !ttl.is_zero() {
                return fail(entry, "FULL does not accept ttl");
            }
            if hard.is_some() && !allow {
                return fail(entry, "hard_delete has no effect without delete");
            }
            let delete = allow.then_some(match hard {
                Some(true) => Deletion::Remove,
                _ => Deletion::Rename,
            });
            let interval = if interval.is_zero() { INTERVAL } else { interval };
            Ok(Resolver::Full {
                dir,
                delete,
                interval,
                limit,
                timeout,
            })
        }
        "CACHE" => {
            if !interval.is_zero() {
                return fail(entry, "CACHE does not accept sync");
            }
            if allow {
                return fail(entry, "CACHE does not accept allow_delete");
            }
            if hard.is_some() {
                return fail(entry, "CACHE does not accept hard_delete");
            }
            Ok(Resolver::Cache {
                dir,
                ttl: Some(ttl).filter(|ttl| !ttl.is_zero()),
                limit: limit.unwrap_or(CACHE_LIMIT),
                timeout,
            })
        }
        _ => fail(
            entry,
            "error parsing account resolver, should be MEM or  URL(\"url\") or a map containing dir and type state=[FULL|CACHE])",
        ),
    }
}

/// Fills in what operators say, and holds it against the rest.
pub(crate) fn settle(o: &mut Options) -> Result<(), String> {
    let only = match &o.trust.operators[..] {
        [only] => Some(only.clone()),
        _ => None,
    };
    if let Some(only) = only {
        // What the file says itself comes first.
        if o.trust.resolver.is_none() && !only.nats.account_server_url.is_empty() {
            let accounts = format!("{}/accounts", only.nats.account_server_url);
            o.trust.resolver = Some(Resolver::Url(url(&accounts)?));
        }
        if o.system_account.is_none() && !only.nats.system_account.is_empty() {
            o.system_account = Some(only.nats.system_account);
        }
    }
    check(o)?;
    for operator in &o.trust.operators {
        let keys = &operator.nats.signing_keys;
        if operator.nats.strict_signing_key_usage {
            o.trust.strict_keys.extend(keys.iter().cloned());
        } else {
            o.trust.keys.push(operator.common.subject.clone());
        }
        o.trust.keys.extend(keys.iter().cloned());
    }
    if let Some(key) = o.trust.keys.iter().find(|key| !key::is_operator(key)) {
        return Err(format!(
            "trusted Keys {} are required to be a valid public operator nkey",
            read::told(key)
        ));
    }
    if let Some(key) = o.trust.pinned.iter().find(|key| !key::is_account(key)) {
        return Err(format!(
            "pinned account key {} is not a valid public account nkey",
            read::told(key)
        ));
    }
    if !o.trust.pinned.is_empty()
        && let Some(system) = &o.system_account
        && !o.trust.pinned.contains(system)
    {
        o.trust.pinned.push(system.clone());
    }
    Ok(())
}

/// What does not go together.
fn check(o: &Options) -> Result<(), String> {
    let trust = &o.trust;
    let fail = |text: &str| Err(text.to_owned());
    let Some(first) = trust.operators.first() else {
        return match trust.default_sentinel {
            Some(_) => fail("default sentinel requires operators and accounts"),
            None => Ok(()),
        };
    };
    if let Some(sentinel) = &trust.default_sentinel {
        match decode(sentinel).and_then(weir_jwt::Token::user) {
            Err(_) => return fail("default sentinel JWT not valid"),
            Ok(user) => {
                // One of a scoped key may become one that needs no more when its account is known.
                let scoped = !user.nats.issuer_account.is_empty() && user.has_empty_permissions();
                if !user.nats.rights.bearer_token && !scoped {
                    return fail("default sentinel must be a bearer token");
                }
            }
        }
    }
    if trust.resolver.is_none() {
        return fail("operators require an account resolver to be configured");
    }
    if !o.accounts.is_empty() {
        return fail("operators do not allow Accounts to be configured directly");
    }
    if !o.auth.users.is_empty() || o.auth.token.is_some() {
        return fail("operators do not allow users to be configured directly");
    }
    if !trust.keys.is_empty() {
        return fail("conflicting options for 'TrustedKeys' and 'TrustedOperators'");
    }
    if o.auth.callout.is_some() {
        return fail("operators do not allow authorization callouts to be configured directly");
    }
    if o.auth.no_auth_user.is_some() {
        return fail("no_auth_user not compatible with Trusted Operator");
    }
    let said = |operator: &&OperatorClaims| !operator.nats.system_account.is_empty();
    match &o.system_account {
        Some(system) => {
            let same = |operator: &OperatorClaims| operator.nats.system_account == *system;
            if trust.operators.iter().any(|operator| said(&operator)) && !trust.operators.iter().any(same) {
                return fail("system_account in config and operator JWT must be identical");
            }
        }
        None if !said(&first) && matches!(trust.resolver, Some(Resolver::Full { .. } | Resolver::Cache { .. })) => {
            return fail(
                "using nats based account resolver - the system account needs to be specified in configuration or the operator jwt",
            );
        }
        None => {}
    }
    if matches!(trust.resolver, Some(Resolver::Url(_))) && !trust.preload.is_empty() {
        return fail("resolver preloads only available for writeable resolver types MEM/DIR/CACHE_DIR");
    }
    trust.operators.iter().try_for_each(version)
}

/// Whether this server is as new as an operator wants.
fn version(operator: &OperatorClaims) -> Result<(), String> {
    let (subject, asserted) = (&operator.common.subject, &operator.nats.assert_server_version);
    let wanted = weir_jwt::server_version(asserted)
        .map_err(|error| format!("operator {subject} expects version {asserted} got error instead: {error}"))?;
    let own = weir_jwt::server_version(crate::flags::NATS_VERSION)?;
    let parts = [
        ("major", wanted.0, own.0),
        ("minor", wanted.1, own.1),
        ("update", wanted.2, own.2),
    ];
    match parts.into_iter().find(|(_, wanted, own)| wanted != own) {
        Some((part, wanted, own)) if wanted > own => Err(format!(
            "operator {subject} expected {part} version {wanted} > server {part} version {own}"
        )),
        _ => Ok(()),
    }
}
