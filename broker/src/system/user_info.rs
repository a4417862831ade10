//! What a client may ask the server about itself: `$SYS.REQ.USER.INFO`.
//!
//! Of the system account's services it is the one that every account has; `nats account info` begins with it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::conf::options::{Permissions, Subjects};
use crate::context::Context;
use crate::error::Result;
use crate::interest::{Account, Accounts, Inbound, SYSTEM, Service, Work};
use crate::routing::Courier;
use crate::system::about::About;

const SUBJECT: &[u8] = b"$SYS.REQ.USER.INFO";

struct UserInfo {
    account: Arc<Account>,
    /// The name of the system account.
    system: String,
    about: About,
}

impl Service for UserInfo {
    fn of_system(&self, _: &[u8]) -> Option<(String, String)> {
        Some((self.system.clone(), format!("$SYS.REQ.USER.{}.INFO", self.account.name)))
    }

    fn message(&self, message: &Inbound<'_>, _: &mut Work) {
        let Some(client) = message.from else {
            return;
        };
        if message.reply.is_empty() {
            return;
        }
        let name = &self.account.name;
        let mut user = json!({"user": client.user(), "account": name, "account_name": name});
        if let Some(tag) = self.account.tag() {
            user["account_name"] = json!(&*tag);
        }
        if let Some(name) = client
            .credential()
            .map(|credential| credential.name.clone())
            .filter(|name| !name.is_empty())
        {
            user["user_name"] = json!(name);
        }
        if let Some(until) = client.until() {
            let left = until.duration_since(jiff::Timestamp::now()).as_secs().max(0);
            user["expires"] = json!(i128::from(left) * 1_000_000_000);
        }
        if let Some(rules) = client.rules() {
            user["permissions"] = permissions(rules.permissions());
        }
        let answer = json!({"server": self.about.server(), "data": user}).to_string();
        let mut courier = Courier::telling(Arc::clone(&self.account));
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
    accounts.all().iter().try_for_each(|account| serve_in(context, account))
}

/// Lets the clients of an account ask.
pub(crate) fn serve_in(context: &Arc<Context>, account: &Arc<Account>) -> Result<()> {
    let system = context.live.read().system_account.clone();
    let service = UserInfo {
        account: Arc::clone(account),
        system: system.unwrap_or_else(|| SYSTEM.to_owned()),
        about: About::new(context),
    };
    account.serve(SUBJECT, Arc::new(service)).map(|_| ())
}
