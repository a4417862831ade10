//! Lines of JSON, in a file or on the standard output.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use weir_backup::lines::{END, Head, put_message};
use weir_backup::{BackupConsumer, BackupState};
use weir_engine::NanoTime;
use weir_engine::stream::{Message, StreamConfig};

use super::output::Output;

/// What means the standard output.
pub const STANDARD_OUTPUT: &str = "-";

/// The lines while they are written.
pub(crate) struct Lines<'a> {
    path: &'a Path,
    output: Output,
    /// `None` for the standard output.
    file: Option<File>,
    out: BufWriter<Box<dyn Write>>,
    line: Vec<u8>,
}

impl<'a> Lines<'a> {
    pub fn begin(
        path: &'a Path,
        config: StreamConfig,
        created: Option<NanoTime>,
        state: BackupState,
        consumers: Vec<BackupConsumer>,
    ) -> io::Result<Self> {
        let mut output = Output::default();
        let (file, out): (_, Box<dyn Write>) = match path == Path::new(STANDARD_OUTPUT) {
            true => (None, Box::new(io::stdout())),
            false => {
                let file = output.file(path)?;
                (Some(file.try_clone()?), Box::new(file))
            }
        };
        let mut out = BufWriter::with_capacity(256 << 10, out);
        out.write_all(&Head::new(config, created, state, consumers).to_line())?;
        Ok(Self {
            path,
            output,
            file,
            out,
            line: Vec::new(),
        })
    }

    pub fn message(&mut self, message: &Message) -> io::Result<()> {
        self.line.clear();
        put_message(message, &mut self.line);
        self.out.write_all(&self.line)
    }

    pub fn finish(mut self) -> io::Result<()> {
        self.out.write_all(END)?;
        self.out.flush()?;
        if let Some(file) = &self.file {
            file.sync_all()?;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        self.output.finish();
        Ok(())
    }
}
