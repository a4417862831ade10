//! The token of an account, by HTTP or HTTPS.

use std::time::Duration;

use tokio::time::timeout;
use weir_jwt::MAX_TOKEN;

use crate::conf::options::CallingTls;
use crate::context::calling;
use crate::http::{Caller, shown};

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_millis(1900);

/// Who fetches tokens.
pub(super) struct Fetcher {
    url: String,
    caller: Caller,
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
                caller: Caller::new(tls, MAX_TOKEN),
            }),
        }
    }

    /// What a server answers to GET of the URL with the key behind it.
    ///
    /// # Errors
    /// It answers something else than 200, too late, too much, or not at all. The URL is told without its password.
    pub async fn get(&self, key: &str) -> Result<String, String> {
        let whole = format!("{}{key}", self.url);
        let why = match timeout(PATIENCE, self.caller.call(&whole, None)).await {
            Ok(Ok(token)) => match String::from_utf8(token) {
                Ok(token) => return Ok(token),
                Err(_) => "it is no text".to_owned(),
            },
            Ok(Err(error)) => error,
            Err(_) => "timed out".to_owned(),
        };
        Err(format!("could not fetch <{:?}>: {why}", shown(&whole)))
    }
}
