//! Requests of the system account, answered from the reports.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::System;
use super::asked::{self, Filter};
use crate::interest::Account;
use crate::link::CloseReason;
use crate::report::JszOptions;
use crate::report::accounts::{AccStatzOptions, AccountzOptions};
use crate::report::connz::ConnzOptions;
use crate::report::healthz::HealthzOptions;
use crate::report::subsz::SubszOptions;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Idz,
    Statsz,
    Varz,
    Subsz,
    Connz,
    Routez,
    Gatewayz,
    Leafz,
    Accountz,
    Jsz,
    Healthz,
    Profilez,
    Expvarz,
    Ipqueuesz,
    Raftz,
    Reload,
    Kick,
    Ldm,
    AccountConnz,
    AccountSubsz,
    AccountInfo,
    AccountJsz,
    AccountStatz,
    AccountConns,
    AccountLeafz,
}

/// What any server tells of itself: `$SYS.REQ.SERVER.PING.<name>` asks all of them, `$SYS.REQ.SERVER.<id>.<name>` one.
pub(super) const OF_A_SERVER: &[(&str, Topic)] = &[
    ("IDZ", Topic::Idz),
    ("STATSZ", Topic::Statsz),
    ("VARZ", Topic::Varz),
    ("SUBSZ", Topic::Subsz),
    ("CONNZ", Topic::Connz),
    ("ROUTEZ", Topic::Routez),
    ("GATEWAYZ", Topic::Gatewayz),
    ("LEAFZ", Topic::Leafz),
    ("ACCOUNTZ", Topic::Accountz),
    ("JSZ", Topic::Jsz),
    ("HEALTHZ", Topic::Healthz),
    ("PROFILEZ", Topic::Profilez),
    ("EXPVARZ", Topic::Expvarz),
    ("IPQUEUESZ", Topic::Ipqueuesz),
    ("RAFTZ", Topic::Raftz),
];

/// What one server is told to do: `$SYS.REQ.SERVER.<id>.<name>`.
pub(super) const TO_A_SERVER: &[(&str, Topic)] =
    &[("RELOAD", Topic::Reload), ("KICK", Topic::Kick), ("LDM", Topic::Ldm)];

/// What is told of an account: `$SYS.REQ.ACCOUNT.<account>.<name>`.
pub(super) const OF_AN_ACCOUNT: &[(&str, Topic)] = &[
    ("CONNZ", Topic::AccountConnz),
    ("SUBSZ", Topic::AccountSubsz),
    ("INFO", Topic::AccountInfo),
    ("JSZ", Topic::AccountJsz),
    ("STATZ", Topic::AccountStatz),
    ("CONNS", Topic::AccountConns),
    ("LEAFZ", Topic::AccountLeafz),
];

/// A refusal: a code of HTTP's, and why.
struct Refused(u16, String);

type Answer = Result<Value, Refused>;

fn report(report: impl Serialize) -> Answer {
    // Plain fields under names: that has no failure.
    Ok(serde_json::to_value(report).unwrap_or_default())
}

fn refused(text: String) -> Refused {
    Refused(500, text)
}

/// What a request says; nothing is as good as an empty object.
fn read<T: DeserializeOwned + Default>(payload: &[u8]) -> Result<T, Refused> {
    match payload.trim_ascii() {
        [] => Ok(T::default()),
        text => serde_json::from_slice(text).map_err(|error| Refused(400, error.to_string())),
    }
}

impl System {
    /// The answer to a request in an account; `None`: it is not for this server, or nothing is to be said. `named` is the account that the
    /// subject names, if it does.
    pub(super) fn answer(&self, topic: Topic, within: &Account, named: Option<&str>, payload: &[u8]) -> Option<Value> {
        let filter: Filter = match read(payload) {
            Ok(filter) => filter,
            Err(refused) => return Some(self.envelope("data", Err(refused))),
        };
        if !filter.is_for(&self.context.identity.name, &self.context.live.read()) {
            return None;
        }
        // Others than the system account may ask of themselves only.
        let is_system = within.number == self.reports.accounts.system.number;
        let own = (!is_system).then(|| within.name.to_string());
        match topic {
            Topic::Idz => Some(self.about.name()),
            Topic::Statsz => Some(self.envelope("statsz", Ok(self.reports.statsz()))),
            Topic::Reload | Topic::Kick | Topic::Ldm => Some(self.done(topic, payload)),
            Topic::AccountConns => self.connections_of(named?),
            Topic::AccountStatz => self.account_statz(own, named, payload),
            _ => {
                let account = own.or_else(|| named.map(str::to_owned));
                Some(self.envelope("data", self.told(topic, account, payload)))
            }
        }
    }

