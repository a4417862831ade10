//! Asking responders, by HTTP (RFC 6960, appendix A).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::time::Duration;

use tokio::time::timeout;

use super::Now;
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
pub(super) async fn ask(caller: &Caller, urls: &[String], about: &Subject, now: Now<'_>) -> Result<Answer, String> {
    if urls.is_empty() {
        return Err("no available ocsp servers".to_owned());
    }
    let request = about.request()?;
    let mut failed = Vec::new();
    let all = async {
        for url in urls {
            let url = url.trim_end_matches('/');
            let by_get = get(url, &request);
            let posted = Posted {
                kind: REQUEST,
                wanted: RESPONSE,
                body: &request,
            };
            for (method, at, posted) in [("POST", url, Some(posted)), ("GET", &by_get, None)] {
                let Ok(told) = timeout(OCSP_REQUEST, caller.call(at, posted)).await else {
                    // One that is silent is so by GET, too, and the next one is to have its time.
                    failed.push(format!("{method} {}: timed out", shown(url)));
                    break;
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

/// What the first of these responders says that answers at all, by GET: what is asked about clients is asked often, and may come from nearer by.
///
/// # Errors
/// None answers; what each says.
pub(super) async fn ask_one(
    caller: &Caller,
    urls: &[String],
    about: &Subject,
    patience: Duration,
) -> Result<Vec<u8>, String> {
    let request = about.request()?;
    let mut failed = Vec::new();
    for url in urls {
        match timeout(patience, caller.call(&get(url.trim_end_matches('/'), &request), None)).await {
            Ok(Ok(raw)) => return Ok(raw),
            Ok(Err(why)) => failed.push(format!("{}: {why}", shown(url))),
            Err(_) => failed.push(format!("{}: timed out", shown(url))),
        }
    }
    Err(format!("exhausted OCSP responders: {}", failed.join("; ")))
}

/// Where a request is asked by GET: base64 as a part of the path.
fn get(url: &str, request: &[u8]) -> String {
    let base64 = BASE64_STANDARD.encode(request);
    format!(
        "{url}/{}",
        base64.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
    )
}
