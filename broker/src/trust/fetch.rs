//! The token of an account, by HTTP or HTTPS.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, LOCATION};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use weir_jwt::MAX_TOKEN;

use crate::conf::options::CallingTls;
use crate::context::calling;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_millis(1900);
/// Times that one may be sent on to elsewhere, as Go has it.
const REDIRECTS_MAX: usize = 10;
/// Bytes of the head of an answer.
const HEAD_MAX: usize = 16 * 1024;

/// Who fetches tokens.
pub(super) struct Fetcher {
    url: String,
    /// How it is done by TLS, or why it cannot be.
    tls: Result<Arc<ClientConfig>, String>,
}

/// What comes of one request.
enum Told {
    Token(String),
    /// It is elsewhere.
    Elsewhere(String),
}

impl Fetcher {
    /// From this URL, to which keys are appended.
    ///
    /// # Errors
    /// TLS is needed, and there is something wrong with what that needs.
    pub fn new(url: &str, tls: Option<&CallingTls>) -> Result<Self, String> {
        let config = calling(&tls.cloned().unwrap_or_default()).map_err(|why| format!("resolver_tls: {why}"));
        let wanted = tls.is_some() || url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
        match config {
            Err(why) if wanted => Err(why),
            tls => Ok(Self {
                url: url.to_owned(),
                tls,
            }),
        }
    }

    /// What a server answers to GET of the URL with the key behind it.
    ///
    /// # Errors
    /// It answers something else than 200, too late, too much, or not at all. The URL is told without its password.
    pub async fn get(&self, key: &str) -> Result<String, String> {
        let whole = format!("{}{key}", self.url);
        match timeout(PATIENCE, self.follow(&whole)).await {
            Ok(Ok(token)) => Ok(token),
            Ok(Err(error)) => Err(format!("could not fetch <{:?}>: {error}", shown(&whole))),
            Err(_) => Err(format!("could not fetch <{:?}>: timed out", shown(&whole))),
        }
    }

    async fn follow(&self, url: &str) -> Result<String, String> {
        let mut at: Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
        for _ in 0..=REDIRECTS_MAX {
            match self.fetch(&at).await? {
                Told::Token(token) => return Ok(token),
                Told::Elsewhere(location) => {
                    let next = joined(&at, &location).ok_or("it is said to be at what is no URL")?;
                    // Whoever could read or change what is not encrypted could send us where he likes.
                    if is_https(&at) && !is_https(&next) {
                        return Err("it is said to be where nothing is encrypted".to_owned());
                    }
                    at = next;
                }
            }
        }
        Err(format!("stopped after {REDIRECTS_MAX} redirects"))
    }

    async fn fetch(&self, uri: &Uri) -> Result<Told, String> {
        let host = uri.host().ok_or("it names no host")?;
        let secure = is_https(uri);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((name, port))
            .await
            .map_err(|error| error.to_string())?;
        if !secure {
            return ask(stream, uri).await;
        }
        let config = self.tls.as_ref().map_err(Clone::clone)?;
        let name = ServerName::try_from(name.to_owned()).map_err(|_| "its host has no name".to_owned())?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
        ask(stream.map_err(|error| error.to_string())?, uri).await
    }
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme_str()
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

/// Asks on a connection, which ends with the answer.
async fn ask(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, uri: &Uri) -> Result<Told, String> {
    let mut http = http1::Builder::new();
    let (mut sender, connection) = http
        .max_buf_size(HEAD_MAX)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let authority = uri
        .authority()
        .map(hyper::http::uri::Authority::as_str)
        .unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::get(path).header(HOST, host);
    if !user.is_empty() {
        request = request.header(AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(plain(user))));
    }
    let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        if status.is_redirection() {
            let location = answer
                .headers()
                .get(LOCATION)
                .and_then(|location| location.to_str().ok());
            return location
                .map(|location| Told::Elsewhere(location.to_owned()))
                .ok_or(status.to_string());
        }
        if status != StatusCode::OK {
            return Err(status.to_string());
        }
        let body = Limited::new(answer.into_body(), MAX_TOKEN).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        match String::from_utf8(body.to_vec()) {
            Ok(token) => Ok(Told::Token(token)),
            Err(_) => Err("it is no text".to_owned()),
        }
    };
    // The connection goes with this: nobody is left to read for whom nobody waits.
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        told = &mut exchange => told,
        _ = &mut connection => exchange.await,
    }
}

/// A user and a password as they are, not as a URL has them.
fn plain(user: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(user.len());
    let mut rest = user.as_bytes();
    while let [first, behind @ ..] = rest {
        let digits = behind
            .first_chunk::<2>()
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &behind[2..];
            }
            (other, _) => {
                out.push(*other);
                rest = behind;
            }
        }
    }
    out
}

/// Where a `Location` leads that was said at this place: elsewhere, or on the same server.
fn joined(base: &Uri, location: &str) -> Option<Uri> {
    let there: Uri = location.parse().ok()?;
    if there.scheme().is_some() {
        let known = ["http", "https"].iter().any(|known| there.scheme_str() == Some(known));
        return (known && there.host().is_some()).then_some(there);
    }
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let whole = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    whole.parse().ok().filter(|uri: &Uri| uri.host().is_some())
}

/// Without user and password.
fn shown(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_told() {
        assert_eq!(shown("http://a:b@host:1/x/"), "http://host:1/x/");
        assert_eq!(shown("http://host"), "http://host");
    }

    #[test]
    fn a_password_is_what_the_url_says() {
        assert_eq!(plain("a:b%20c%zz%4"), b"a:b c%zz%4");
    }

    #[test]
    fn locations_are_followed_from_where_they_were_said() {
        let base: Uri = "https://a:b@host:1/x/y?z".parse().unwrap();
        let joined = |location: &str| joined(&base, location).map(|uri| uri.to_string());
        for (location, expected) in [
            ("http://other/p", Some("http://other/p")),
            ("//other/p", Some("https://other/p")),
            ("/p?q", Some("https://a:b@host:1/p?q")),
            ("p", Some("https://a:b@host:1/x/p")),
            ("ftp://other/", None),
            ("http:///x", None),
            ("", None),
        ] {
            assert_eq!(joined(location).as_deref(), expected, "{location:?}");
        }
    }
}