    /// The answer, with the server's description before it.
    fn envelope(&self, under: &str, answer: Answer) -> Value {
        let mut envelope = json!({"server": self.about.server()});
        match answer {
            Ok(data) => envelope[under] = data,
            Err(Refused(code, description)) => {
                envelope["error"] = json!({"code": code, "description": description});
            }
        }
        envelope
    }

    fn done(&self, topic: Topic, payload: &[u8]) -> Value {
        let done = match topic {
            Topic::Reload => self.context.reloads.wish().map_err(refused),
            _ => read::<asked::Client>(payload).and_then(|asked| {
                let session = self.hall.sessions.get(asked.cid);
                let session = session.ok_or_else(|| refused("no such client or leafnode id".to_owned()))?;
                match topic {
                    Topic::Kick => session.close(CloseReason::Kicked),
                    _ => session.announce_lame_duck(),
                }
                Ok(())
            }),
        };
        let mut answer = self.envelope("data", done.map(|()| Value::Null));
        if let Some(fields) = answer.as_object_mut() {
            fields.remove("data");
        }
        answer
    }

    fn account_statz(&self, own: Option<String>, named: Option<&str>, payload: &[u8]) -> Option<Value> {
        let mut options: AccStatzOptions = match read(payload) {
            Ok(options) => options,
            Err(refused) => return Some(self.envelope("data", Err(refused))),
        };
        let one = own.or_else(|| named.filter(|name| *name != "PING").map(str::to_owned));
        if let Some(one) = one {
            options.accounts = vec![one];
        }
        let page = self.reports.accstatz(&options);
        // Silence where there is nothing to tell, as nats-server: of many servers others may have it.
        (!page.account_statz.is_empty()).then(|| self.envelope("data", report(page)))
    }

    fn told(&self, topic: Topic, account: Option<String>, payload: &[u8]) -> Answer {
        let reports = &self.reports;
        match topic {
            Topic::Varz => report(reports.varz()),
            Topic::Routez => report(reports.routez()),
            Topic::Gatewayz => report(reports.gatewayz()),
            Topic::Leafz | Topic::AccountLeafz => report(reports.leafz()),
            Topic::Expvarz => report(reports.expvarz()),
            Topic::Raftz => Ok(json!({})),
            Topic::Profilez => Ok(json!({"profile": null, "error": "Weir has none of Go's profiles"})),
            Topic::Ipqueuesz => report(reports.ipqueuesz(&read(payload)?)),
            Topic::Connz | Topic::AccountConnz => {
                let mut options = ConnzOptions::from(read::<asked::Connz>(payload)?);
                options.account = account.or(options.account);
                reports.connz(&options).map_err(refused).and_then(report)
            }
            Topic::Subsz => {
                let options = SubszOptions::from(read::<asked::Subsz>(payload)?);
                reports.subsz(&options).map_err(refused).and_then(report)
            }
            Topic::AccountSubsz => {
                let mut options = SubszOptions::from(read::<asked::Subsz>(payload)?);
                (options.account, options.details) = (account, true);
                reports.subsz(&options).map_err(refused).and_then(report)
            }
            Topic::Accountz => {
                let options: AccountzOptions = read(payload)?;
                reports.accountz(&options).map_err(refused).and_then(report)
            }
            Topic::AccountInfo => {
                let page = reports.accountz(&AccountzOptions { account }).map_err(refused)?;
                report(page.account_detail)
            }
            Topic::Jsz => report(reports.jsz(&JszOptions::from(read::<asked::Jsz>(payload)?))),
            Topic::AccountJsz => {
                let mut options = JszOptions::from(read::<asked::Jsz>(payload)?);
                let name = account.unwrap_or_default();
                options.account = Some(name.clone());
                let page = report(reports.jsz(&options))?;
                match page.pointer("/account_details/0") {
                    Some(detail) => Ok(detail.clone()),
                    None => Err(refused(format!("account {name:?} not found"))),
                }
            }
            Topic::Healthz => {
                let options = HealthzOptions::from(read::<asked::Healthz>(payload)?);
                let (status, line) = reports.healthz(&options);
                let mut health: Value = serde_json::from_str(&line).unwrap_or_default();
                health["status_code"] = json!(status);
                Ok(health)
            }
            // Answered before.
            Topic::Idz
            | Topic::Statsz
            | Topic::Reload
            | Topic::Kick
            | Topic::Ldm
            | Topic::AccountConns
            | Topic::AccountStatz => Ok(Value::Null),
        }
    }
}
