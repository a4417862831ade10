//! Where a server is, and what lets a client in: as whom it comes, and what TLS wants of it.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use async_nats::{ConnectOptions, ServerAddr};

use super::failed_for;
use crate::error::{Error, Result};

/// What a URL looks like.
const URL_FORM: &str = "the URL of a server is nats://[user:password@|token@]host[:port]";
/// What helps where a file that lets a client in is not read.
const ACCESS_FILE: &str =
    "name a file with a user's JWT and seed (--creds), with a seed (--nkey), or in PEM (--tlsca, --tlscert, --tlskey)";
/// The marks of what stands in files in PEM.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
const KEY: &str = "PRIVATE KEY-----";
/// What seeds of users begin with, and how long they are, in characters.
const SEED: (&str, usize) = ("SU", 58);

/// Where a server is, and what lets a client in.
#[derive(Clone, Default)]
pub struct Access {
    /// `nats://[user:password@|token@]host[:port]`; `tls://` for a server that speaks TLS alone.
    pub url: String,
    /// Who comes, if the URL does not say so.
    pub user: Option<User>,
    /// What TLS wants to know.
    pub tls: Tls,
}

/// As whom a client comes.
#[derive(Clone)]
pub enum User {
    /// By a token alone.
    Token(String),
    /// By name and password.
    Password(String, String),
    /// By a file with a JWT and the seed of its key.
    Creds(PathBuf),
    /// By a file with the seed of an nkey.
    Nkey(PathBuf),
}

/// What TLS is told, where a server has that.
#[derive(Clone, Default)]
pub struct Tls {
    /// A file (PEM) with the certificates of those who certify the server; without one, those that the machine trusts.
    pub ca: Option<PathBuf>,
    /// Files (PEM) with the certificate that the client shows, those that certify it behind it, and with its key.
    pub shown: Option<(PathBuf, PathBuf)>,
    /// Whether TLS begins before the server says anything (its `handshake_first`).
    pub is_first: bool,
}

impl Access {
    /// The server's address.
    ///
    /// # Errors
    /// If the URL is none.
    pub(super) fn address(&self) -> Result<ServerAddr> {
        let no_url = |why: &dyn Display| failed_for(format_args!("{}: {why}", self.url), URL_FORM);
        let address: ServerAddr = self.url.parse().map_err(|error| no_url(&error))?;
        match address.host().is_empty() {
            true => Err(no_url(&"it names no host")),
            false => Ok(address),
        }
    }

    /// Who comes: as the URL says, or else as is told beside it.
    ///
    /// # Errors
    /// If both say so.
    fn user(&self, address: &ServerAddr) -> Result<Option<User>> {
        let named = match (address.username().map(decoded), address.password().map(decoded)) {
            (Some(user), Some(password)) => Some(User::Password(user, password)),
            (Some(token), None) => Some(User::Token(token)),
            (None, _) => None,
        };
        match (named, &self.user) {
            (Some(_), Some(_)) => Err(failed_for(
                "the URL says who connects, and so does another argument",
                "leave out one of the two",
            )),
            (named, told) => Ok(named.or_else(|| told.clone())),
        }
    }

    /// How a client of this access connects.
    ///
    /// # Errors
    /// If a file is missing or is not what it should be.
    pub(super) fn options(&self, address: &ServerAddr) -> Result<ConnectOptions> {
        let mut options = ConnectOptions::new();
        options = match self.user(address)? {
            None => options,
            Some(User::Token(token)) => options.token(token),
            Some(User::Password(user, password)) => options.user_and_password(user, password),
            Some(User::Creds(file)) => {
                let told = read(&file)?;
                options.credentials(&told).map_err(|error| of_file(&file, &error))?
            }
            Some(User::Nkey(file)) => {
                let told = read(&file)?;
                let seed = seed_in(&told).ok_or_else(|| of_file(&file, &"it has no seed of a user (SU…)"))?;
                options.nkey(seed.to_owned())
            }
        };
        self.tls.check()?;
        if let Some(ca) = &self.tls.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &self.tls.shown {
            options = options
                .add_client_certificate(certificate.clone(), key.clone())
                .require_tls(true);
        }
        Ok(match self.tls.is_first {
            true => options.tls_first(),
            false => options,
        })
    }
}

impl Tls {
    /// Looks whether its files are there, and are what they should be: whoever reads them later does not say which it is that is not.
    fn check(&self) -> Result<()> {
        let certificates = self
            .ca
            .iter()
            .chain(self.shown.iter().map(|(certificate, _)| certificate));
        for file in certificates {
            if !read(file)?.contains(CERTIFICATE) {
                return Err(of_file(file, &"it has no certificate (PEM)"));
            }
        }
        match &self.shown {
            Some((_, file)) if !read(file)?.contains(KEY) => Err(of_file(file, &"it has no private key (PEM)")),
            _ => Ok(()),
        }
    }
}

fn of_file(file: &Path, why: &dyn Display) -> Error {
    failed_for(format_args!("{}: {why}", file.display()), ACCESS_FILE)
}

/// What stands in a file, where it is no text as far as it can be told.
fn read(file: &Path) -> Result<String> {
    let read = std::fs::read(file).map_err(|error| of_file(file, &error))?;
    Ok(String::from_utf8_lossy(&read).into_owned())
}

/// The first seed of a user in a text: a line of its own, among others that may decorate it.
fn seed_in(text: &str) -> Option<&str> {
    let (begin, length) = SEED;
    text.lines()
        .map(str::trim)
        .find(|line| line.starts_with(begin) && line.len() == length)
}

/// What stands in a part of a URL, where bytes may be written as `%40`.
pub(super) fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let hex = behind.get(..2).filter(|_| byte == b'%');
        let hex = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(hex.unwrap_or(byte));
        rest = if hex.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
