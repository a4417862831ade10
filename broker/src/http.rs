//! What the server asks others by HTTP or HTTPS: answers of a bounded size, wherever they are said to be.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Times that one may be sent on to elsewhere, as Go has it.
const REDIRECTS_MAX: usize = 10;
/// Bytes of the head of an answer.
const HEAD_MAX: usize = 16 * 1024;

/// Who asks. How long it may take is for whoever waits to say.
pub(crate) struct Caller {
    /// How it is done by TLS, or why it cannot be.
    tls: Result<Arc<ClientConfig>, String>,
    /// Bytes of an answer, at most.
    most: usize,
}

/// What is sent along.
#[derive(Clone, Copy)]
pub(crate) struct Posted<'p> {
    pub kind: &'static str,
    /// The kind that the answer is to be of.
    pub wanted: &'static str,
    pub body: &'p [u8],
}

/// What comes of one request.
enum Told {
    Answer(Vec<u8>),
    /// It is elsewhere.
    Elsewhere(String),
}

impl Caller {
    /// By TLS as this has it, where a URL wants that, and for answers of that many bytes at most.
    pub fn new(tls: Result<Arc<ClientConfig>, String>, most: usize) -> Self {
        Self { tls, most }
    }

    /// What a server answers to GET, or to POST if something is sent along.
    ///
    /// # Errors
    /// It answers something else than 200, too much, or not at all. The URL is not told.
    pub async fn call(&self, url: &str, posted: Option<Posted<'_>>) -> Result<Vec<u8>, String> {
        let mut at: Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
        for _ in 0..=REDIRECTS_MAX {
            match self.fetch(&at, posted).await? {
                Told::Answer(answer) => return Ok(answer),
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

    async fn fetch(&self, uri: &Uri, posted: Option<Posted<'_>>) -> Result<Told, String> {
        let host = uri.host().ok_or("it names no host")?;
        let secure = is_https(uri);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((name, port))
            .await
            .map_err(|error| error.to_string())?;
        if !secure {
            return ask(stream, uri, posted, self.most).await;
        }
        let config = self.tls.as_ref().map_err(Clone::clone)?;
        let name = ServerName::try_from(name.to_owned()).map_err(|_| "its host has no name".to_owned())?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
        ask(stream.map_err(|error| error.to_string())?, uri, posted, self.most).await
    }
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme_str()
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

/// Asks on a connection, which ends with the answer.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uri: &Uri,
    posted: Option<Posted<'_>>,
    most: usize,
) -> Result<Told, String> {
    let mut http = http1::Builder::new();
    let (mut sender, connection) = http
        .max_buf_size(HEAD_MAX)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let authority = uri
        .authority()
        .map(hyper::http::uri::Authority::as_str)
        .unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().uri(path).header(HOST, host);
    if !user.is_empty() {
        request = request.header(AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(plain(user))));
    }
    let body = match posted {
        Some(posted) => {
            request = request.method(Method::POST).header(CONTENT_TYPE, posted.kind);
            request = request.header(ACCEPT, posted.wanted);
            Bytes::copy_from_slice(posted.body)
        }
        None => Bytes::new(),
    };
    let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        // What was sent along may be sent elsewhere where that is what is said, and not where the answer is only to be got.
        let goes_along = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        if status.is_redirection() && (posted.is_none() || goes_along) {
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
        let body = Limited::new(answer.into_body(), most).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok(Told::Answer(body.to_vec()))
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
pub(crate) fn shown(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            // A query may hold a token.
            let rest = rest.split(['?', '#']).next().unwrap_or_default();
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
