//! Asking responders, by HTTP (RFC 6960, appendix A).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use tokio::time::timeout;

use super::answer::Answer;
use super::subject::Subject;
use crate::http::{Caller, Posted, shown};
use crate::limits::{OCSP_PATIENCE, OCSP_REQUEST};

const REQUEST: &str = "application/ocsp-request";
const RESPONSE: &str = "application/ocsp-response";

/// Asks these responders about a certificate, one after the other, until one has an answer that counts: by POST, and those that do not
/// take that by GET.
///
/// # Errors
/// None has one; what each says. URLs are told without their passwords.
pub(super) async fn ask(
    caller: &Caller,
    urls: &[String],
    about: &Subject,
    now: &(dyn Fn() -> Timestamp + Send + Sync),
) -> Result<Answer, String> {
    if urls.is_empty() {
        return Err("no available ocsp servers".to_owned());
    }
    let request = about.request()?;
    let mut failed = Vec::new();
    let all = async {
        for url in urls {
            let url = url.trim_end_matches('/');
            let by_get = format!("{url}/{}", escaped(&BASE64_STANDARD.encode(&request)));
            let posted = Posted {
                kind: REQUEST,
                wanted: RESPONSE,
                body: &request,
            };
            for (method, at, posted) in [("POST", url, Some(posted)), ("GET", &by_get, None)] {
                let told = match timeout(OCSP_REQUEST, caller.call(at, posted)).await {
                    Ok(told) => told,
                    Err(_) => Err("timed out".to_owned()),
                };
                match told.and_then(|raw| Answer::read(raw, about, now())) {
                    Ok(answer) => return Some(answer),
                    Err(why) => failed.push(format!("{method} {}: {why}", shown(url))),
                }
            }
        }
        None
    };
    match timeout(OCSP_PATIENCE, all).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(format!("exhausted ocsp servers: {}", failed.join("; "))),
        Err(_) => Err(format!("ocsp servers take too long: {}", failed.join("; "))),
    }
}

/// Base64 as a part of a path.
fn escaped(base64: &str) -> String {
    base64.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}
