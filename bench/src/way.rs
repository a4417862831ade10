//! The ways by which clients come in: what the server's file says about each, and what a client does about it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::{LoadError, Result};

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// A socket, and everybody may do everything
    Plain,
    /// A socket, and a user whose rules allow some subjects and deny others
    Permissions,
    /// TLS 1.3
    Tls,
    /// WebSocket, without TLS and without compression
    Websocket,
    /// WebSocket on TLS 1.3, without compression
    Wss,
}

impl Way {
    /// Name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Permissions => "permissions",
            Self::Tls => "tls",
            Self::Websocket => "websocket",
            Self::Wss => "wss",
        }
    }

    /// What stands in the server's configuration file; `None`: there is no file.
    pub fn conf(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Permissions => Some(include_str!("../conf/permissions.conf")),
            Self::Tls => Some(include_str!("../conf/tls.conf")),
            Self::Websocket => Some(include_str!("../conf/websocket.conf")),
            Self::Wss => Some(include_str!("../conf/wss.conf")),
        }
    }

    /// How clients come in by it, at this address.
    pub fn entrance(self, addr: SocketAddr) -> Entrance {
        let mut entrance = Entrance::plain(addr);
        match self {
            Self::Plain => {}
            Self::Permissions => {
                entrance.login = Some(Login {
                    user: "load".into(),
                    password: "load".into(),
                });
                entrance.denied = Some("load.denied.x");
            }
            Self::Tls => entrance.tls = true,
            Self::Websocket => entrance.websocket = true,
            Self::Wss => (entrance.tls, entrance.websocket) = (true, true),
        }
        entrance
    }
}

/// Where and as whom a client comes in. `[nats|tls|ws|wss://][USER:PASSWORD@]HOST:PORT` on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    /// Where the server listens.
    pub addr: SocketAddr,
    /// TLS must be asked for by the server; otherwise it is used if it is. By WebSocket the handshake comes before everything.
    pub tls: bool,
    /// By WebSocket.
    pub websocket: bool,
    /// As this user.
    pub login: Option<Login>,
    /// A subject that this user may not publish to, which is tried before a run.
    pub denied: Option<&'static str>,
}

/// A user and its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// As it stands in CONNECT.
    pub user: String,
    /// The same.
    pub password: String,
}

impl Entrance {
    /// By a socket, as nobody in particular.
    pub fn plain(addr: SocketAddr) -> Self {
        Self {
            addr,
            tls: false,
            websocket: false,
            login: None,
            denied: None,
        }
    }
}

impl FromStr for Entrance {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Self> {
        let expected = || {
            LoadError::Usage(format!(
                "{text}: [nats|tls|ws|wss://][USER:PASSWORD@]HOST:PORT expected"
            ))
        };
        let (scheme, rest) = text.split_once("://").unwrap_or(("nats", text));
        let (login, host) = match rest.rsplit_once('@') {
            Some((login, host)) => (Some(login), host),
            None => (None, rest),
        };
        let addr = host.to_socket_addrs().ok().and_then(|mut found| found.next());
        let mut entrance = Self::plain(addr.ok_or_else(expected)?);
        match scheme {
            "nats" => {}
            "tls" => entrance.tls = true,
            "ws" => entrance.websocket = true,
            "wss" => (entrance.tls, entrance.websocket) = (true, true),
            _ => return Err(expected()),
        }
        if let Some(login) = login {
            let (user, password) = login.split_once(':').ok_or_else(expected)?;
            entrance.login = Some(Login {
                user: user.into(),
                password: password.into(),
            });
        }
        Ok(entrance)
    }
}

#[cfg(test)]
mod tests;
