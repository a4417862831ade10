//! The command line, as Go's `flag` package reads it: `-name value`, `-name=value`, one dash or two, `-bool` and `-bool=false`.

use crate::error::ConfError;
use crate::options::{CURVES, SUITES};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, or `=true`, `=false`.
    Bool,
    /// A text; the name of it in the usage.
    Text(&'static str),
    /// A whole number; the name of it in the usage.
    Int(&'static str),
}

/// The version of nats-server that this is like.
pub(crate) const NATS_VERSION: &str = "2.15.1";

/// One flag of nats-server 2.15.
#[derive(Debug)]
pub struct Flag {
    /// Its names without dashes, the one that means it first.
    pub names: &'static [&'static str],
    /// What it takes.
    pub kind: Kind,
    /// Whether Weir does what it asks for. If not, it is refused.
    pub supported: bool,
    /// Line of the usage.
    pub help: &'static str,
}

const fn flag(names: &'static [&'static str], kind: Kind, help: &'static str) -> Flag {
    Flag {
        names,
        kind,
        supported: true,
        help,
    }
}

const fn not_yet(names: &'static [&'static str], kind: Kind) -> Flag {
    Flag {
        names,
        kind,
        supported: false,
        help: "",
    }
}

use Kind::{Bool, Int, Text};

/// Every flag nats-server 2.15 has.
pub const FLAGS: &[Flag] = &[
    flag(
        &["addr", "a", "net"],
        Text("host"),
        "Bind to host address (default: 0.0.0.0)",
    ),
    flag(
        &["port", "p"],
        Int("port"),
        "Use port for clients, -1 for any free one (default: 4222)",
    ),
    flag(
        &["server_name", "name", "n"],
        Text("name"),
        "Server name (default: auto)",
    ),
    flag(&["pid", "P"], Text("file"), "File to store PID"),
    flag(&["http_port", "m"], Int("port"), "Use port for http monitoring"),
    flag(&["https_port", "ms"], Int("port"), "Use port for https monitoring"),
    flag(&["config", "c"], Text("file"), "Configuration file"),
    flag(&["t"], Bool, "Test configuration and exit"),
    flag(
        &["client_advertise"],
        Text("host:port"),
        "Client URL to advertise to other servers",
    ),
    flag(
        &["ports_file_dir"],
        Text("dir"),
        "Create a ports file in this directory (<executable_name>_<pid>.ports)",
    ),
    flag(&["log", "l"], Text("file"), "File to redirect log output"),
    flag(&["logtime", "T"], Bool, "Timestamp log entries (default: true)"),
    flag(&["debug", "D"], Bool, "Enable debugging output"),
    flag(&["trace", "V"], Bool, "Trace the raw protocol"),
    flag(&["VV"], Bool, "Verbose trace (traces system account as well)"),
    flag(&["DV"], Bool, "Debug and trace"),
    flag(
        &["DVV"],
        Bool,
        "Debug and verbose trace (traces system account as well)",
    ),
    flag(&["log_size_limit"], Int("bytes"), "Logfile size limit (default: none)"),
    flag(
        &["max_traced_msg_len"],
        Int("bytes"),
        "Maximum printable length for traced messages (default: unlimited)",
    ),
    flag(&["jetstream", "js"], Bool, "Enable JetStream functionality"),
    flag(&["store_dir", "sd"], Text("dir"), "Set the storage directory"),
    flag(&["user"], Text("user"), "User required for connections"),
    flag(&["pass"], Text("password"), "Password required for connections"),
    flag(&["auth"], Text("token"), "Authorization token required for connections"),
    flag(
        &["signal", "sl"],
        Text("signal[=pid]"),
        "Send a signal to a running server: ldm, stop, quit, term, reopen or reload; pid: a number, or a file with one",
    ),
    flag(&["logtime_utc"], Bool, "Timestamps in UTC"),
    flag(&["syslog", "s"], Bool, "Log to the system's log"),
    flag(
        &["remote_syslog", "r"],
        Text("addr"),
        "Log to the system log of another machine (udp://localhost:514)",
    ),
    flag(
        &["tls"],
        Bool,
        "Enable TLS (-tls=false: without, whatever the file says)",
    ),
    flag(&["tlscert"], Text("file"), "Server certificate file"),
    flag(&["tlskey"], Text("file"), "Private key for server certificate"),
    flag(&["tlsverify"], Bool, "Enable TLS, verify client certificates"),
    flag(&["tlscacert"], Text("file"), "Client certificate CA for verification"),
    flag(&["help_tls"], Bool, "Show what a tls block holds"),
    flag(&["help", "h"], Bool, "Show this message"),
    flag(&["version", "v"], Bool, "Show version"),
    not_yet(&["routes"], Text("urls")),
    not_yet(&["cluster"], Text("url")),
    not_yet(&["cluster_name"], Text("name")),
    not_yet(&["no_advertise"], Bool),
    not_yet(&["cluster_advertise"], Text("url")),
    not_yet(&["connect_retries"], Int("number")),
    not_yet(&["cluster_listen"], Text("url")),
    not_yet(&["profile"], Int("port")),
];

