//! The log, line by line as nats-server writes it: `[pid] 2026/11/22 22:00:00.000000 [INF] text`.

mod file;
mod syslog;

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::conf::Options;
use crate::conf::options::Logging;
use crate::error::{Error, Result};
use file::LogFile;
use syslog::{Severity, Syslog};

/// Events with this target are the last words of a server that cannot go on; they print as `[FTL]`.
pub const FATAL: &str = "weir_fatal";

/// Our crates' names begin with this; what libraries say of themselves is not for the user.
const OURS: &str = "weir";

/// The log of a process.
pub struct Log {
    state: Mutex<State>,
    // Asked for every line that might be written.
    debug: AtomicBool,
    trace: AtomicBool,
}

struct State {
    out: Out,
    options: Logging,
    zone: TimeZone,
    colour: bool,
}

enum Out {
    Stderr,
    File(LogFile),
    Syslog(Syslog),
}

impl Log {
    /// Opens the log that `options` describe.
    ///
    /// # Errors
    /// The log file cannot be opened, or the system's log is not there.
    pub fn open(options: &Options) -> Result<Arc<Self>> {
        let state = State::open(&options.log)?;
        Ok(Arc::new(Self {
            state: Mutex::new(state),
            debug: AtomicBool::new(options.log.debug),
            trace: AtomicBool::new(options.log.trace),
        }))
    }

    /// Makes this the log of everything the process says through `tracing`. Only the first log of a process can be that;
    /// false: there is one already.
    pub fn install(self: &Arc<Self>) -> bool {
        let subscriber = tracing_subscriber::registry().with(ToLog(Arc::clone(self)));
        tracing::subscriber::set_global_default(subscriber).is_ok()
    }

    /// Goes on as these options say, which may be elsewhere.
    ///
    /// # Errors
    /// As [`Log::open`]; the log stays as it is.
    pub fn change(&self, options: &Options) -> Result<()> {
        if self.state.lock().options == options.log {
            return Ok(());
        }
        let state = State::open(&options.log)?;
        *self.state.lock() = state;
        self.debug.store(options.log.debug, Ordering::Relaxed);
        self.trace.store(options.log.trace, Ordering::Relaxed);
        // Each place that logs remembers whether it is to.
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// Opens the log file again, for it may have been renamed. False: there is none.
    ///
    /// # Errors
    /// It cannot be opened; the log goes on in the old file.
    pub fn reopen(&self) -> Result<bool> {
        match &mut self.state.lock().out {
            Out::File(file) => {
                let reopened = file.reopen();
                reopened.map_err(|source| failed(file.path(), source)).map(|()| true)
            }
            Out::Stderr | Out::Syslog(_) => Ok(false),
        }
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(OURS)
            && match *metadata.level() {
                Level::TRACE => self.trace.load(Ordering::Relaxed),
                Level::DEBUG => self.debug.load(Ordering::Relaxed),
                _ => true,
            }
    }

    fn write(&self, metadata: &Metadata<'_>, text: &str) {
        let kind = match *metadata.level() {
            Level::ERROR if metadata.target() == FATAL => Kind::Fatal,
            Level::ERROR => Kind::Error,
            Level::WARN => Kind::Warning,
            Level::INFO => Kind::Notice,
            Level::DEBUG => Kind::Debug,
            Level::TRACE => Kind::Trace,
        };
        // There is no place left to report a log that cannot be written.
        let _ = self.state.lock().put(kind, text);
    }
}

/// What a line is.
#[derive(Clone, Copy)]
enum Kind {
    Fatal,
    Error,
    Warning,
    Notice,
    Debug,
    Trace,
}

impl Kind {
    /// Its label, and the colour of that on a terminal.
    fn label(self) -> (&'static str, u8) {
        match self {
            Self::Fatal => ("FTL", 31),
            Self::Error => ("ERR", 31),
            Self::Warning => ("WRN", 33),
            Self::Notice => ("INF", 32),
            Self::Debug => ("DBG", 36),
            Self::Trace => ("TRC", 33),
        }
    }

    fn severity(self) -> Severity {
        match self {
            Self::Fatal => Severity::Critical,
            Self::Error => Severity::Error,
            Self::Warning => Severity::Warning,
            Self::Notice | Self::Trace => Severity::Notice,
            Self::Debug => Severity::Debug,
        }
    }
}

impl State {
    /// A file goes before another machine's log, and that before this one's, as in nats-server.
    fn open(options: &Logging) -> Result<Self> {
        let system = |source| Error::System {
            doing: "error connecting to syslog",
            source,
        };
        let out = if let Some(path) = &options.file {
            let file = LogFile::open(path, options.size_limit, options.max_num);
            Out::File(file.map_err(|source| failed(path, source))?)
        } else if let Some(url) = &options.remote_syslog {
            Out::Syslog(Syslog::remote(url).map_err(system)?)
        } else if options.syslog {
            Out::Syslog(Syslog::local().map_err(system)?)
        } else {
            Out::Stderr
        };
        Ok(Self {
            colour: matches!(out, Out::Stderr) && io::stderr().is_terminal(),
            out,
            zone: if options.utc { TimeZone::UTC } else { TimeZone::system() },
            options: options.clone(),
        })
    }

    fn put(&mut self, kind: Kind, text: &str) -> io::Result<()> {
        let now = Timestamp::now().to_zoned(self.zone.clone());
        let line = self.line(kind, &now, text);
        match &mut self.out {
            Out::Stderr => io::stderr().write_all(line.as_bytes()),
            Out::Syslog(syslog) => syslog.put(kind.severity(), &now, text),
            Out::File(file) => {
                if !file.put(&line)? {
                    return Ok(());
                }
                for said in file.rotate(&now) {
                    let line = self.line(Kind::Notice, &now, &said);
                    if let Out::File(file) = &mut self.out {
                        file.put(&line)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn line(&self, kind: Kind, now: &Zoned, text: &str) -> String {
        let (label, colour) = kind.label();
        let mut line = format!("[{}] ", std::process::id());
        if self.options.time {
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
        line
    }
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::File {
        doing: "open log file",
        path: path.display().to_string(),
        source,
    }
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

#[cfg(test)]
mod tests;
