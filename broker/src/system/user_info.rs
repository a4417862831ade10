//! What a client may ask the server about itself: `$SYS.REQ.USER.INFO`.
//!
//! Of the system account's services it is the one that every account has; `nats account info` begins with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::conf::options::{Permissions, Subjects};
use crate::context::Context;
use crate::error::Result;
use crate::interest::{Account, Accounts, Inbound, Service, Work};
use crate::routing::Courier;
use crate::version::NATS_VERSION;

const SUBJECT: &[u8] = b"$SYS.REQ.USER.INFO";
/// In `flags` of a server's description: it has JetStream.
const HAS_JETSTREAM: u8 = 1;
/// The same: streams are backed up in one archive.
const HAS_ARCHIVES: u8 = 2;

struct UserInfo {
    context: Arc<Context>,
    account: Arc<Account>,
    /// Counts answers.
    seq: AtomicU64,
}

impl Service for UserInfo {
    fn message(&self, message: &Inbound<'_>, _: &mut Work) {
        let Some(client) = message.from else {
            return;
        };
        if message.reply.is_empty() {
            return;
        }
        let mut about = json!({
            "name": self.context.identity.name,
            "host": self.context.live.read().host,
            "id": self.context.identity.id,
            "ver": NATS_VERSION,
        });
        if self.context.status.has_jetstream() {
            about["jetstream"] = json!(true);
            about["flags"] = json!(HAS_JETSTREAM | HAS_ARCHIVES);
        }
        about["seq"] = json!(self.seq.fetch_add(1, Ordering::Relaxed) + 1);
        about["time"] = json!(Timestamp::now().to_string());
        let name = &self.account.name;
        let mut user = json!({"user": client.user(), "account": name, "account_name": name});
        if let Some(rules) = client.rules() {
            user["permissions"] = permissions(rules.permissions());
        }
        let answer = json!({"server": about, "data": user}).to_string();
        let mut courier = Courier::new(Arc::clone(&self.account));
        courier.send(message.reply, message.reply, b"", b"", answer.as_bytes());
    }
}

/// Permissions as nats-server tells them.
fn permissions(of: &Permissions) -> Value {
    let subjects = |of: &Subjects| {
        let mut told = json!({});
        if let Some(allow) = of.allow.as_ref().filter(|allow| !allow.is_empty()) {
            told["allow"] = json!(allow);
        }
        if !of.deny.is_empty() {
            told["deny"] = json!(of.deny);
        }
        told
    };
    let mut told = json!({"publish": subjects(&of.publish), "subscribe": subjects(&of.subscribe)});
    if let Some(responses) = of.responses {
        // -1 is "for ever", and "any number".
        let expires = responses
            .expires
            .map(|time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
        told["responses"] = json!({
            "max": responses.max.map_or(-1, |max| i64::try_from(max).unwrap_or(i64::MAX)),
            "ttl": expires.unwrap_or(-1),
        });
    }
    told
}

/// Lets the clients of every account ask.
pub(crate) fn serve(context: &Arc<Context>, accounts: &Accounts) -> Result<()> {
    for account in accounts.all() {
        let service = UserInfo {
            context: Arc::clone(context),
            account: Arc::clone(&account),
            seq: AtomicU64::new(0),
        };
        account.serve(SUBJECT, Arc::new(service))?;
    }
    Ok(())
}
