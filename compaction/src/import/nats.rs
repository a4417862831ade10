//! The store directory of a nats-server that is not running as a source: all its streams, one after the other.

use std::path::Path;

use serde::Serialize;
use weir_backup::{BackupConsumer, Consumers, MessageLimits, check_message};
use weir_engine::Record;
use weir_engine::stream::validate::ServerLimits;

use super::target::refused;
use super::{BYTES, Filled, Imported, MESSAGES, Target, Wanted, told};
use crate::error::{Error, Result};
use crate::image::now;
use crate::nats::{self, Consumer, Finding, Findings, Stream, What};

/// Findings of one stream that are told.
const FINDINGS_MAX: usize = 100;

/// What of a store of nats-server is imported, and how.
#[derive(Clone, Debug, Default)]
pub struct NatsOptions {
    /// Only the streams of this account.
    pub from_account: Option<String>,
    /// Only the streams of this name.
    pub stream: Option<String>,
    /// The account that they come into, if not one of the name that theirs has.
    pub account: Option<String>,
    /// What is different from what their configurations say. Another name is for one stream only.
    pub wanted: Wanted,
}

/// What became of a store of nats-server.
#[derive(Clone, Debug, Serialize)]
pub struct FromNats {
    /// Its streams, by account and name, as far as they were wanted.
    pub streams: Vec<NatsStream>,
    /// What is wrong with the descriptions of streams and consumers.
    pub findings: Vec<String>,
    /// Whether anything is damaged; what can be read is imported all the same.
    pub damaged: bool,
}

/// What became of one stream of nats-server.
#[derive(Clone, Debug, Serialize)]
pub struct NatsStream {
    /// Its account there.
    pub account: String,
    /// Its name there.
    pub stream: String,
    /// What was imported; `None` if nothing was.
    pub imported: Option<Imported>,
    /// Whether that was there already, from an import before this one, and was left as it is.
    pub before: bool,
    /// Why nothing was.
    pub refused: Option<String>,
    /// What was found on the way, the first 100: some of it is normal after a kill.
    pub findings: Vec<String>,
}

impl FromNats {
    /// Whether a stream was not imported.
    pub fn any_refused(&self) -> bool {
        self.streams.iter().any(|stream| stream.imported.is_none())
    }
}

