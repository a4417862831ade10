//! `websocket { … }`: where clients may come in by WebSocket, and which.

use std::fmt;
use std::time::Duration;

use super::{Options, Tls, read, tls};
use crate::error::ConfError;
use crate::file::Entry;

/// Headers of the answer to an upgrade that are WebSocket's own.
const OWN_HEADERS: &[&str] = &[
    "Connection",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Protocol",
    "Upgrade",
];

/// Clients that come in by WebSocket.
#[derive(Clone, PartialEq, Eq)]
pub struct WebSocket {
    /// Host or address to listen on; empty: all there are.
    pub host: String,
    /// Port to listen on; 0 is any free one.
    pub port: u16,
    /// `host[:port]` told in place of that.
    pub advertise: Option<String>,
    /// Without TLS; means nothing where there is some.
    pub no_tls: bool,
    /// TLS; none only if that is meant.
    pub tls: Option<Tls>,
    /// A page must come from the host and port that it connects to.
    pub same_origin: bool,
    /// A page must come from one of these; empty: from anywhere.
    pub allowed_origins: Vec<String>,
    /// Compress for clients that can take it.
    pub compression: bool,
    /// Time for the HTTP request; without one the server has its own.
    pub handshake_timeout: Option<Duration>,
    /// Time between two pings of a silent client, if it is another than for the others.
    pub ping_interval: Option<Duration>,
    /// Cookie that holds the user name of a client that says none.
    pub user_cookie: Option<String>,
    /// Cookie that holds the password of a client that says none.
    pub pass_cookie: Option<String>,
    /// Cookie that holds the token (JWT) of a client that shows none.
    pub jwt_cookie: Option<String>,
    /// Cookie that holds the token of a client that says none.
    pub token_cookie: Option<String>,
    /// Who may come in, in place of those who may otherwise.
    pub auth: WebSocketAuth,
    /// Headers of the answer to an upgrade.
    pub headers: Vec<(String, String)>,
}

/// Who may come in by WebSocket, in place of those who may otherwise. Without user and token: those.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WebSocketAuth {
    /// Name, and password, plain or as a bcrypt hash.
    pub user: Option<(String, String)>,
    /// Token, plain or as a bcrypt hash.
    pub token: Option<String>,
    /// The user that clients without credentials are.
    pub no_auth_user: Option<String>,
    /// Time a client has to send its CONNECT, if it is another than for the others.
    pub timeout: Option<Duration>,
}

impl WebSocketAuth {
    /// Whether it is in place of what holds otherwise.
    #[must_use]
    pub fn overrides(&self) -> bool {
        self.user.is_some() || self.token.is_some() || self.no_auth_user.is_some()
    }
}

// Passwords stay out of logs.
impl fmt::Debug for WebSocketAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketAuth")
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("timeout", &self.timeout)
            .field("no_auth_user", &self.no_auth_user)
            .finish()
    }
}

// What is sent to every page is no secret, but values of headers may be long.
impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

impl Default for WebSocket {
    fn default() -> Self {
        Self {
            host: "0.0.0.0".into(),
            port: 0,
            advertise: None,
            no_tls: false,
            tls: None,
            same_origin: false,
            allowed_origins: Vec::new(),
            compression: false,
            handshake_timeout: None,
            ping_interval: None,
            user_cookie: None,
            pass_cookie: None,
            jwt_cookie: None,
            token_cookie: None,
            auth: WebSocketAuth::default(),
            headers: Vec::new(),
        }
    }
}

