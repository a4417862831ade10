//! Where the page comes from that opens a WebSocket, as its browser says.

use thiserror::Error;

/// A scheme, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `http` or `https`, say, in small letters.
    pub scheme: String,
    /// The host, in small letters.
    pub host: String,
    /// The port; if none is written, the scheme's.
    pub port: u16,
}

/// A text that is no origin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("parse {0:?}: invalid URI for request")]
pub struct BadOrigin(pub String);

impl Origin {
    /// Reads `scheme://host` or `scheme://host:port`, with or without a path behind it.
    ///
    /// # Errors
    /// It is none of these; `null`, say.
    pub fn parse(text: &str) -> Result<Self, BadOrigin> {
        let bad = || BadOrigin(text.chars().take(200).collect());
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(known) {
            return Err(bad());
        }
        let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = host_and_port(place, scheme == "https").ok_or_else(bad)?;
        Ok(Self { scheme, host, port })
    }
}

/// Takes `host:port` apart; without a port it is that of HTTP, or of HTTPS. `None`: that is no such thing.
pub(super) fn host_and_port(place: &str, tls: bool) -> Option<(String, u16)> {
    let usual = if tls { 443 } else { 80 };
    let (host, port) = match place.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (place, usual),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(host) => host,
        None if host.contains([':', '[', ']']) => return None,
        None => host,
    };
    if host.is_empty() || host.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        return None;
    }
    Some((host.to_ascii_lowercase(), port))
}
