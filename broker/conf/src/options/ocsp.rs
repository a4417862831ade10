//! `ocsp`: which certificates of the server go with what their authority says of them now (a staple).

use super::read;
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
        let message = format!("{}: {wrong:?} is no URL of http or https", entry.key);
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
