//! Lines of JSON as a source, as `weir export --format jsonl` writes them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use weir_backup::Consumers;
use weir_backup::lines::{Head, Line, parse_line};
use weir_engine::Record;
use weir_engine::stream::validate::ServerLimits;
use weir_engine::stream::{Message, StreamConfig};

use super::target::refused;
use super::{BYTES, Filled, Imported, MESSAGES, Progress, Target, told};
use crate::error::{Error, Result};
use crate::image::now;

/// The longest line, in bytes: a message of the largest size in base64, or all consumers.
const LINE_MAX: u64 = Record::BODY_MAX as u64 / 3 * 4 + (1 << 20);

/// Lines, of which the first was read.
pub(crate) struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    len: u64,
    done: u64,
    /// Lines that were read.
    number: u64,
    /// The last line was read.
    ended: bool,
    pub config: StreamConfig,
    head: Head,
}

impl Lines {
    /// Opens a file with lines.
    ///
    /// # Errors
    /// If it cannot be read, or its first line is none of them.
    pub fn at(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::source(path, error))?;
        Self::new(path.to_path_buf(), file, None)
    }

    /// What the first line says; nothing is left of it here.
    pub fn take_head(&mut self) -> Head {
        let config = self.head.config.clone();
        std::mem::replace(&mut self.head, Head::new(config, None, Default::default(), Vec::new()))
    }

    pub fn new(path: PathBuf, file: File, instead: Option<StreamConfig>) -> Result<Self> {
        let open = || {
            let len = file.metadata()?.len();
            let mut file = BufReader::with_capacity(256 << 10, file);
            let mut line = Vec::new();
            let done = read_line(&mut file, &mut line)?;
            Ok((Head::parse(&line)?, file, len, done))
        };
        let (head, file, len, done) = open().map_err(|error| Error::source(&path, error))?;
        Ok(Self {
            config: instead.unwrap_or_else(|| head.config.clone()),
            path,
            file,
            len,
            done,
            number: 1,
            ended: false,
            head,
        })
    }

    /// Fills a stream of that configuration with the messages and consumers.
    pub fn fill(
        mut self,
        target: &Target,
        account: &str,
        config: StreamConfig,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Imported> {
        let mut origin = target.origin(account, config)?;
        origin.created = self.head.created();
        let name = origin.config.name.clone();
        let store = |error| refused(account, &name, error);
        let path = self.path.clone();
        let broken = |error| Error::source(&path, error);
        let consumers = self.consumers(&origin.config).map_err(broken)?;
        let mut filling = target.begin(origin, self.head.state.first_seq)?;
        let (mut read, mut last, mut last_time) = (0, self.head.state.last_seq, self.head.state.last_time());
        loop {
            let messages = self.portion().map_err(broken)?;
            progress(Progress {
                done: self.done,
                of: self.len,
            });
            let Some(newest) = messages.last() else {
                break;
            };
            if newest.seq > last {
                (last, last_time) = (newest.seq, Some(newest.time));
            }
            read += messages.len() as u64;
            filling.push(messages, false).map_err(store)?;
        }
        let filled = Filled {
            read,
            consumers: consumers.iter().map(|consumer| consumer.name.clone()).collect(),
        };
        let stream = filling.finish(last, last_time, consumers).map_err(store)?;
        told(target, &stream, account, &name, filled)
    }

    fn consumers(&mut self, config: &StreamConfig) -> io::Result<Vec<weir_engine::consumer::ConsumerSnapshot>> {
        let mut consumers = Consumers::new(config, ServerLimits::default(), now());
        for consumer in std::mem::take(&mut self.head.consumers) {
            let name = consumer.config.name.clone();
            consumers.add(&name, consumer)?;
        }
        Ok(consumers.finish())
    }

    /// The next messages; none behind the last.
    ///
    /// # Errors
    /// If a line makes no sense, or they end too early.
    pub fn portion(&mut self) -> io::Result<Vec<Message>> {
        let (mut messages, mut bytes, mut line) = (Vec::new(), 0, Vec::new());
        while !self.ended && messages.len() < MESSAGES && bytes < BYTES {
            line.clear();
            self.done += read_line(&mut self.file, &mut line)?;
            if line.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.number += 1;
            match parse_line(&line, self.number, Record::BODY_MAX as u64)? {
                Line::Message(message) => {
                    bytes += message.headers.len() + message.payload.len();
                    messages.push(message);
                }
                // What comes behind the end is no matter.
                Line::End => self.ended = true,
            }
        }
        Ok(messages)
    }
}

/// Reads a line with its end; answers its length.
fn read_line(file: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<u64> {
    let read = file.take(LINE_MAX).read_until(b'\n', line)? as u64;
    match read == LINE_MAX {
        true => Err(io::Error::new(ErrorKind::InvalidData, "a line is too long")),
        false => Ok(read),
    }
}
