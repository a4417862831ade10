//! Where the log goes, and what is in it.

use std::path::PathBuf;

use super::{Options, read};
use crate::error::ConfError;
use crate::file::Entry;

/// What is said of this server's doings, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Log what helps to find faults.
    pub debug: bool,
    /// Log the protocol.
    pub trace: bool,
    /// Log the system account's protocol, too.
    pub trace_verbose: bool,
    /// Of messages log the headers alone.
    pub trace_headers: bool,
    /// Begin lines with the time.
    pub time: bool,
    /// That of Greenwich.
    pub utc: bool,
    /// To this file.
    pub file: Option<PathBuf>,
    /// Begin a new file beyond this many bytes.
    pub size_limit: Option<u64>,
    /// Keep this many files, the one that is written included; `None`: all.
    pub max_num: Option<u64>,
    /// To the system's own log; used if there is no file.
    pub syslog: bool,
    /// To the system log of another machine, `udp://host:port`; used if there is no file.
    pub remote_syslog: Option<String>,
    /// Longest part of a message to log, in bytes.
    pub max_traced_msg_len: Option<u64>,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            debug: false,
            trace: false,
            trace_verbose: false,
            trace_headers: false,
            time: true,
            utc: false,
            file: None,
            size_limit: None,
            max_num: None,
            syslog: false,
            remote_syslog: None,
            max_traced_msg_len: None,
        }
    }
}

/// Reads a key of the log's; false: it is none.
pub(super) fn apply(o: &mut Options, e: &Entry) -> Result<bool, ConfError> {
    let log = &mut o.log;
    match e.key.to_ascii_lowercase().as_str() {
        "debug" => log.debug = read::boolean(e)?,
        "trace" => log.trace = read::boolean(e)?,
        "trace_verbose" => {
            log.trace_verbose = read::boolean(e)?;
            log.trace |= log.trace_verbose;
        }
        "trace_headers" => {
            log.trace_headers = read::boolean(e)?;
            log.trace |= log.trace_headers;
        }
        "logtime" => log.time = read::boolean(e)?,
        "logtime_utc" => log.utc = read::boolean(e)?,
        "logfile" | "log_file" => log.file = Some(read::name(e)?.into()),
        "logfile_size_limit" | "log_size_limit" => log.size_limit = read::limit(e)?,
        "logfile_max_num" | "log_max_num" => log.max_num = read::limit(e)?,
        "syslog" => log.syslog = read::boolean(e)?,
        "remote_syslog" => log.remote_syslog = Some(read::text(e)?).filter(|address| !address.is_empty()),
        "max_traced_msg_len" => log.max_traced_msg_len = read::limit(e)?,
        _ => return Ok(false),
    }
    Ok(true)
}
