//! The log, line by line as nats-server writes it: `[pid] 2026/11/22 22:00:00.000000 [INF] text`.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::conf::Options;
use crate::error::{Error, Result};

/// Events with this target are the last words of a server that cannot go on; they print as `[FTL]`.
pub const FATAL: &str = "weir_fatal";

/// Our crates' names begin with this; what libraries say of themselves is not for the user.
const OURS: &str = "weir";

/// The log of a process.
pub struct Log {
    file: Option<PathBuf>,
    out: Mutex<Out>,
    debug: bool,
    trace: bool,
    time: bool,
    zone: TimeZone,
    colour: bool,
    size_max: Option<u64>,
}

enum Out {
    Stderr,
    File { file: File, size: u64 },
}

impl Log {
    /// Opens the log that `options` describe.
    ///
    /// # Errors
    /// The log file cannot be opened.
    pub fn open(options: &Options) -> Result<Arc<Self>> {
        let file = options.log.file.clone();
        let out = match &file {
            None => Out::Stderr,
            Some(path) => append_to(path)?,
        };
        Ok(Arc::new(Self {
            colour: file.is_none() && io::stderr().is_terminal(),
            file,
            out: Mutex::new(out),
            debug: options.log.debug,
            trace: options.log.trace,
            time: options.log.time,
            zone: TimeZone::system(),
            size_max: options.log.size_limit,
        }))
    }

    /// Makes this the log of everything the process says through `tracing`. Only the first log of a process can be that;
    /// false: there is one already.
    pub fn install(self: &Arc<Self>) -> bool {
        let subscriber = tracing_subscriber::registry().with(ToLog(Arc::clone(self)));
        tracing::subscriber::set_global_default(subscriber).is_ok()
    }

    /// Opens the log file again, for it may have been renamed.
    ///
    /// # Errors
    /// It cannot be opened; the log goes on in the old file.
    pub fn reopen(&self) -> Result<()> {
        if let Some(path) = &self.file {
            let file = append_to(path)?;
            *self.out.lock() = file;
        }
        Ok(())
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(OURS)
            && match *metadata.level() {
                Level::TRACE => self.trace,
                Level::DEBUG => self.debug,
                _ => true,
            }
    }

    fn write(&self, metadata: &Metadata<'_>, text: &str) {
        let (label, colour) = match *metadata.level() {
            Level::ERROR if metadata.target() == FATAL => ("FTL", 31),
            Level::ERROR => ("ERR", 31),
            Level::WARN => ("WRN", 33),
            Level::INFO => ("INF", 32),
            Level::DEBUG => ("DBG", 36),
            Level::TRACE => ("TRC", 33),
        };
        let mut line = format!("[{}] ", std::process::id());
        if self.time {
            let now = Timestamp::now().to_zoned(self.zone.clone());
            let micros = now.subsec_nanosecond() / 1_000;
            // Writing to a String cannot fail.
            let _ = write!(line, "{}.{micros:06} ", now.strftime("%Y/%m/%d %H:%M:%S"));
        }
        let _ = if self.colour {
            write!(line, "[\x1b[{colour}m{label}\x1b[0m] ")
        } else {
            write!(line, "[{label}] ")
        };
        line.push_str(text);
        line.push('\n');
        // There is no place left to report a log that cannot be written.
        let _ = self.put(&mut self.out.lock(), &line);
    }

    fn put(&self, out: &mut Out, line: &str) -> io::Result<()> {
        let (file, size) = match out {
            Out::Stderr => return io::stderr().write_all(line.as_bytes()),
            Out::File { file, size } => (file, size),
        };
        *size += line.len() as u64;
        file.write_all(line.as_bytes())?;
        let (Some(path), Some(max)) = (&self.file, self.size_max) else {
            return Ok(());
        };
        if *size > max {
            let now = Timestamp::now().to_zoned(self.zone.clone());
            let mut old = path.clone().into_os_string();
            old.push(format!(
                ".{}.{:09}",
                now.strftime("%Y.%m.%d.%H.%M.%S"),
                now.subsec_nanosecond()
            ));
            std::fs::rename(path, old)?;
            *out = append_to(path).map_err(|error| io::Error::other(error.to_string()))?;
        }
        Ok(())
    }
}

fn append_to(path: &PathBuf) -> Result<Out> {
    let failed = |source| Error::File {
        doing: "open log file",
        path: path.display().to_string(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    Ok(Out::File { file, size })
}

/// What `tracing` calls.
struct ToLog(Arc<Log>);

impl<S: Subscriber> Layer<S> for ToLog {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.0.wants(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0.write(event.metadata(), &text.0);
    }
}

/// The message of an event, and behind it its fields.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            let rest = std::mem::take(&mut self.0);
            write!(self.0, "{value:?}{rest}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.insert_str(0, value);
        } else {
            self.record_debug(field, &value);
        }
    }
}