/// A value from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlagValue {
    /// Of a [`Kind::Bool`].
    Bool(bool),
    /// Of a [`Kind::Text`].
    Text(String),
    /// Of a [`Kind::Int`].
    Int(i64),
}

/// A flag that was given: its first name and its value.
pub type Given = (&'static str, FlagValue);

/// Reads `args` (without the program's name) into pairs of a flag's first name and its value, in their order, and the words
/// behind the flags. As in Go, the first word that is no flag, or `--`, ends the flags.
///
/// # Errors
/// An unknown flag, one that Weir does not support yet, or a value that is missing or of the wrong kind.
pub fn parse(args: &[String]) -> Result<(Vec<Given>, Vec<String>), ConfError> {
    let fail = |message: String| Err(ConfError::Setting(message));
    let mut found = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(body) = arg.strip_prefix('-').filter(|body| !body.is_empty()) else {
            return Ok((found, std::iter::once(arg).chain(args).cloned().collect()));
        };
        let body = body.strip_prefix('-').unwrap_or(body);
        if body.is_empty() {
            return Ok((found, args.cloned().collect()));
        }
        let (name, inline) = body
            .split_once('=')
            .map_or((body, None), |(name, value)| (name, Some(value)));
        if name.is_empty() || name.starts_with('-') {
            return fail(format!("bad flag syntax: {arg}"));
        }
        let Some(flag) = FLAGS.iter().find(|flag| flag.names.contains(&name)) else {
            return fail(format!("flag provided but not defined: -{name}"));
        };
        let text = match (flag.kind, inline) {
            (Bool, inline) => inline.unwrap_or("true"),
            (_, Some(inline)) => inline,
            (_, None) => match args.next() {
                Some(next) => next,
                None => return fail(format!("flag needs an argument: -{name}")),
            },
        };
        let value = match flag.kind {
            Text(_) => FlagValue::Text(text.to_owned()),
            Int(_) => match int(text) {
                Some(n) => FlagValue::Int(n),
                None => {
                    return fail(format!("invalid value {text:?} for flag -{name}: not a whole number"));
                }
            },
            Bool => match text {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => FlagValue::Bool(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => FlagValue::Bool(false),
                _ => {
                    return fail(format!(
                        "invalid boolean value {text:?} for -{name}: write true or false"
                    ));
                }
            },
        };
        found.push((flag.names[0], value));
    }
    Ok((found, Vec::new()))
}

/// A whole number as Go reads it: also with `0x`, `0o`, `0b`, or a 0 in front of octal digits, and with `_` between digits.
fn int(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some(_) if lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.starts_with(['+', '-', '_']) || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{}", digits.replace('_', "")), base).ok()
}

/// The help text: the flags that are supported.
#[must_use]
pub fn usage() -> String {
    let mut text = String::from("\nUsage: weir-server [options]\n\nOptions, with one dash or two:\n");
    for flag in FLAGS.iter().filter(|flag| flag.supported) {
        let mut names: Vec<&str> = flag.names.to_vec();
        names.sort_by_key(|name| name.len());
        let mut left = names
            .iter()
            .map(|name| format!("{}{name}", if name.len() < 4 { "-" } else { "--" }))
            .collect::<Vec<_>>()
            .join(", ");
        if let Text(what) | Int(what) = flag.kind {
            left.push_str(&format!(" <{what}>"));
        }
        text.push_str(&format!("    {left:<36} {}\n", flag.help));
    }
    text
}

/// What `--help_tls` prints.
#[must_use]
pub fn tls_usage() -> String {
    let mut text = TLS_USAGE.to_owned();
    for (what, choices) in [("cipher suites", SUITES), ("curve preferences", CURVES)] {
        text.push_str(&format!("\nAvailable {what} include:\n"));
        for choice in choices.iter().filter(|choice| choice.there) {
            text.push_str(&format!("    {}\n", choice.name));
        }
    }
    text
}

const TLS_USAGE: &str = "TLS is described in the tls section of a configuration file:

    tls {
        cert_file:      \"./certs/server-cert.pem\"
        key_file:       \"./certs/server-key.pem\"
        ca_file:        \"./certs/ca.pem\"
        verify:         true
        verify_and_map: true

        cipher_suites: [
            \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\",
            \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"
        ]
        curve_preferences: [
            \"CurveP256\",
            \"CurveP384\"
        ]
    }
";

/// What `--version` prints to the standard output: the nats-server that Weir stands in for, in its own words and nothing
/// else, for tools that compare it, or take its last word. [`own_version_line`] goes to the standard error.
#[must_use]
pub fn version_line() -> &'static str {
    "nats-server: v2.15.1"
}

/// What `--version` prints to the standard error: Weir's own version.
#[must_use]
pub fn own_version_line(weir_version: &str) -> String {
    format!("weir-server: v{weir_version}")
}

/// What `-t` prints when the file is right; goes to standard error, exit status 0.
#[must_use]
pub fn check_message(file: &str, digest: &str) -> String {
    format!("nats-server: configuration file {file} is valid ({digest})")
}
