//! A backup as a source: today's archive, or the tar of an older nats-server.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use weir_backup::{BackupState, Decoder, Plan, Step};
use weir_engine::Record;
use weir_engine::embed::{Filling, Origin};
use weir_engine::stream::StreamConfig;
use weir_engine::stream::validate::ServerLimits;

use super::target::refused;
use super::{Filled, Imported, Progress, Target, told};
use crate::error::{Error, Result};
use crate::image::now;

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// A backup.
pub(super) struct Backup {
    path: PathBuf,
    file: File,
    len: u64,
    pub config: StreamConfig,
    /// The name that the stream had.
    original: String,
    state: BackupState,
}

impl Backup {
    pub fn new(path: PathBuf, file: File, config: StreamConfig, original: String, state: BackupState) -> Result<Self> {
        let len = file.metadata().map_err(|error| Error::source(&path, error))?.len();
        Ok(Self {
            path,
            file,
            len,
            config,
            original,
            state,
        })
    }

    /// Fills a stream of that configuration with what the backup holds.
    pub fn fill(
        mut self,
        target: &Target,
        account: &str,
        config: StreamConfig,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Imported> {
        let origin = target.origin(account, config)?;
        let name = origin.config.name.clone();
        let mut decoder = Decoder::trusting(Plan {
            config: origin.config.clone(),
            original: self.original.clone(),
            told: self.state.clone(),
            limits: ServerLimits::default(),
            max_payload: Record::BODY_MAX as u64,
            now: now(),
        });
        let mut stream = InFilling {
            target,
            origin: Some(origin),
            filling: None,
            read: 0,
        };
        let broken = |error| Error::source(&self.path, error);
        let store = |error| refused(account, &name, error);
        let mut piece = vec![0; PIECE];
        let mut done = 0;
        loop {
            let len = match self.file.read(&mut piece) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(error)),
            };
            decoder.push(&piece[..len]);
            loop {
                match decoder.step().map_err(broken)? {
                    Step::More => break,
                    step => stream.carry_out(step, &store)?,
                }
            }
            done += len as u64;
            progress(Progress { done, of: self.len });
        }
        let (contents, begin) = decoder.finish().map_err(broken)?;
        if let Some(begin) = begin {
            stream.carry_out(begin, &store)?;
        }
        let filled = Filled {
            read: stream.read,
            consumers: contents
                .consumers
                .iter()
                .map(|consumer| consumer.name.clone())
                .collect(),
        };
        // A backup that ends as it should has begun a stream.
        let filling = stream.filling.ok_or_else(|| broken(ErrorKind::UnexpectedEof.into()))?;
        let stream = filling
            .finish(contents.last, contents.last_time, contents.consumers)
            .map_err(store)?;
        told(target, &stream, account, &name, filled)
    }
}

/// The stream that comes to be.
struct InFilling<'a> {
    target: &'a Target,
    /// Until it is begun.
    origin: Option<Origin>,
    filling: Option<Filling>,
    /// Messages so far, without those that were taken out again.
    read: u64,
}

impl InFilling<'_> {
    fn carry_out(&mut self, step: Step, store: &dyn Fn(weir_engine::Error) -> Error) -> Result<()> {
        match (step, &mut self.filling) {
            (Step::Begin { first, .. }, _) => {
                if let Some(origin) = self.origin.take() {
                    self.filling = Some(self.target.begin(origin, first)?);
                }
                Ok(())
            }
            (
                Step::Fill {
                    messages,
                    removals_follow,
                },
                Some(filling),
            ) => {
                self.read += messages.len() as u64;
                filling.push(messages, removals_follow).map_err(store)
            }
            (Step::Remove(seqs), Some(filling)) => filling.remove(seqs).map_err(store),
            // The decoder begins before it fills.
            (Step::Fill { .. } | Step::Remove(_) | Step::More, _) => Ok(()),
        }
    }
}
