//! Consumers: the folders in `obs`, each with its description and `o.dat`, its state.
//!
//! `o.dat` is magic and version; the acknowledged and the delivered sequences of the consumer and the stream; how many
//! messages are pending, a time in seconds, and each as the distance of its sequences from the acknowledged ones and the
//! seconds since it was sent; how many were sent again, and how often each was. Numbers are LEB128, times zigzag. It has
//! no checksum.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Serialize;
use weir_engine::consumer::{ConsumerConfig, SeqPair};
use weir_engine::{NanoTime, SECOND, SEQ_LIMIT, Seq, varint};

use super::block::read_bounded;
use super::finding::{Finding, Findings, What};
use super::hash::HashKey;
use super::meta::Meta;

const MAGIC: u8 = 22;
/// The longest state that is read, in bytes: of ten million pending messages.
const STATE_MAX: u64 = 256 << 20;

/// A consumer of a stream of nats-server.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Its name: of its folder.
    pub name: String,
    /// Its configuration, as the server wrote it.
    pub config_json: String,
    /// The same.
    pub config: ConsumerConfig,
    /// When it was made, in nanoseconds; 0 if that is not known.
    pub created: NanoTime,
    /// How far it is; `None` if its state is missing or damaged, which the findings say.
    pub state: Option<ConsumerState>,
}

/// How far a consumer is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConsumerState {
    /// The last delivery.
    pub delivered: SeqPair,
    /// All up to here is acknowledged.
    pub ack_floor: SeqPair,
    /// What was delivered and not acknowledged, by its sequence in the stream.
    pub pending: BTreeMap<Seq, Pending>,
    /// How often a message was sent again, by its sequence in the stream.
    pub redelivered: BTreeMap<Seq, u64>,
}

/// A message that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pending {
    /// The number of its delivery.
    pub sequence: u64,
    /// When it was, in nanoseconds; it is kept in whole seconds.
    pub timestamp: NanoTime,
}

impl Consumer {
    /// Reads a consumer's folder. `None` if it has no description: the findings say so.
    pub(super) fn read(folder: &Path, stream: &str, name: &str, findings: &mut Findings) -> Option<Self> {
        let meta = Meta::<ConsumerConfig>::read(folder, &HashKey::of_consumer(stream, name), findings)?;
        let path = folder.join("o.dat");
        let state = match read_bounded(&path, STATE_MAX) {
            Ok(state) if state.is_empty() => Err(What::NoState),
            Ok(state) => ConsumerState::parse(&state).map(Some).map_err(What::Unreadable),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(What::NoState),
            Err(error) => Err(What::Io(error.to_string())),
        };
        let state = state.unwrap_or_else(|what| {
            findings.push(Finding::of(&path, what));
            None
        });
        Some(Self {
            name: name.to_owned(),
            config_json: meta.json,
            config: meta.config,
            created: meta.created,
            state,
        })
    }
}

impl ConsumerState {
    fn parse(file: &[u8]) -> Result<Self, String> {
        let version = match file {
            [MAGIC, version @ (1 | 2), ..] => *version,
            [MAGIC, version, ..] => return Err(format!("it has version {version}, this program reads up to 2")),
            _ => return Err("it does not begin as a consumer's state".to_owned()),
        };
        let state = Self::parse_body(&file[2..], version).ok_or_else(|| "it is cut off".to_owned())?;
        state.check()?;
        Ok(state)
    }

    fn parse_body(mut rest: &[u8], version: u8) -> Option<Self> {
        let from = &mut rest;
        let mut pair = || {
            let consumer = varint::take(from)?;
            let stream = varint::take(from)?;
            Some(SeqPair { consumer, stream })
        };
        let (ack_floor, mut delivered) = (pair()?, pair()?);
        if version == 1 {
            delivered.consumer = delivered.consumer.wrapping_add(ack_floor.consumer.saturating_sub(1));
            delivered.stream = delivered.stream.wrapping_add(ack_floor.stream.saturating_sub(1));
        }
        let mut state = Self {
            delivered,
            ack_floor,
            ..Self::default()
        };
        let pending = varint::take(from)?;
        if pending > 0 {
            let base = varint::unzigzag(varint::take(from)?);
            for _ in 0..pending {
                // Differences from what is acknowledged may be negative: they are written as they wrap.
                let seq = varint::take(from)?.wrapping_add(ack_floor.stream);
                let sequence = match version {
                    2 => varint::take(from)?.wrapping_add(ack_floor.consumer),
                    _ => 0,
                };
                let distance = varint::unzigzag(varint::take(from)?);
                let seconds = match version {
                    2 => base.checked_sub(distance)?,
                    _ => base.checked_add(distance)?,
                };
                let timestamp = seconds.checked_mul(SECOND)?;
                state.pending.insert(seq, Pending { sequence, timestamp });
            }
        }
        for _ in 0..varint::take(from)? {
            let (distance, count) = (varint::take(from)?, varint::take(from)?);
            if distance > 0 && count > 0 {
                state.redelivered.insert(distance.wrapping_add(ack_floor.stream), count);
            }
        }
        Some(state)
    }

    fn check(&self) -> Result<(), String> {
        let (delivered, floor) = (self.delivered, self.ack_floor);
        let seqs = [delivered.consumer, delivered.stream, floor.consumer, floor.stream];
        let pending = self.pending.iter().flat_map(|(&seq, pending)| [seq, pending.sequence]);
        let redelivered = self.redelivered.iter().flat_map(|(&seq, &count)| [seq, count]);
        let mut all = seqs.into_iter().chain(pending).chain(redelivered);
        match all.find(|&number| number >= SEQ_LIMIT) {
            Some(number) => Err(format!(
                "it has the sequence or count {number}, which nothing counts up to"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
