//! Decodes a backup piece by piece, in either format: what it says becomes [`Step`]s for the storage thread. Nothing here
//! waits, so a restore whose client is slow holds no thread.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, BytesMut};
use weir_engine::consumer::ConsumerSnapshot;
use weir_engine::stream::validate::ServerLimits;
use weir_engine::stream::{Message, StreamConfig};
use weir_engine::{NanoTime, Seq};

use crate::archive::{BackupConsumer, BackupState, Entry, MAGIC, MessageLimits, broken, check_message, next_entry};
use crate::consumers::Consumers;
use crate::tar::TarReader;
use crate::unpack::Unpacker;

/// Messages or removals in one step.
const MESSAGES: usize = 1000;
/// Bytes of messages in one step, give or take one message.
const BYTES: usize = 1 << 20;

/// What a stream is restored as, and what it is held against.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its configuration, validated.
    pub config: StreamConfig,
    /// The name that it had: a backup that tells of another is refused.
    pub original: String,
    /// What is said of the backup beside it.
    pub told: BackupState,
    /// What the server limits.
    pub limits: ServerLimits,
    /// The largest message, in bytes: a server's `max_payload`.
    pub max_payload: u64,
    /// When the restore began.
    pub now: NanoTime,
}

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Begin the stream, the first sequence of which is `first`; it will have so many bytes, if the backup says so.
    Begin {
        /// The first sequence.
        first: Seq,
        /// Its bytes; 0 if that is not said.
        bytes: u64,
    },
    /// Add messages. Removals may follow.
    Fill {
        /// In the order of their sequences.
        messages: Vec<Message>,
        /// Whether the backup may tell later that some of them are gone.
        removals_follow: bool,
    },
    /// Remove messages.
    Remove(Vec<Seq>),
    /// Nothing before more has come.
    More,
}

/// What a backup held besides messages.
#[derive(Debug)]
pub struct Contents {
    /// The last sequence, of a message or given away.
    pub last: Seq,
    /// When it was, if that is known.
    pub last_time: Option<NanoTime>,
    /// Its consumers.
    pub consumers: Vec<ConsumerSnapshot>,
}

/// Decodes a backup.
#[derive(Debug)]
pub struct Decoder {
    plan: Plan,
    unpacker: Unpacker,
    unpacked: BytesMut,
    format: Format,
    begun: bool,
    /// Messages that were decoded and not handed out.
    messages: VecDeque<Message>,
    /// Their bytes.
    bytes: usize,
    consumers: Consumers,
}

#[derive(Debug)]
enum Format {
    /// Not enough came to tell.
    Unknown,
    /// An archive of nats-server 2.15 or Weir.
    Archive(Archive),
    /// A tar of an older nats-server's files.
    Tar(Box<Tar>),
}

#[derive(Debug, Default)]
struct Archive {
    state: Option<BackupState>,
    /// Consumers that are still to come.
    consumers_left: usize,
    /// The last sequence so far.
    last: Seq,
    /// The mark at the end came.
    ended: bool,
}

#[derive(Debug)]
struct Tar {
    reader: TarReader,
    removed: Vec<Seq>,
}

impl Decoder {
    /// For a backup of which nothing came yet.
    pub fn new(plan: Plan) -> Self {
        Self::with(plan, Unpacker::default())
    }

    /// For a backup that may unpack to any multiple of its own size: not for one that anybody can send.
    pub fn trusting(plan: Plan) -> Self {
        Self::with(plan, Unpacker::boundless())
    }

