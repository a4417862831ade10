//! The consumers of a backup.

use std::io;

use weir_engine::NanoTime;
use weir_engine::consumer::validate::{Action, validate_new};
use weir_engine::consumer::{ConsumerConfig, ConsumerSnapshot};
use weir_engine::stream::StreamConfig;
use weir_engine::stream::validate::ServerLimits;

use crate::archive::{BackupConsumer, PARTS_MAX, broken, check_seq};

/// The consumers of a backup, each held against the rules for a new one and those before it.
#[derive(Debug)]
pub struct Consumers {
    stream: StreamConfig,
    limits: ServerLimits,
    now: NanoTime,
    kept: Vec<ConsumerSnapshot>,
    /// Bytes of what they were read from.
    bytes: u64,
}

impl Consumers {
    /// None yet, of a stream that is made at `now`.
    pub fn new(stream: &StreamConfig, limits: ServerLimits, now: NanoTime) -> Self {
        Self {
            stream: stream.clone(),
            limits,
            now,
            kept: Vec::new(),
            bytes: 0,
        }
    }

    /// Counts what consumers were read from.
    ///
    /// # Errors
    /// If all together are too large.
    pub(crate) fn count(&mut self, bytes: usize) -> io::Result<()> {
        self.bytes += bytes as u64;
        match self.bytes > PARTS_MAX {
            true => Err(broken("the consumers of the backup are too large")),
            false => Ok(()),
        }
    }

    /// Takes one up under a name.
    ///
    /// # Errors
    /// The name is taken, or the consumer breaks a rule; the text names it.
    pub fn add(&mut self, name: &str, mut consumer: BackupConsumer) -> io::Result<()> {
        let failed = |why: &dyn std::fmt::Display| broken(format!("failed to add consumer {name:?}: {why}"));
        consumer.check().map_err(|error| {
            // As nats-server has it.
            broken(format!("failed to set consumer {name:?} state: {error}"))
        })?;
        if name.is_empty() || self.kept.iter().any(|other| other.name == name) {
            return Err(failed(&"consumer name already in use"));
        }
        consumer.config.name = name.to_owned();
        if let Some(seq) = Some(consumer.config.opt_start_seq).filter(|seq| *seq > 0) {
            check_seq("start sequence", seq).map_err(|error| failed(&error))?;
        }
        let others = self.kept.iter().map(|other| (&*other.name, &other.config));
        let config: ConsumerConfig = validate_new(
            consumer.config,
            &self.stream,
            others,
            Action::Create,
            &self.limits,
            false,
        )
        .map_err(|rejection| failed(&rejection.text))?;
        let consumer = BackupConsumer {
            config,
            state: consumer.state,
        };
        let serial = self.kept.len() as u64 + 1;
        self.kept.push(consumer.into_snapshot(name, serial, self.now));
        Ok(())
    }

    /// Takes one up as [`Consumers::add`] does, that was made at another time.
    ///
    /// # Errors
    /// As those of [`Consumers::add`].
    pub fn add_made(&mut self, name: &str, consumer: BackupConsumer, created: NanoTime) -> io::Result<()> {
        self.add(name, consumer)?;
        if let Some(consumer) = self.kept.last_mut() {
            consumer.created = created;
        }
        Ok(())
    }

    /// All of them, as the engine takes them up.
    pub fn finish(self) -> Vec<ConsumerSnapshot> {
        self.kept
    }
}
