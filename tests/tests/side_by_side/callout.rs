//! The service that decides who may come in, as its client: by the names that users say.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use nkeys::{KeyPair, KeyPairType, XKey};
use serde_json::Value;
use weir_jwt::{AuthorizationRequestClaims, AuthorizationResponseClaims, Token, UserClaims, decode, encode};

use super::client::Client;

/// The seeds of what it signs with and encrypts with.
pub const ISSUER: [u8; 32] = [70; 32];

/// It runs until its connection ends.
pub struct Callout {
    asked: Arc<Mutex<Vec<Value>>>,
    thread: JoinHandle<()>,
}

impl Callout {
    /// `way`: nothing, `xkey` where it encrypts, or the number of the account's key that signs.
    pub fn start(mut client: Client, way: &str) -> Result<Self> {
        let number = way.split(' ').find_map(|word| word.parse().ok()).unwrap_or(ISSUER[0]);
        let issuer = KeyPair::new_from_raw(KeyPairType::Account, [number; 32])?;
        let xkey = way.contains("xkey").then(xkey).transpose()?;
        client.say("SUB $SYS.REQ.USER.AUTH 1");
        client.settle();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        let thread = std::thread::spawn(move || {
            while let Some((reply, headers, body)) = client.question() {
                let Ok(answer) = answer(&issuer, xkey.as_ref(), &headers, &body, &heard) else {
                    return;
                };
                if let Some(answer) = answer {
                    client.bytes(&reply, &answer);
                }
            }
        });
        Ok(Self { asked, thread })
    }

    /// What it was asked, once the server is gone.
    pub fn asked(self) -> Vec<Value> {
        // It ends with its connection.
        let _ = self.thread.join();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut asked)
    }
}

/// What it encrypts with.
pub fn xkey() -> Result<XKey> {
    Ok(XKey::new_from_raw([71; 32]))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// `NAME@ACCOUNT` is let into that account (an operator's by the number of its key), `few@ACCOUNT` may publish to `a` alone, `mute` gets no
/// answer, and all others are refused.
fn answer(
    issuer: &KeyPair,
    xkey: Option<&XKey>,
    headers: &str,
    body: &[u8],
    heard: &Mutex<Vec<Value>>,
) -> Result<Option<Vec<u8>>> {
    let server = match xkey {
        Some(_) => {
            let key = headers
                .split("Nats-Server-Xkey:")
                .nth(1)
                .context("no key of the server")?;
            Some(XKey::from_public_key(
                key.trim().split([';', '\r']).next().unwrap_or_default(),
            )?)
        }
        None => None,
    };
    let token = match (xkey, &server) {
        (Some(own), Some(server)) => own.open(body, server)?,
        _ => body.to_vec(),
    };
    let Token::AuthorizationRequest(asked) = decode(std::str::from_utf8(&token)?)? else {
        bail!("no question");
    };
    let asked: AuthorizationRequestClaims = *asked;
    let mut said = serde_json::to_value(&asked)?;
    // The key of the server, and the one that it made for this question.
    if let Some(fields) = said.as_object_mut() {
        fields.remove("iss");
        fields.remove("sub");
    }
    heard.lock().unwrap_or_else(PoisonError::into_inner).push(said);
    let options = &asked.nats.connect_opts;
    let name = match options.user.is_empty() {
        true => options.auth_token.clone(),
        false => options.user.clone(),
    };
    let mut claims = AuthorizationResponseClaims::default();
    claims.common.subject.clone_from(&asked.nats.user_nkey);
    claims.common.audience.clone_from(&asked.nats.server_id.id);
    match name.split_once('@') {
        _ if name.starts_with("mute") => return Ok(None),
        Some((user, account)) => {
            let mut token = UserClaims::new(&asked.nats.user_nkey);
            user.clone_into(&mut token.common.name);
            if user == "few" {
                token.nats.rights.permissions.publish.allow.push("a".to_owned());
            }
            claims.nats.jwt = match account.parse() {
                // An account of an operator signs for its users itself.
                Ok(number) => encode(
                    token,
                    &KeyPair::new_from_raw(KeyPairType::Account, [number; 32])?,
                    now(),
                )?,
                Err(_) => {
                    account.clone_into(&mut token.common.audience);
                    encode(token, issuer, now())?
                }
            };
        }
        None => claims.nats.error = "you may not".to_owned(),
    }
    let token = encode(claims, issuer, now())?.into_bytes();
    Ok(Some(match (xkey, &server) {
        (Some(own), Some(server)) => own.seal(&token, server)?,
        _ => token,
    }))
}