    fn with(plan: Plan, unpacker: Unpacker) -> Self {
        Self {
            consumers: Consumers::new(&plan.config, plan.limits, plan.now),
            plan,
            unpacker,
            unpacked: BytesMut::new(),
            format: Format::Unknown,
            begun: false,
            messages: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Takes the next piece. What comes behind the end is no matter.
    pub fn push(&mut self, piece: &[u8]) {
        if !self.is_at_end() {
            self.unpacker.push(piece);
        }
    }

    fn is_at_end(&self) -> bool {
        match &self.format {
            Format::Unknown => false,
            Format::Archive(archive) => archive.ended,
            Format::Tar(tar) => tar.reader.is_at_end(),
        }
    }

    /// What is to be done next about what came so far.
    ///
    /// # Errors
    /// The backup makes no sense, or breaks a rule.
    pub fn step(&mut self) -> io::Result<Step> {
        loop {
            if let Some(step) = self.ready()? {
                return Ok(step);
            }
            if self.is_at_end() || (!self.parse()? && !self.unpacker.next(&mut self.unpacked)?) {
                // What came is stored before more is decoded.
                return Ok(match self.messages.is_empty() {
                    true => Step::More,
                    false => self.fill(),
                });
            }
        }
    }

    /// A step that need not wait for what else came.
    fn ready(&mut self) -> io::Result<Option<Step>> {
        if !self.begun
            && let Some(step) = self.begin()
        {
            self.begun = true;
            return Ok(Some(step));
        }
        if self.begun && (self.messages.len() >= MESSAGES || self.bytes >= BYTES) {
            return Ok(Some(self.fill()));
        }
        let Format::Tar(tar) = &mut self.format else {
            return Ok(None);
        };
        if tar.removed.is_empty() {
            return Ok(None);
        }
        // They may concern messages that were decoded with them.
        if !self.messages.is_empty() {
            return Ok(Some(self.fill()));
        }
        let few = tar.removed.len().min(MESSAGES);
        Ok(Some(Step::Remove(tar.removed.drain(..few).collect())))
    }

    /// Where the stream begins, once it is known. Where a tar does only the client can say: of messages that limits
    /// removed it may have more.
    fn begin(&self) -> Option<Step> {
        match &self.format {
            Format::Unknown => None,
            Format::Archive(archive) => archive.state.as_ref().map(|state| Step::Begin {
                first: state.first_seq,
                bytes: state.bytes,
            }),
            Format::Tar(_) => {
                let first = match self.plan.told.first_seq {
                    0 => self.messages.front()?.seq,
                    told => told,
                };
                Some(Step::Begin { first, bytes: 0 })
            }
        }
    }

    fn fill(&mut self) -> Step {
        let (mut count, mut bytes) = (0, 0);
        while count < self.messages.len().min(MESSAGES) && bytes < BYTES {
            bytes += size(&self.messages[count]);
            count += 1;
        }
        self.bytes -= bytes;
        Step::Fill {
            messages: self.messages.drain(..count).collect(),
            removals_follow: matches!(self.format, Format::Tar(_)),
        }
    }

    /// Reads one part of what was unpacked. False if it is not all there.
    fn parse(&mut self) -> io::Result<bool> {
        let limits = MessageLimits {
            max_payload: self.plan.max_payload,
            max_msg_size: u64::try_from(self.plan.config.max_msg_size).ok(),
        };
        match &mut self.format {
            Format::Unknown => {
                let Some(mark) = self.unpacked.first_chunk::<8>() else {
                    return Ok(false);
                };
                if mark == MAGIC {
                    self.unpacked.advance(MAGIC.len());
                    self.format = Format::Archive(Archive::default());
                } else {
                    self.plan.told.check()?;
                    let reader = TarReader::new(self.plan.told.first_seq, self.plan.max_payload);
                    self.format = Format::Tar(Box::new(Tar {
                        reader,
                        removed: Vec::new(),
                    }));
                }
                Ok(true)
            }
            Format::Archive(archive) => {
                let Some(entry) = next_entry(&mut self.unpacked, &limits)? else {
                    return Ok(false);
                };
                if let Some(message) = archive.take(entry, &mut self.consumers)? {
                    check_message(&message, &limits)?;
                    self.bytes += size(&message);
                    self.messages.push_back(message);
                }
                Ok(true)
            }
            Format::Tar(tar) => {
                let Some(messages) = tar.reader.next(&mut self.unpacked)? else {
                    return Ok(false);
                };
                tar.removed = tar.reader.take_removed();
                for message in messages {
                    check_message(&message, &limits)?;
                    self.bytes += size(&message);
                    self.messages.push_back(message);
                }
                Ok(true)
            }
        }
    }

    /// All came that will, and all steps were done: what the backup held besides messages; and the step that begins the
    /// stream, if there was nothing that did.
    ///
    /// # Errors
    /// It was cut short, or a consumer breaks a rule.
    pub fn finish(mut self) -> io::Result<(Contents, Option<Step>)> {
        let plan = &self.plan;
        match self.format {
            Format::Archive(Archive {
                state: Some(state),
                last,
                ended: true,
                ..
            }) => Ok((
                Contents {
                    last,
                    last_time: state.last_time(),
                    consumers: self.consumers.finish(),
                },
                None,
            )),
            Format::Tar(tar) => {
                let rest = tar.reader.finish()?;
                if rest.stream != plan.original {
                    return Err(broken("stream names do not match"));
                }
                for (name, consumer) in rest.consumers {
                    self.consumers.add(&name, consumer)?;
                }
                let last = rest.last.max(plan.told.last_seq);
                let begin = (!self.begun).then(|| Step::Begin {
                    first: rest.last + 1,
                    bytes: 0,
                });
                let last_time = match last == rest.last {
                    true => Some(rest.last_time),
                    false => plan.told.last_time(),
                };
                let consumers = self.consumers.finish();
                Ok((
                    Contents {
                        last,
                        last_time,
                        consumers,
                    },
                    begin,
                ))
            }
            Format::Archive(_) | Format::Unknown => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn size(message: &Message) -> usize {
    message.subject.len() + message.headers.len() + message.payload.len()
}

impl Archive {
    /// Takes the next entry; gives the message that it is, if it is one.
    fn take(&mut self, entry: Entry, consumers: &mut Consumers) -> io::Result<Option<Message>> {
        let Some(state) = &self.state else {
            if entry.name != b"state.json" {
                return Err(broken("expected state.json first"));
            }
            let state: BackupState = serde_json::from_slice(entry.body())
                .map_err(|error| broken(format!("error in state.json: {error}")))?;
            state.check()?;
            self.consumers_left = state.consumer_count;
            self.last = state.last_seq;
            self.state = Some(state);
            return Ok(None);
        };
        if self.consumers_left > 0 {
            self.consumers_left -= 1;
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            let Some(name) = name.strip_prefix("consumers/") else {
                return Err(broken(format!("expected consumer, found {name:?}")));
            };
            consumers.count(entry.body().len())?;
            let consumer: BackupConsumer = serde_json::from_slice(entry.body())
                .map_err(|error| broken(format!("failed to decode consumer {name:?} state: {error}")))?;
            consumers.add(name, consumer)?;
            return Ok(None);
        }
        if entry.is_end() {
            self.ended = true;
            return Ok(None);
        }
        if entry.seq == 0 {
            return Err(broken("expected message sequence"));
        }
        if entry.seq < state.first_seq {
            return Err(broken(format!("message sequence {} out of order", entry.seq)));
        }
        self.last = self.last.max(entry.seq);
        Ok(Some(entry.into_message()))
    }
}

#[cfg(test)]
mod tests;
