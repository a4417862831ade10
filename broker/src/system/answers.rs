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
    Nsubs,
    Subscribers,
    UserInfo,
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

/// How many subscribe to something.
pub(super) const NSUBS: &str = "$SYS.REQ.ACCOUNT.NSUBS";
/// The same within the system account itself.
pub(super) const SUBSCRIBERS: &str = "$SYS.DEBUG.SUBSCRIBERS";
/// What the users of an account are told of themselves; whoever is not of that account is told that he is nobody.
pub(super) const USER_INFO: &str = "$SYS.REQ.USER.*.INFO";

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
        match topic {
            Topic::Nsubs => return self.count_subscribers(payload),
            Topic::Subscribers => return Some(subscribers_of(within, payload)),
            Topic::UserInfo => return Some(self.envelope("data", Ok(json!({"user": "", "account": ""})))),
            // As nats-server, which writes what is wrong with them into its log.
            Topic::Kick | Topic::Ldm if serde_json::from_slice::<asked::Client>(payload).is_err() => return None,
            _ => {}
        }
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
                // As nats-server: what was made of a request that it understood is told to be nothing.
                if code == 500 {
                    envelope[under] = Value::Null;
                }
                envelope["error"] = json!({"code": code, "description": description});
            }
        }
        envelope
    }

    /// How many subscribe to something in an account; silence where nobody is in it, as nats-server: it asks all servers.
    fn count_subscribers(&self, payload: &[u8]) -> Option<Value> {
        let asked: asked::Nsubs = serde_json::from_slice(payload).ok()?;
        let account = self.reports.accounts.get(&asked.acc)?;
        let stats = self.reports.account_stats(std::slice::from_ref(&account));
        if stats.first().is_none_or(|stat| stat.conns == 0) {
            return None;
        }
        let queue = match asked.queue {
            None => None,
            // Bytes, as Go writes them in JSON.
            Some(queue) => Some(base64::Engine::decode(&base64::prelude::BASE64_STANDARD, queue).ok()?),
        };
        Some(json!(account.subscribers(asked.subject.as_bytes(), queue.as_deref())))
    }

    fn done(&self, topic: Topic, payload: &[u8]) -> Value {
        let done = match topic {
            Topic::Reload => self.context.reloads.wish().map_err(refused),
            _ => read::<asked::Client>(payload).and_then(|asked| {
                let session = self.hall.sessions.get(asked.cid);
                let unknown = match topic {
                    Topic::Kick => "no such client or leafnode id",
                    _ => "no such client id",
                };
                let session = session.ok_or_else(|| refused(unknown.to_owned()))?;
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
            Topic::Profilez => {
                let asked: asked::Profilez = read(payload)?;
                let why = match asked.name.as_str() {
                    "" => "Profile name not specified".to_owned(),
                    // They are Go's own.
                    name => format!("Profile {name:?} not found"),
                };
                Ok(json!({"profile": null, "error": why}))
            }
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
                    None if page["disabled"] == json!(true) => Err(refused("jetstream not enabled".to_owned())),
                    None if reports.has_account(&name) => {
                        Err(refused(format!("account {name:?} not jetstream enabled")))
                    }
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
            | Topic::AccountStatz
            | Topic::Nsubs
            | Topic::Subscribers
            | Topic::UserInfo => Ok(Value::Null),
        }
    }
}

/// How many subscribe in the system account: to a subject, and perhaps in a queue behind it.
fn subscribers_of(account: &Account, payload: &[u8]) -> Value {
    let mut words = payload.trim_ascii().split(|&byte| byte == b' ');
    let subject = words.next().unwrap_or_default();
    json!(account.subscribers(subject, words.next()))
}
