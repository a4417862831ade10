//! What differs between the options a server runs with and those that it is to go on with.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::written::Written;
use super::{AccountOptions, Auth, JetStream, Logging, Options, Tls, Trust, WebSocket};
use crate::error::ConfError;

/// What a server has to do to go on with other options.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What is different, a line each. No secrets.
    pub said: Vec<String>,
    /// Proxies that are trusted: clients of others go.
    pub proxies: bool,
    /// Accounts that operators have signed.
    pub trust: bool,
    /// Who may connect: those that are connected are asked once more.
    pub auth: bool,
    /// Accounts: which there are, what they share, map and store, and what limits them.
    pub accounts: bool,
    /// There may be fewer connections than there are.
    pub fewer_connections: bool,
    /// Limits of the protocol, and whether it is traced: connections have copies of these.
    pub protocol: bool,
    /// The file with the process id.
    pub pid_file: bool,
    /// The file with the ports.
    pub ports_file: bool,
    /// TLS for clients is to be there, or to be there no more.
    pub tls: bool,
    /// Other keys of clients may come in.
    pub pinned: bool,
    /// JetStream is to be started.
    pub start_jetstream: bool,
    /// JetStream is to be stopped.
    pub stop_jetstream: bool,
}

impl Changes {
    /// What there is to do to go from `old` to `new`. A port that `new` leaves open stays.
    ///
    /// # Errors
    /// Something is different that takes a restart, as in nats-server; what, and how.
    pub fn find(old: &Options, new: &mut Options) -> Result<Self, ConfError> {
        let mut found = Self::default();
        if new.port == 0 {
            new.port = old.port;
        }
        if let (Some(old), Some(new)) = (&old.websocket, &mut new.websocket)
            && new.port == 0
        {
            new.port = old.port;
        }
        // Each field is named, so that one that is new is thought of.
        let Options {
            config_file: _,
            config_digest: _,
            host,
            port,
            server_name,
            client_advertise,
            http,
            https,
            profiling,
            http_base_path,
            log,
            pid_file,
            ports_file_dir,
            max_payload,
            max_control_line,
            max_pending,
            max_connections,
            max_subscriptions,
            max_sub_tokens,
            max_closed_clients,
            no_fast_producer_stall,
            ping_interval,
            ping_max,
            write_deadline,
            write_timeout,
            no_header_support,
            tls,
            ocsp,
            ocsp_cache,
            allow_non_tls,
            auth,
            proxy_protocol,
            proxies,
            trust,
            accounts,
            global,
            cluster_name,
            system_account,
            no_system_account,
            no_match_cache,
            lame_duck_duration,
            lame_duck_grace_period,
            server_tags,
            server_metadata,
            features,
            warnings: _,
            websocket,
            jetstream,
        } = new;
        fixed("host", &old.host, host)?;
        fixed("port", &old.port, port)?;
        fixed("server_name", &old.server_name, server_name)?;
        fixed("http", &old.http, http)?;
        fixed("https", &old.https, https)?;
        fixed("prof_port", &old.profiling, profiling)?;
        fixed("http_base_path", &old.http_base_path, http_base_path)?;
        fixed("max_pending", &old.max_pending, max_pending)?;
        fixed("max_subscriptions", &old.max_subscriptions, max_subscriptions)?;
        fixed("max_sub_tokens", &old.max_sub_tokens, max_sub_tokens)?;
        fixed("max_closed_clients", &old.max_closed_clients, max_closed_clients)?;
        fixed("no_header_support", &old.no_header_support, no_header_support)?;
        fixed("proxy_protocol", &old.proxy_protocol, proxy_protocol)?;
        found.proxies = found.live("proxies", &old.proxies, proxies);
        found.trust(&old.trust, trust)?;
        if old.accounts != *accounts || old.global != *global {
            found.accounts(&old.accounts, accounts);
        }
        fixed("cluster name", &old.cluster_name, cluster_name)?;
        fixed("system_account", &old.system_account, system_account)?;
        fixed("no_system_account", &old.no_system_account, no_system_account)?;
        fixed("no_sublist_cache", &old.no_match_cache, no_match_cache)?;
        fixed("feature_flags", old.features.all(), features.all())?;
        fixed("lame_duck_duration", &old.lame_duck_duration, lame_duck_duration)?;
        fixed(
            "lame_duck_grace_period",
            &old.lame_duck_grace_period,
            lame_duck_grace_period,
        )?;
        if but_for_tls(old.websocket.as_ref()) != but_for_tls(websocket.as_ref()) {
            return refuse("websocket", "");
        }
        fixed("allow_non_tls", &old.allow_non_tls, allow_non_tls)?;
        found.tls(old.tls.as_ref(), tls.as_ref())?;
        found.live("ocsp", &old.ocsp, ocsp);
        found.live("ocsp_cache", &old.ocsp_cache, ocsp_cache);
        found.jetstream(&old.jetstream, jetstream)?;
        // Accounts are told once, when they come, what they may store.
        if found.stop_jetstream && old.trust.is_on() {
            return refuse("jetstream", "");
        }
        found.log(&old.log, log);
        found.live("client_advertise", &old.client_advertise, client_advertise);
        found.pid_file = found.live("pid_file", &old.pid_file, pid_file);
        found.ports_file = found.live("ports_file_dir", &old.ports_file_dir, ports_file_dir);
        found.protocol |= found.live("max_payload", &old.max_payload, max_payload);
        found.protocol |= found.live("max_control_line", &old.max_control_line, max_control_line);
        found.fewer_connections = found.live("max_connections", &old.max_connections, max_connections);
        found.live(
            "no_fast_producer_stall",
            &old.no_fast_producer_stall,
            no_fast_producer_stall,
        );
        found.live("ping_interval", &old.ping_interval, ping_interval);
        found.live("ping_max", &old.ping_max, ping_max);
        found.live("write_deadline", &old.write_deadline, write_deadline);
        found.live("write_timeout", &old.write_timeout, write_timeout);
        found.live("server_tags", &old.server_tags, server_tags);
        found.live("server_metadata", &old.server_metadata, server_metadata);
        // As nats-server: it may only go with its user.
        if auth.no_auth_user.is_some() || is_user(auth, old.auth.no_auth_user.as_deref()) {
            fixed("no_auth_user", &old.auth.no_auth_user, &auth.no_auth_user)?;
        }
        if old.auth.callout != auth.callout {
            return refuse("auth_callout", "");
        }
        found.auth(&old.auth, auth);
        Ok(found)
    }

