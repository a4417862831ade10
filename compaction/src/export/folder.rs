//! A folder as `nats stream backup` makes it, which `nats stream restore` brings into any server.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use weir_backup::{BackupConsumer, BackupState, Writer};
use weir_engine::stream::{Message, StreamConfig};

use super::output::Output;
use crate::image::now;
use crate::import::{ARCHIVE, DESCRIPTION};

/// Bytes that are handed to the file at a time, about.
const PIECE: usize = 1 << 20;

/// The folder while it is written. The description comes last: without it, it is no backup.
pub(super) struct Folder<'a> {
    path: &'a Path,
    output: Output,
    archive: File,
    writer: Writer,
    description: Vec<u8>,
    /// Bytes of messages since something was handed to the file.
    bytes: usize,
}

/// As the command line writes it, for the request of a restore.
#[derive(Serialize)]
struct Description<'a> {
    config: &'a StreamConfig,
    state: &'a BackupState,
}

impl<'a> Folder<'a> {
    pub fn begin(
        path: &'a Path,
        config: &StreamConfig,
        state: BackupState,
        consumers: &[BackupConsumer],
    ) -> io::Result<Self> {
        let mut output = Output::default();
        output.folder(path)?;
        let archive = output.file(&path.join(ARCHIVE))?;
        let description = serde_json::to_vec_pretty(&Description { config, state: &state })?;
        let now = now();
        let mut writer = Writer::new(&state, now);
        for consumer in consumers {
            writer.consumer(consumer, now)?;
        }
        Ok(Self {
            path,
            output,
            archive,
            writer,
            description,
            bytes: 0,
        })
    }

    pub fn message(&mut self, message: &Message) -> io::Result<()> {
        self.writer.message(message);
        self.bytes += message.subject.len() + message.headers.len() + message.payload.len();
        if self.bytes >= PIECE {
            self.bytes = 0;
            self.archive.write_all(&self.writer.take())?;
        }
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<()> {
        self.archive.write_all(&self.writer.finish())?;
        self.archive.sync_all()?;
        let mut file = self.output.file(&self.path.join(DESCRIPTION))?;
        file.write_all(&self.description)?;
        file.sync_all()?;
        File::open(self.path)?.sync_all()?;
        self.output.finish();
        Ok(())
    }
}
