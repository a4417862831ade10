//! The token of an account, by HTTP.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use weir_jwt::MAX_TOKEN;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_millis(1900);

/// What a server answers to GET of this URL with the key behind it.
///
/// # Errors
/// It answers something else than 200, too late, too much, or not at all. The URL is not told: it may hold a password.
pub(super) async fn get(url: &str, key: &str) -> Result<String, String> {
    let whole = format!("{url}{key}");
    match timeout(PATIENCE, fetch(&whole)).await {
        Ok(Ok(token)) => Ok(token),
        Ok(Err(error)) => Err(format!("could not fetch <{:?}>: {error}", shown(&whole))),
        Err(_) => Err(format!("could not fetch <{:?}>: timed out", shown(&whole))),
    }
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

async fn fetch(url: &str) -> Result<String, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let uri: Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
    let host = uri.host().ok_or("it names no host")?.to_owned();
    let port = uri.port_u16().unwrap_or(80);
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((name, port)).await.map_err(|error| told(&error))?;
    let (mut sender, connection) = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|error| told(&error))?;
    let driver = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, format!("{host}:{port}"))
        .body(Empty::new())
        .map_err(|error| told(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| told(&error))?;
    let status = answer.status();
    let outcome = match status {
        StatusCode::OK => match Limited::new(answer.into_body(), MAX_TOKEN).collect().await {
            Ok(body) => String::from_utf8(body.to_bytes().to_vec()).map_err(|_| "it is no text".to_owned()),
            Err(error) => Err(error.to_string()),
        },
        _ => Err(status.to_string()),
    };
    driver.abort();
    outcome
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_password_is_not_told() {
        assert_eq!(shown("http://a:b@host:1/x/"), "http://host:1/x/");
        assert_eq!(shown("http://host"), "http://host");
    }
}