    /// Whether a setting is different that applies as soon as it is there.
    fn live<T: PartialEq + Written>(&mut self, name: impl Display, old: &T, new: &T) -> bool {
        if old != new {
            self.said.push(format!("{name} = {}", new.written()));
        }
        old != new
    }

    fn log(&mut self, old: &Logging, new: &Logging) {
        self.live("debug", &old.debug, &new.debug);
        self.protocol |= self.live("trace", &old.trace, &new.trace);
        self.live("trace_verbose", &old.trace_verbose, &new.trace_verbose);
        self.live("trace_headers", &old.trace_headers, &new.trace_headers);
        self.live("logtime", &old.time, &new.time);
        self.live("logtime_utc", &old.utc, &new.utc);
        self.live("log_file", &old.file, &new.file);
        self.live("log_size_limit", &old.size_limit, &new.size_limit);
        self.live("log_max_num", &old.max_num, &new.max_num);
        self.live("syslog", &old.syslog, &new.syslog);
        self.live("remote_syslog", &old.remote_syslog, &new.remote_syslog);
        self.live("max_traced_msg_len", &old.max_traced_msg_len, &new.max_traced_msg_len);
    }

    /// As nats-server has it: all may be different but how many handshakes are begun, and whether certificates name users.
    fn tls(&mut self, old: Option<&Tls>, new: Option<&Tls>) -> Result<(), ConfError> {
        let rate = |tls: Option<&Tls>| tls.and_then(|tls| tls.rate_limit);
        fixed("connection_rate_limit", &rate(old), &rate(new))?;
        let map = |tls: Option<&Tls>| tls.is_some_and(|tls| tls.map);
        fixed("verify_and_map", &map(old), &map(new))?;
        if old.is_some() != new.is_some() {
            self.tls = true;
            let how = if new.is_some() { "enabled" } else { "disabled" };
            self.said.push(format!("tls = {how}"));
        }
        let (Some(old), Some(new)) = (old, new) else {
            return Ok(());
        };
        self.live("tls timeout", &old.timeout, &new.timeout);
        self.live("Client TLS handshake first", &old.first, &new.first);
        if old.pinned != new.pinned {
            self.pinned = true;
            self.said.push(format!("{} pinned_certs", new.pinned.len()));
        }
        Ok(())
    }

