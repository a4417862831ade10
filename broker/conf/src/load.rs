//! From the arguments to what to do: the file first, then the flags over it, then the checks that need both.

use crate::error::{ConfError, Faults};
use crate::file::{self, Env};
use crate::flags::{self, FlagValue};
use crate::options::{self, Auth, Listen, Options, Tls, User, Warning, profiling};

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Run a server.
    Run(Box<Options>),
    /// Print [`version_line`](crate::version_line) and [`own_version_line`](crate::own_version_line), and end.
    PrintVersion,
    /// Print this and end.
    PrintHelp(String),
    /// Send this to a running server and end: `reload`, `ldm=4711`, `quit=/run/nats.pid`.
    Signal(String),
    /// `-t`: the file is right as far as it alone can tell. If the machine has what it asks for, print
    /// [`check_message`](crate::check_message) and end.
    CheckConfig {
        /// Name of the file as given.
        file: String,
        /// What a server would run with.
        options: Box<Options>,
    },
}

impl Options {
    /// Reads the command line (`args` without the program's name) and the configuration file it names.
    ///
    /// # Errors
    /// Whatever is wrong with either; see [`ConfError`].
    pub fn load(args: &[String], env: Env<'_>) -> Result<Command, ConfError> {
        let (found, words) = flags::parse(args)?;
        let last = |name: &str| found.iter().rev().find(|(n, _)| *n == name).map(|(_, value)| value);
        let is_set = |name: &str| last(name) == Some(&FlagValue::Bool(true));
        let text = |name: &str| match last(name) {
            Some(FlagValue::Text(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        if is_set("version") {
            return Ok(Command::PrintVersion);
        }
        if is_set("help") {
            return Ok(Command::PrintHelp(flags::usage()));
        }
        if is_set("help_tls") {
            return Ok(Command::PrintHelp(flags::tls_usage()));
        }
        match words.first().map(String::as_str) {
            None => {}
            Some(word) if word.eq_ignore_ascii_case("help") => {
                return Ok(Command::PrintHelp(flags::usage()));
            }
            Some(word) if word.eq_ignore_ascii_case("version") => return Ok(Command::PrintVersion),
            Some(word) => return setting(format!("unrecognized command: {word:?}")),
        }
        if let Some(signal) = text("signal") {
            return Ok(Command::Signal(signal));
        }
        let file = text("config");
        let mut options = Self::default();
        if let Some(file) = &file {
            let map = file::parse_file(file, env)?;
            if map.entries.is_empty() {
                let text = format!("{file}: config has no values or is empty");
                options.warnings.push(Warning::doubtful(text));
            }
            options::apply(&mut options, &map)?;
            options.config_file = Some(file.into());
            options.config_digest = file::digest(&map);
        }
        apply_flags(&mut options, &found)?;
        options::settle_trust(&mut options).map_err(ConfError::Setting)?;
        options.check()?;
        options.warn_of_encryption();
        match (is_set("t"), file) {
            (true, Some(file)) => {
                let mut faults = Faults::default();
                for warning in options.warnings.iter().filter(|warning| warning.fails_check) {
                    faults.take(setting::<()>(warning.to_string()));
                }
                faults.end()?;
                Ok(Command::CheckConfig {
                    file,
                    options: Box::new(options),
                })
            }
            (true, None) => setting("must specify [-c, --config] option to check configuration file syntax"),
            (false, _) => Ok(Command::Run(Box::new(options))),
        }
    }

    /// Reads a configuration text over the defaults; `name` stands for the file in messages and includes.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn parse(text: &str, name: &str, env: Env<'_>) -> Result<Self, ConfError> {
        let mut options = Self::default();
        options::apply(&mut options, &file::parse(text, name, env)?)?;
        options::settle_trust(&mut options).map_err(ConfError::Setting)?;
        options.check()?;
        options.warn_of_encryption();
        Ok(options)
    }

    /// What says nothing because of what the store is encrypted with, or is not.
    fn warn_of_encryption(&mut self) {
        let js = &self.jetstream;
        if js.key.is_none() && js.prev_key.is_some() {
            let text =
                "jetstream prev_key has no effect without a key: a store that is encrypted is refused".to_owned();
            self.warnings.push(Warning::effectless(text));
        }
    }

    /// What one key alone cannot tell.
    fn check(&self) -> Result<(), ConfError> {
        if self.max_payload as u64 > self.max_pending {
            let (payload, pending) = (self.max_payload, self.max_pending);
            return setting(format!(
                "max_payload ({payload}) cannot be higher than max_pending ({pending}): raise max_pending"
            ));
        }
        if self.jetstream.enabled && self.max_payload > options::RECORD_MAX {
            let payload = self.max_payload;
            return setting(format!(
                "max_payload ({payload}) is more than JetStream can store in one message ({}): lower max_payload, or turn JetStream off",
                options::RECORD_MAX
            ));
        }
        if self.jetstream.key.is_some() && self.jetstream.index == Some(options::Index::Paged) {
            return setting(
                "jetstream: an index in the backend (index: paged) would tell the subjects of a store that is encrypted: leave it out, or the \
                 key"
                .to_owned(),
            );
        }
        self.auth.check().map_err(ConfError::Setting)?;
        if let Some(name) = &self.system_account
            && name != "$SYS"
            && !self.trust.is_on()
            && !self.accounts.iter().any(|account| account.name == *name)
        {
            return setting(format!("error resolving system account: account {name:?} is missing"));
        }
        if self.lame_duck_grace_period >= self.lame_duck_duration {
            return setting("lame_duck_grace_period must be shorter than lame_duck_duration");
        }
        options::check_tls(self).map_err(ConfError::Setting)?;
        options::check_websocket(self).map_err(ConfError::Setting)
    }
}

fn setting<T>(message: impl Into<String>) -> Result<T, ConfError> {
    Err(ConfError::Setting(message.into()))
}

fn apply_flags(o: &mut Options, found: &[flags::Given]) -> Result<(), ConfError> {
    let (mut user, mut password, mut token) = (None, None, None);
    for (name, value) in found {
        match (*name, value) {
            ("addr", FlagValue::Text(host)) => o.host.clone_from(host),
            ("port", FlagValue::Int(n)) => o.port = flag_port("port", *n)?.unwrap_or(options::DEFAULT_PORT),
            ("server_name", FlagValue::Text(s)) => {
                options::check_server_name(s).map_err(|e| ConfError::Setting(format!("flag -server_name: {e}")))?;
                o.server_name = Some(s.clone());
            }
            ("pid", FlagValue::Text(s)) => o.pid_file = Some(s.into()),
            ("http_port", FlagValue::Int(n)) => {
                let host = o.http.take().map_or_else(String::new, |http| http.host);
                o.http = flag_port("http_port", *n)?.map(|port| Listen { host, port });
            }
            ("https_port", FlagValue::Int(n)) => {
                let host = o.https.take().map_or_else(String::new, |https| https.host);
                o.https = flag_port("https_port", *n)?.map(|port| Listen { host, port });
            }
            ("client_advertise", FlagValue::Text(s)) => {
                options::check_advertise(s).map_err(|e| ConfError::Setting(format!("flag -client_advertise: {e}")))?;
                o.client_advertise = Some(s.clone());
            }
            ("ports_file_dir", FlagValue::Text(s)) => o.ports_file_dir = Some(s.into()),
            ("logtime_utc", FlagValue::Bool(b)) => o.log.utc = *b,
            ("syslog", FlagValue::Bool(b)) => o.log.syslog = *b,
            ("remote_syslog", FlagValue::Text(s)) => o.log.remote_syslog = Some(s.clone()).filter(|s| !s.is_empty()),
            ("log", FlagValue::Text(s)) => o.log.file = Some(s.into()),
            ("logtime", FlagValue::Bool(b)) => o.log.time = *b,
            ("debug", FlagValue::Bool(b)) => o.log.debug = *b,
            ("trace", FlagValue::Bool(b)) => o.log.trace = *b,
            ("VV", FlagValue::Bool(b)) => (o.log.trace, o.log.trace_verbose) = (*b, *b),
            ("DV", FlagValue::Bool(b)) => (o.log.debug, o.log.trace) = (*b, *b),
            ("DVV", FlagValue::Bool(b)) => (o.log.debug, o.log.trace, o.log.trace_verbose) = (*b, *b, *b),
            ("log_size_limit", FlagValue::Int(n)) => o.log.size_limit = flag_size("log_size_limit", *n)?,
            ("max_traced_msg_len", FlagValue::Int(n)) => {
                o.log.max_traced_msg_len = flag_size("max_traced_msg_len", *n)?
            }
            ("jetstream", FlagValue::Bool(b)) => o.jetstream.enabled = *b,
            ("store_dir", FlagValue::Text(s)) => o.jetstream.store_dir = Some(s.into()),
            ("user", FlagValue::Text(s)) => user = Some(s.clone()),
            ("pass", FlagValue::Text(s)) => password = Some(s.clone()),
            ("auth", FlagValue::Text(s)) => token = Some(s.clone()),
            // Read before: config, t, help, version, signal.
            ("tls" | "tlscert" | "tlskey" | "tlscacert" | "tlsverify", _) => {}
            ("config" | "t" | "help" | "help_tls" | "version" | "signal", _) => {}
            (name, value) => absent(o, name, value)?,
        }
    }
    tls_flags(o, found)?;
    let (timeout, timeout_given) = (o.auth.timeout, o.auth.timeout_given);
    match (user, password, token) {
        (None, None, None) => {}
        (Some(name), Some(password), None) => {
            o.auth = Auth {
                users: vec![User {
                    name,
                    password,
                    ..User::default()
                }],
                single: true,
                timeout,
                timeout_given,
                ..Auth::default()
            }
        }
        (None, None, Some(token)) => {
            o.auth = Auth {
                token: Some(token),
                timeout,
                timeout_given,
                ..Auth::default()
            }
        }
        (_, _, Some(_)) => return setting("flag -auth does not go together with -user and -pass"),
        _ => return setting("flags -user and -pass go together: give both"),
    }
    Ok(())
}

/// Any of them has TLS done with what they say, and not with the files that the `tls` block names, unless `-tls=false` says that
/// there is to be none.
fn tls_flags(o: &mut Options, found: &[flags::Given]) -> Result<(), ConfError> {
    let (mut on, mut certificate, mut key, mut ca, mut verify) = (None, "", "", "", false);
    for (name, value) in found {
        match (*name, value) {
            ("tls", FlagValue::Bool(tls)) => on = Some(*tls),
            ("tlscert", FlagValue::Text(file)) => certificate = file,
            ("tlskey", FlagValue::Text(file)) => key = file,
            ("tlscacert", FlagValue::Text(file)) => ca = file,
            ("tlsverify", FlagValue::Bool(on)) => verify = *on,
            _ => continue,
        }
        on = on.or(Some(true));
    }
    match on {
        None => return Ok(()),
        Some(false) => {
            o.tls = None;
            options::settle_timeout(o);
            return Ok(());
        }
        Some(true) => {}
    }
    if certificate.is_empty() {
        return setting("TLS Server certificate must be present and valid (-tlscert)");
    }
    if key.is_empty() {
        return setting("TLS Server private key must be present and valid (-tlskey)");
    }
    let block = o.tls.take().unwrap_or_default();
    // Other files, and no more: what the block restricts a flag does not open.
    o.tls = Some(Tls {
        certificates: Tls::of(certificate, key).certificates,
        ca_file: (!ca.is_empty()).then(|| ca.into()).or(block.ca_file),
        verify: verify || block.verify,
        ..block
    });
    options::settle_timeout(o);
    Ok(())
}

/// Flags of what Weir does not have: as the blocks of the file that they stand for.
fn absent(o: &mut Options, name: &str, value: &FlagValue) -> Result<(), ConfError> {
    let is_off = match value {
        FlagValue::Bool(on) => !on,
        FlagValue::Int(n) => *n == 0,
        FlagValue::Text(text) => text.is_empty(),
    };
    if let ("cluster_name", FlagValue::Text(cluster)) = (name, value) {
        o.cluster_name = Some(cluster.clone());
    }
    if let ("profile", FlagValue::Int(port)) = (name, value) {
        o.profiling = profiling(*port);
        return Ok(());
    }
    let what = match name {
        _ if is_off => return Ok(()),
        "cluster" | "cluster_listen" | "cluster_name" | "cluster_advertise" | "no_advertise" | "connect_retries" => {
            "Weir does not have clusters yet"
        }
        "routes" => {
            return setting(
                "flag -routes asks this server to join other servers, and Weir does not have clusters yet: it serves alone",
            );
        }
        _ => return setting(format!("flag -{name}: Weir does not support this nats-server flag yet")),
    };
    o.warnings
        .push(Warning::effectless(format!("flag -{name} has no effect: {what}")));
    Ok(())
}

/// -1 is any free port (0 here), 0 is none.
fn flag_port(name: &str, n: i64) -> Result<Option<u16>, ConfError> {
    options::port(n).map_err(|e| ConfError::Setting(format!("flag -{name}: {e}")))
}

fn flag_size(name: &str, n: i64) -> Result<Option<u64>, ConfError> {
    match u64::try_from(n) {
        Ok(0) => Ok(None),
        Ok(n) => Ok(Some(n)),
        Err(_) => setting(format!("flag -{name}: {n} is negative")),
    }
}