/// `websocket { … }`; the block was held against its table before. Without a port nothing listens.
pub(super) fn apply(options: &mut Options, entry: &Entry) -> Result<(), ConfError> {
    let map = read::block(entry)?;
    let mut found = WebSocket::default();
    let (mut port, mut no_auth_user, mut tls) = (None, None, None);
    for e in &map.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "listen" => {
                let (host, given) = read::listen(e)?;
                found.host = host.unwrap_or(found.host);
                port = given;
            }
            "port" => port = read::port_of(e)?,
            "host" | "net" => found.host = read::name(e)?,
            "advertise" => found.advertise = Some(read::name(e)?),
            "no_tls" => found.no_tls = read::boolean(e)?,
            "tls" => tls = Some(e),
            "same_origin" => found.same_origin = read::boolean(e)?,
            "allowed_origins" | "allowed_origin" | "allow_origins" | "allow_origin" | "origins" | "origin" => {
                found.allowed_origins = read::texts(e)?;
            }
            "compress" | "compression" => found.compression = read::boolean(e)?,
            "handshake_timeout" => found.handshake_timeout = Some(read::positive_time(e)?),
            "ping_interval" => found.ping_interval = Some(read::positive_time(e)?),
            "user_cookie" => found.user_cookie = filled(read::text(e)?),
            "pass_cookie" => found.pass_cookie = filled(read::text(e)?),
            "jwt_cookie" => found.jwt_cookie = filled(read::text(e)?),
            "token_cookie" => found.token_cookie = filled(read::text(e)?),
            "authorization" | "authentication" => found.auth = authorization(e)?,
            "no_auth_user" => no_auth_user = filled(read::text(e)?),
            "headers" => found.headers = headers(e)?,
            // What is left asks for what is not there; below, once it is known that somebody may come in.
            _ => {}
        }
    }
    let Some(port) = port else {
        return Ok(());
    };
    found.port = port;
    found.tls = tls.map(|e| tls::block(e, &mut options.warnings)).transpose()?;
    found.auth.no_auth_user = no_auth_user;
    if !found.no_tls && found.tls.is_none() {
        return Err(ConfError::at(
            &entry.pos,
            "websocket requires TLS configuration, or no_tls: true to do without",
        ));
    }
    options.websocket = Some(found);
    Ok(())
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn authorization(entry: &Entry) -> Result<WebSocketAuth, ConfError> {
    let (mut name, mut password, mut auth) = (None, None, WebSocketAuth::default());
    for e in &read::block(entry)?.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "user" | "username" => name = filled(read::text(e)?),
            "pass" | "password" => password = Some(read::text(e)?),
            "token" => auth.token = filled(read::text(e)?),
            "timeout" => auth.timeout = Some(read::positive_time(e)?),
            _ => {}
        }
    }
    let fail = |message: &str| Err(ConfError::at(&entry.pos, message));
    auth.user = match (name, password) {
        (Some(name), Some(password)) => Some((name, password)),
        (Some(_), None) => return fail("authorization has a user without a password"),
        (None, Some(_)) => return fail("authorization has a password without a user"),
        (None, None) => None,
    };
    if auth.user.is_some() && auth.token.is_some() {
        return fail("authorization has both a token and a user: choose one");
    }
    Ok(auth)
}

fn headers(entry: &Entry) -> Result<Vec<(String, String)>, ConfError> {
    let is_token = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let header = |e: &Entry| {
        let value = read::text(e)?;
        if OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(&e.key)) {
            let message = format!("websocket: invalid header {:?} not allowed", e.key);
            return Err(ConfError::at(&e.pos, message));
        }
        if !is_token(&e.key) || value.chars().any(char::is_control) {
            let message = format!("websocket: {:?} cannot be a header with this value", e.key);
            return Err(ConfError::at(&e.pos, message));
        }
        Ok((e.key.clone(), value))
    };
    read::block(entry)?.entries.iter().map(header).collect()
}

/// What the block and the others do not agree on.
pub(crate) fn check(options: &Options) -> Result<(), String> {
    let Some(websocket) = &options.websocket else {
        return Ok(());
    };
    if let Some(cookie) = websocket.jwt_cookie.as_ref().filter(|_| !options.trust.is_on()) {
        return Err(format!(
            "trusted operators or trusted keys configuration is required for JWT authentication via cookie {cookie:?}"
        ));
    }
    let both = |what: &str| {
        Err(format!(
            "websocket authentication {what} not compatible with presence of users/nkeys"
        ))
    };
    let auth = &websocket.auth;
    match (&auth.user, &auth.token) {
        (Some(_), _) if options.auth.users.len() > 1 => both("username"),
        (None, Some(_)) if options.auth.users.len() > 1 => both("token"),
        _ => options.auth.check_no_auth_user(auth.no_auth_user.as_deref()),
    }
}