    fn accounts(&mut self, old: &[AccountOptions], new: &[AccountOptions]) {
        self.accounts = true;
        // Each has a copy of what its account limits.
        self.protocol = true;
        let by_name = |all: &[AccountOptions]| -> BTreeMap<String, AccountOptions> {
            all.iter()
                .map(|account| (account.name.clone(), account.clone()))
                .collect()
        };
        let (old, new) = (by_name(old), by_name(new));
        for (name, account) in &new {
            match old.get(name) {
                None => self.said.push(format!("account {name:?} is new")),
                Some(before) if before != account => self.said.push(format!("account {name:?} is different")),
                Some(_) => {}
            }
        }
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            self.said.push(format!("account {name:?} is gone"));
        }
    }

    fn auth(&mut self, old: &Auth, new: &Auth) {
        self.live("authorization timeout", &old.timeout, &new.timeout);
        let who = |auth: &Auth| Auth {
            timeout: old.timeout,
            timeout_given: old.timeout_given,
            ..auth.clone()
        };
        if who(old) != who(new) {
            self.said.push("authorization".to_owned());
            self.auth = true;
        }
    }

    /// Accounts of the configuration, and the token of those who show none, may be others.
    fn trust(&mut self, old: &Trust, new: &Trust) -> Result<(), ConfError> {
        let fixed = |trust: &Trust| Trust {
            preload: old.preload.clone(),
            default_sentinel: old.default_sentinel.clone(),
            ..trust.clone()
        };
        if fixed(old) != fixed(new) {
            return refuse("TrustedOperators", "");
        }
        if old.default_sentinel != new.default_sentinel {
            self.said.push("default_sentinel".to_owned());
        }
        if old.preload != new.preload {
            self.said.push("resolver_preload".to_owned());
            self.trust = true;
        }
        Ok(())
    }

    fn jetstream(&mut self, old: &JetStream, new: &JetStream) -> Result<(), ConfError> {
        if !old.enabled {
            self.start_jetstream = self.live("jetstream", &old.enabled, &new.enabled);
            return Ok(());
        }
        if !new.enabled {
            self.stop_jetstream = self.live("jetstream", &old.enabled, &new.enabled);
            return Ok(());
        }
        fixed("store_dir", &old.store_dir, &new.store_dir)?;
        fixed("max_memory_store", &old.max_memory, &new.max_memory)?;
        fixed("max_file_store", &old.max_file, &new.max_file)?;
        match old == new {
            true => Ok(()),
            false => refuse("jetstream", ""),
        }
    }
}

/// The part of it that may not be different: certificates may, and what they are good for.
fn but_for_tls(websocket: Option<&WebSocket>) -> Option<WebSocket> {
    let websocket = websocket?;
    Some(WebSocket {
        tls: websocket.tls.as_ref().map(|tls| Tls {
            map: tls.map,
            pinned: tls.pinned.clone(),
            ..Tls::default()
        }),
        ..websocket.clone()
    })
}

fn is_user(auth: &Auth, name: Option<&str>) -> bool {
    auth.users.iter().any(|user| Some(user.name.as_str()) == name)
}

/// A setting that may not be different.
fn fixed<T: PartialEq + Written>(name: &str, old: &T, new: &T) -> Result<(), ConfError> {
    match old == new {
        true => Ok(()),
        false => refuse(name, &format!(": old={}, new={}", old.written(), new.written())),
    }
}

fn refuse<T>(name: &str, how: &str) -> Result<T, ConfError> {
    Err(ConfError::Setting(format!(
        "config reload not supported for {name}{how}; restart the server for that"
    )))
}

#[cfg(test)]
mod tests;
