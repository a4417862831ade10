//! `ocsp`: which certificates of the server go with what their authority says of them now (a staple). `ocsp_peer`, `ocsp_cache`: what is asked
//! about certificates of clients.

use std::time::Duration;

use super::read;
use super::warning::Warning;
use super::written::Written;
use crate::error::ConfError;
use crate::file::{Entry, Value};

/// URLs of one block at most.
const URLS_MAX: usize = 16;

/// What is said of staples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ocsp {
    /// Which certificates have one.
    pub mode: OcspMode,
    /// Whom to ask in the place of those that the certificates name; empty: those.
    pub urls: Vec<String>,
}

/// Which certificates go with a staple, and what becomes of a server whose certificate is not good any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OcspMode {
    /// Those that say that they do; clients decide what they make of it.
    #[default]
    Auto,
    /// All; the server goes when one is not good.
    Always,
    /// Those that say that they do; the server goes when one is not good.
    Must,
    /// None.
    Never,
}

/// What is asked about certificates of clients, and who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OcspPeer {
    /// Time for one request to a responder.
    pub timeout: Duration,
    /// How far the clock of a responder may be off.
    pub skew: Duration,
    /// Everybody may come in, with a line of the log.
    pub warn_only: bool,
    /// So may those whom a responder does not know.
    pub unknown_is_good: bool,
    /// So may those about whom nobody could be asked, unless it was said before that they may not.
    pub allow_unreachable: bool,
    /// How long an answer counts that does not say it.
    pub unsaid: Duration,
}

impl Default for OcspPeer {
    /// As nats-server.
    fn default() -> Self {
        Self {
            timeout: CA_TIMEOUT,
            skew: Duration::from_secs(30),
            warn_only: false,
            unknown_is_good: false,
            allow_unreachable: false,
            unsaid: Duration::from_secs(3600),
        }
    }
}

const CA_TIMEOUT: Duration = Duration::from_secs(2);

/// `ocsp_peer: true`, `false`, or a block, which was held against its table before. `None`: nothing is asked.
pub(super) fn peer(entry: &Entry) -> Result<Option<OcspPeer>, ConfError> {
    let mut found = OcspPeer::default();
    if let Value::Bool(on) = entry.value.value {
        return Ok(on.then_some(found));
    }
    let mut verify = false;
    for e in &read::block(entry)?.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "verify" => verify = read::boolean(e)?,
            "ca_timeout" => {
                found.timeout = Some(read::time(e)?)
                    .filter(|time| !time.is_zero())
                    .unwrap_or(CA_TIMEOUT)
            }
            "allowed_clockskew" => found.skew = read::time(e)?,
            "warn_only" => found.warn_only = read::boolean(e)?,
            "unknown_is_good" => found.unknown_is_good = read::boolean(e)?,
            "allow_when_ca_unreachable" => found.allow_unreachable = read::boolean(e)?,
            "cache_ttl_when_next_update_unset" => found.unsaid = read::time(e)?,
            // There for a $VARIABLE further down.
            _ => {}
        }
    }
    Ok(verify.then_some(found))
}

/// `ocsp_cache`: whether answers about certificates of clients are remembered.
pub(super) fn cache(entry: &Entry, warnings: &mut Vec<Warning>) -> Result<bool, ConfError> {
    if let Value::Bool(on) = entry.value.value {
        return Ok(on);
    }
    let mut keeps = true;
    for e in &read::block(entry)?.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "type" => keeps = read::text(e)?.eq_ignore_ascii_case("local"),
            "local_store" | "save_interval" => {
                let text = format!(
                    "{:?} has no effect: answers about certificates of clients are kept in memory",
                    e.key
                );
                warnings.push(Warning::new(&e.pos, text));
            }
            "preserve_revoked" if !read::boolean(e)? => {
                let text = "\"preserve_revoked\" has no effect: that a certificate was revoked is not forgotten";
                warnings.push(Warning::new(&e.pos, text));
            }
            _ => {}
        }
    }
    Ok(keeps)
}

/// `ocsp: true`, `ocsp: false`, or a block. It was held against its table before.
pub(super) fn read(entry: &Entry) -> Result<Ocsp, ConfError> {
    let mut found = Ocsp::default();
    if let Value::Bool(on) = entry.value.value {
        found.mode = if on { OcspMode::Auto } else { OcspMode::Never };
        return Ok(found);
    }
    for e in &read::block(entry)?.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "mode" => found.mode = read::word(e, mode)?,
            "url" | "urls" => found.urls = urls(e)?,
            // There for a $VARIABLE further down.
            _ => {}
        }
    }
    Ok(found)
}

fn mode(word: &str) -> Result<OcspMode, String> {
    Ok(match word.to_ascii_lowercase().as_str() {
        "auto" => OcspMode::Auto,
        "always" => OcspMode::Always,
        "must" => OcspMode::Must,
        "never" => OcspMode::Never,
        _ => return Err(format!("{word:?} is not one of auto, always, must, never")),
    })
}

fn urls(entry: &Entry) -> Result<Vec<String>, ConfError> {
    let urls = read::texts(entry)?;
    let is_one = |url: &&String| match url.split_once("://") {
        Some((scheme, rest)) => {
            let known = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
            known && !rest.is_empty()
        }
        None => false,
    };
    if let Some(wrong) = urls.iter().find(|url| !is_one(url)) {
        let message = format!("{}: {} is no URL of http or https", entry.key, read::told(wrong));
        return Err(ConfError::at(&entry.value.pos, message));
    }
    match urls.len() > URLS_MAX {
        true => Err(ConfError::at(
            &entry.value.pos,
            format!("{} are {}, and may be {URLS_MAX}", entry.key, urls.len()),
        )),
        false => Ok(urls),
    }
}

impl Written for Ocsp {
    fn written(&self) -> String {
        match self.mode {
            OcspMode::Auto => "auto",
            OcspMode::Always => "always",
            OcspMode::Must => "must",
            OcspMode::Never => "never",
        }
        .to_owned()
    }
}
