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
    /// Refuses an account where a server is named: it takes that from who connects.
    pub fn no_account(&self, store: &Path, account: Option<&String>) -> Result<(), Failure> {
        match url_of(store).and(account) {
            Some(_) => Err(Failure::Instead {
                what: "--account is for a store: of a running server those streams are seen that are in the account of the user who connects"
                    .to_owned(),
                remedy: "connect as a user of that account (nats://user:password@host, or --creds)".to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// A connection, if the store is a server's URL.
    pub fn connect(&self, store: &Path) -> Result<Option<Server>, Failure> {
        let Some(url) = url_of(store) else {
            return match self.creds.is_some() || self.tls_ca.is_some() {
                true => Err(Failure::Instead {
                    what: "--creds and --tls-ca are for a running server".to_owned(),
                    remedy: "name it as nats://host:port in the place of the store".to_owned(),
                }),
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
        Some(_) => Err(Failure::Instead {
            what: format!("a running server is not {what}"),
            remedy: instead.to_owned(),
        }),
        None => Ok(()),
    }
}

/// Refuses options that a running server knows nothing of.
pub fn not_of_a_server(options: &[(&str, bool)]) -> Result<(), Failure> {
    match options.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(Failure::Instead {
            what: format!("{name} needs the store itself"),
            remedy: "stop the server, or name a copy of its directory".to_owned(),
        }),
        None => Ok(()),
    }
}

/// The name of the one stream, which a running server has to be told.
pub fn the_stream(stream: Option<String>) -> Result<String, Failure> {
    stream.ok_or_else(|| Failure::Instead {
        what: "a running server is told of one stream".to_owned(),
        remedy: "say which with --stream".to_owned(),
    })
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
