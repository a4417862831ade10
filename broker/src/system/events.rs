//! What the system account is told without asking.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::System;
use crate::link::{ClientInfo, names_of};
use crate::report::accounts::AccountStat;

const TYPE: &str = "io.nats.server.advisory.v1.";

/// A connection that has ended.
pub(super) struct Gone {
    pub client: ClientInfo,
    pub stop: Timestamp,
    /// Messages and bytes that the client was sent, and that it sent: as the server sees it.
    pub sent: (u64, u64),
    pub received: (u64, u64),
    pub reason: &'static str,
    /// It was not let in.
    pub refused: bool,
}

/// A client that did not come in because of its certificate, or of one that this depends on.
pub(super) struct Revoked {
    /// Its own, in DER.
    pub own: Box<[u8]>,
    /// The one that is not good, if there is a chain at all.
    pub link: Option<Box<[u8]>>,
    pub reason: String,
}

/// A certificate as events describe it.
fn certificate(der: &[u8]) -> Value {
    let names = names_of(der).unwrap_or_default();
    json!({
        "subject": names.0,
        "issuer": names.1,
        "fingerprint": BASE64_STANDARD.encode(Sha256::digest(der)),
        "raw": BASE64_STANDARD.encode(der),
    })
}

/// A client as events describe it.
fn client(info: &ClientInfo, stop: Option<Timestamp>) -> Value {
    let mut client = serde_json::to_value(info).unwrap_or_default();
    if let Some(fields) = client.as_object_mut() {
        // The server is described beside it.
        fields.remove("server");
        fields.insert("name_tag".to_owned(), json!(info.acc));
        if let Some(stop) = stop {
            fields.insert("stop".to_owned(), json!(stop.to_string()));
        }
    }
    client
}

impl System {
    /// An event of that kind, with what all of them have.
    fn event(&self, kind: &str) -> Value {
        json!({
            "type": format!("{TYPE}{kind}"),
            "id": crate::report::event_id(),
            "timestamp": Timestamp::now().to_string(),
            "server": self.about.server(),
        })
    }

    /// Tells the system account, if anybody listens.
    pub(super) fn publish(&self, subject: &str, event: impl FnOnce() -> Value) {
        let system = &self.reports.accounts.system;
        if !system.has_interest(subject.as_bytes()) {
            return;
        }
        let text = event().to_string();
        super::send(system, subject.as_bytes(), text.as_bytes());
    }

    pub(super) fn tell_came(&self, info: &ClientInfo) {
        self.publish(&format!("$SYS.ACCOUNT.{}.CONNECT", info.acc), || {
            let mut event = self.event("client_connect");
            event["client"] = client(info, None);
            event
        });
        self.tell_connections(&info.acc);
    }

    pub(super) fn tell_went(&self, gone: &Gone) {
        let account = &gone.client.acc;
        let event = || {
            let flow = |(msgs, bytes): (u64, u64)| json!({"msgs": msgs, "bytes": bytes});
            let mut event = self.event("client_disconnect");
            event["client"] = client(&gone.client, Some(gone.stop));
            event["sent"] = flow(gone.received);
            event["received"] = flow(gone.sent);
            event["reason"] = json!(gone.reason);
            event
        };
        if gone.refused {
            let id = &self.context.identity.id;
            self.publish(&format!("$SYS.SERVER.{id}.CLIENT.AUTH.ERR"), event);
        } else {
            self.tell_connections(account);
        }
        self.publish(&format!("$SYS.ACCOUNT.{account}.DISCONNECT"), event);
    }

    /// Which certificate was not good, and whose client did not come in.
    pub(super) fn tell_revoked(&self, revoked: &Revoked) {
        let id = &self.context.identity.id;
        if let Some(link) = &revoked.link {
            self.publish(&format!("$SYS.SERVER.{id}.OCSP.PEER.LINK.INVALID"), || {
                let mut event = self.event("ocsp_peer_link_invalid");
                event["link"] = certificate(link);
                event["peer"] = certificate(&revoked.own);
                event["reason"] = json!(revoked.reason);
                event
            });
        }
        self.publish(&format!("$SYS.SERVER.{id}.OCSP.PEER.CONN.REJECT"), || {
            let mut event = self.event("ocsp_peer_reject");
            event["kind"] = json!("Client");
            event["peer"] = certificate(&revoked.own);
            event["reason"] = json!("client not OCSP valid");
            event
        });
    }

    /// How many connections an account has, under the subject of today and under the old one.
    pub(super) fn tell_connections(&self, account: &str) {
        for subject in [
            format!("$SYS.ACCOUNT.{account}.SERVER.CONNS"),
            format!("$SYS.SERVER.ACCOUNT.{account}.CONNS"),
        ] {
            if self.reports.accounts.system.has_interest(subject.as_bytes())
                && let Some(event) = self.connections_of(account)
            {
                self.publish(&subject, || event);
            }
        }
    }

    /// The same for all accounts that have any.
    pub(super) fn tell_all_connections(&self) {
        for stat in self.reports.accstatz(&Default::default()).account_statz {
            self.tell_connections(&stat.acc);
        }
    }

    /// `None` if there is no such account.
    pub(super) fn connections_of(&self, account: &str) -> Option<Value> {
        let account = self.reports.accounts.get(account)?;
        let stat: AccountStat = self.reports.account_stats(&[account]).pop()?;
        let mut event = self.event("account_connections");
        if let (Some(fields), Ok(Value::Object(stat))) = (event.as_object_mut(), serde_json::to_value(stat)) {
            fields.extend(stat);
        }
        Some(event)
    }

    /// How the server is.
    pub(super) fn tell_statsz(&self) {
        let subject = format!("$SYS.SERVER.{}.STATSZ", self.context.identity.id);
        self.publish(
            &subject,
            || json!({"server": self.about.server(), "statsz": self.reports.statsz()}),
        );
    }

    /// The server goes down.
    pub(super) fn tell_leaving(&self, gently: bool) {
        let (id, system) = (&self.context.identity.id, &self.reports.accounts.system);
        match gently {
            true => self.publish(&format!("$SYS.SERVER.{id}.LAMEDUCK"), || self.about.server()),
            // nats-server says no more than that.
            false => super::send(system, format!("$SYS.SERVER.{id}.SHUTDOWN").as_bytes(), b""),
        }
    }
}
