//! A running server in the place of a store.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use weir_compaction::live::{Access, Server, Updated, url_of};

use super::{Failure, print};

/// What lets this program into a server, where its URL stands in the place of a store.
#[derive(Args)]
pub struct AccessArgs {
    /// Of a running server: a file with a user's JWT and seed
    #[arg(long, value_name = "FILE")]
    creds: Option<PathBuf>,
    /// Of a running server: a file (PEM) with the certificates of those who certify it
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
}

impl AccessArgs {
    /// A connection, if the store is a server's URL.
    pub fn connect(&self, store: &Path) -> Result<Option<Server>, Failure> {
        let Some(url) = url_of(store) else {
            return match self.creds.is_some() || self.tls_ca.is_some() {
                true => Err(Failure::Arguments(
                    "--creds and --tls-ca are for a running server: nats://host:port in the place of the store"
                        .to_owned(),
                )),
                false => Ok(None),
            };
        };
        let access = Access {
            url,
            creds: self.creds.clone(),
            tls_ca: self.tls_ca.clone(),
        };
        Ok(Some(Server::connect(&access)?))
    }
}

/// Refuses a URL where only a store will do; `instead` says what helps.
pub fn only_a_store(store: &Path, what: &str, instead: &str) -> Result<(), Failure> {
    match url_of(store) {
        Some(_) => Err(Failure::Arguments(format!("a running server is not {what}: {instead}"))),
        None => Ok(()),
    }
}

/// Refuses options that a running server knows nothing of.
pub fn not_of_a_server(options: &[(&str, bool)]) -> Result<(), Failure> {
    match options.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(Failure::Arguments(format!(
            "{name} needs the store itself: stop the server, or name a copy of its directory"
        ))),
        None => Ok(()),
    }
}

/// The name of the one stream, which a running server has to be told.
pub fn the_stream(stream: Option<String>) -> Result<String, Failure> {
    stream.ok_or_else(|| Failure::Arguments("of a running server: say which stream with --stream".to_owned()))
}

/// Tells what a server was told.
pub fn updated(updated: &Updated, json: bool) -> Result<ExitCode, Failure> {
    let Updated {
        stream,
        key,
        before,
        now,
        messages: _,
        text,
    } = updated;
    let before = before.as_deref().unwrap_or("not set");
    print(
        updated,
        json,
        format!("{stream}: {key} was {before}, and is {now}: {text}.\n"),
    )?;
    Ok(ExitCode::SUCCESS)
}
