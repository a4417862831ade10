//! What a client may ask the server about itself: `$SYS.REQ.USER.INFO`.
//!
//! Of the system account's services it is the one that every account has; `nats account info` begins with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde_json::json;

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
        let user = json!({"user": client.user(), "account": name, "account_name": name});
        let answer = json!({"server": about, "data": user}).to_string();
        let mut courier = Courier::new(Arc::clone(&self.account));
        courier.send(message.reply, message.reply, b"", b"", answer.as_bytes());
    }
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