/// Imports the streams of a nats-server's store directory into the store at a path, which is made if there is none. Each comes in as a
/// whole or not at all; one that does not keeps none of the others out. `progress` is told of each how many messages were read, and
/// how many there are.
///
/// # Errors
/// If the directory is no store of nats-server, or one that cannot be read; if the store is no store, or in use; if there is no stream
/// that is wanted.
pub fn import_nats(
    path: &Path,
    from: &Path,
    options: &NatsOptions,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<FromNats> {
    let source = nats::open(from)?;
    let wanted = |account: &str, stream: &str| {
        let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
        is(&options.from_account, account) && is(&options.stream, stream)
    };
    let all = source
        .accounts
        .iter()
        .flat_map(|account| account.streams.iter().map(|stream| (&*account.name, stream)));
    let chosen: Vec<_> = all.filter(|(account, stream)| wanted(account, &stream.name)).collect();
    if chosen.is_empty() {
        let names = source.accounts.iter().flat_map(|account| &account.streams);
        return Err(Error::NoSuchStream {
            wanted: options.stream.clone().unwrap_or_default(),
            there: names.map(|stream| stream.name.clone()).collect(),
        });
    }
    if options.wanted.name.is_some() && chosen.len() > 1 {
        return Err(Error::OneName { streams: chosen.len() });
    }
    let target = Target::open(path)?;
    let mut report = FromNats {
        streams: Vec::new(),
        findings: source.findings.list().iter().map(ToString::to_string).collect(),
        damaged: source.findings.any_damage(),
    };
    for (account, stream) in chosen {
        let into = options.account.as_deref().unwrap_or(account);
        let mut found = Found::default();
        let imported = fill(&target, into, stream, &options.wanted, &mut found, progress);
        report.damaged |= found.damaged;
        let (imported, before, why) = match imported {
            Ok((imported, before)) => (Some(imported), before, None),
            Err(error) => (None, false, Some(error.to_string())),
        };
        report.streams.push(NatsStream {
            account: account.to_owned(),
            stream: stream.name.clone(),
            imported,
            before,
            refused: why,
            findings: found.lines,
        });
    }
    target.close();
    let left_out = source.findings.list().iter().filter_map(left_out);
    let left_out = left_out.filter(|stream| wanted(&stream.account, &stream.stream));
    report.streams.extend(left_out);
    Ok(report)
}

/// The stream whose description cannot be read, if that is what a finding is about.
fn left_out(finding: &Finding) -> Option<NatsStream> {
    if !matches!(finding.what, What::Unreadable(_) | What::Io(_)) || !finding.file.ends_with("meta.inf") {
        return None;
    }
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let folder = finding.file.parent()?;
    let streams = folder.parent().filter(|streams| streams.ends_with("streams"))?;
    Some(NatsStream {
        account: name(streams.parent()?)?,
        stream: name(folder)?,
        imported: None,
        before: false,
        refused: Some("nothing tells its configuration".to_owned()),
        findings: Vec::new(),
    })
}

/// What was found wrong with a stream.
#[derive(Default)]
struct Found {
    lines: Vec<String>,
    damaged: bool,
}

impl Found {
    fn damage(&mut self, line: String) {
        self.damaged = true;
        if self.lines.len() < FINDINGS_MAX {
            self.lines.push(line);
        }
    }

    fn findings(&mut self, findings: &Findings) {
        self.damaged |= findings.any_damage();
        let room = FINDINGS_MAX.saturating_sub(self.lines.len());
        let list = findings.list();
        self.lines.extend(list.iter().take(room).map(ToString::to_string));
        let more = list.len().saturating_sub(room) as u64 + findings.unlisted();
        if more > 0 {
            self.lines.push(format!("and {more} more"));
        }
    }
}

fn fill(
    target: &Target,
    account: &str,
    stream: &Stream,
    wanted: &Wanted,
    found: &mut Found,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<(Imported, bool)> {
    let config = wanted.applied(stream.config.clone())?;
    let name = config.name.clone();
    let mut origin = match target.origin(account, config) {
        Err(error @ Error::NameTaken { .. }) => {
            return match there_before(target, account, &name, stream, found, progress)? {
                Some(imported) => Ok((imported, true)),
                None => Err(error),
            };
        }
        origin => origin?,
    };
    origin.created = Some(stream.created).filter(|created| *created != 0);
    let store = |error| refused(account, &name, error);
    let mut consumers = Consumers::new(&origin.config, ServerLimits::default(), now());
    for consumer in &stream.consumers {
        let created = match consumer.created {
            0 => now(),
            created => created,
        };
        if let Err(error) = consumers.add_made(&consumer.name, as_backup(consumer), created) {
            found.damage(format!("consumer {} is left out: {error}", consumer.name));
        }
    }
    let consumers = consumers.finish();
    let mut messages = stream.messages()?;
    let state = messages.state();
    let mut filling = target.begin(origin, state.first_seq)?;
    let limits = MessageLimits {
        max_payload: Record::BODY_MAX as u64,
        max_msg_size: None,
    };
    let (mut read, mut ended) = (0, false);
    while !ended {
        let (mut portion, mut bytes) = (Vec::new(), 0);
        while portion.len() < MESSAGES && bytes < BYTES {
            let Some(message) = messages.next() else {
                ended = true;
                break;
            };
            read += 1;
            // What the server would serve all the same could end a client's connection.
            match check_message(&message, &limits) {
                Ok(()) => {
                    bytes += message.headers.len() + message.payload.len();
                    portion.push(message);
                }
                Err(error) => found.damage(format!("left out: {error}")),
            }
        }
        progress(&stream.name, read, state.messages);
        filling.push(portion, false).map_err(store)?;
    }
    found.findings(&messages.findings());
    let filled = Filled {
        read,
        consumers: consumers.iter().map(|consumer| consumer.name.clone()).collect(),
    };
    let last_time = Some(state.last_time).filter(|time| *time != 0);
    let whole = filling.finish(state.last_seq, last_time, consumers).map_err(store)?;
    Ok((told(target, &whole, account, &name, filled)?, false))
}

/// The stream that has the name already, if it is what an earlier import made of this one, which broke off behind it: a stream comes in
/// as a whole. What is damaged in the source is found once more. `None` if it is another one, or the source has more by now.
fn there_before(
    target: &Target,
    account: &str,
    name: &str,
    stream: &Stream,
    found: &mut Found,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Option<Imported>> {
    let entry = target.store().catalogue().get(account, name);
    let is_same_age = stream.created != 0 && entry.is_some_and(|entry| entry.created == stream.created);
    let there = match target.store().stream(account, name) {
        Ok(there) if is_same_age => there,
        _ => return Ok(None),
    };
    let mut messages = stream.messages()?;
    let (state, now) = (messages.state(), there.state().map_err(Error::Unreadable)?);
    // A server may have gone on with it since. Where the source did, this is less than there is.
    if now.last_seq < state.last_seq {
        return Ok(None);
    }
    let limits = MessageLimits {
        max_payload: Record::BODY_MAX as u64,
        max_msg_size: None,
    };
    let mut read = 0;
    for message in &mut messages {
        read += 1;
        if let Err(error) = check_message(&message, &limits) {
            found.damage(format!("left out: {error}"));
        }
        if read % MESSAGES as u64 == 0 {
            progress(&stream.name, read, state.messages);
        }
    }
    found.findings(&messages.findings());
    let consumers = there.read(|stream| Ok(stream.consumer_names().iter().map(ToString::to_string).collect()));
    let consumers = consumers.map_err(Error::Unreadable)?;
    told(target, &there, account, name, Filled { read, consumers }).map(Some)
}

fn as_backup(consumer: &Consumer) -> BackupConsumer {
    let state = consumer.state.clone().unwrap_or_default();
    let pending = state.pending.into_iter().map(|(seq, pending)| {
        let nats::Pending { sequence, timestamp } = pending;
        (seq, weir_backup::Pending { sequence, timestamp })
    });
    let mut kept = weir_backup::ConsumerState::between(state.delivered, state.ack_floor);
    kept.pending = pending.collect();
    kept.redelivered = state.redelivered;
    BackupConsumer {
        config: consumer.config.clone(),
        state: kept,
    }
}
