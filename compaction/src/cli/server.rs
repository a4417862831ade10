//! A running server in the place of a store.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use weir_compaction::live::{Access, Server, Tls, Updated, User, url_of};

use super::{Failure, print};

/// Under what these arguments stand in the help.
const HEADING: &str = "Where a running server's URL stands in the place of the store (as of the `nats` tool)";

/// What lets this program into a server, where its URL stands in the place of a store: the names, and those in the environment, are those
/// of the `nats` tool.
#[derive(Args)]
pub struct AccessArgs {
    /// The user's name, or without a password a token [env: NATS_USER]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["creds", "nkey"], help_heading = HEADING)]
    user: Option<String>,
    /// The user's password; in the environment no other user of the machine sees it [env: NATS_PASSWORD]
    #[arg(long, value_name = "PASSWORD", conflicts_with_all = ["creds", "nkey"], help_heading = HEADING)]
    password: Option<String>,
    /// A file with a user's JWT and seed [env: NATS_CREDS]
    #[arg(long, value_name = "FILE", conflicts_with = "nkey", help_heading = HEADING)]
    creds: Option<PathBuf>,
    /// A file with the seed of a user's nkey [env: NATS_NKEY]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    nkey: Option<PathBuf>,
    /// A file (PEM) with the certificate that is shown to the server [env: NATS_CERT]
    #[arg(long, value_name = "FILE", requires = "tlskey", help_heading = HEADING)]
    tlscert: Option<PathBuf>,
    /// A file (PEM) with the key of that certificate [env: NATS_KEY]
    #[arg(long, value_name = "FILE", requires = "tlscert", help_heading = HEADING)]
    tlskey: Option<PathBuf>,
    /// A file (PEM) with the certificates of those who certify the server; else those that the machine trusts [env: NATS_CA]
    #[arg(long, value_name = "FILE", alias = "tls-ca", help_heading = HEADING)]
    tlsca: Option<PathBuf>,
    /// Begin with TLS, before the server says anything
    #[arg(long, help_heading = HEADING)]
    tlsfirst: bool,
}

/// What stands in the environment under a name; nothing if it is empty.
fn in_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn file_in_environment(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
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
            return match self.first_given() {
                Some(name) => Err(Failure::Instead {
                    what: format!("{name} is for a running server"),
                    remedy: "name it as nats://host:port in the place of the store".to_owned(),
                }),
                None => Ok(None),
            };
        };
        let user = match url.contains('@') {
            // Who is named there comes, whoever else may be named in the environment.
            true => self.user_said(None, None)?,
            false => self.user()?,
        };
        let access = Access {
            user,
            tls: self.tls()?,
            url,
        };
        Ok(Some(Server::connect(&access)?))
    }

    /// The first argument that is given of these.
    fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("--user", self.user.is_some()),
            ("--password", self.password.is_some()),
            ("--creds", self.creds.is_some()),
            ("--nkey", self.nkey.is_some()),
            ("--tlscert", self.tlscert.is_some()),
            ("--tlskey", self.tlskey.is_some()),
            ("--tlsca", self.tlsca.is_some()),
            ("--tlsfirst", self.tlsfirst),
        ];
        given.iter().find(|(_, is_given)| *is_given).map(|(name, _)| *name)
    }

    /// Who connects: as the arguments say, and if none does, as the environment.
    fn user(&self) -> Result<Option<User>, Failure> {
        let said = self.user_said(in_environment("NATS_USER"), in_environment("NATS_PASSWORD"))?;
        let creds = || file_in_environment("NATS_CREDS").map(User::Creds);
        let nkey = || file_in_environment("NATS_NKEY").map(User::Nkey);
        Ok(said.or_else(creds).or_else(nkey))
    }

    /// Who connects by the arguments, where a name or a password that these lack is this one.
    fn user_said(&self, user: Option<String>, password: Option<String>) -> Result<Option<User>, Failure> {
        if let Some(file) = &self.creds {
            return Ok(Some(User::Creds(file.clone())));
        }
        if let Some(file) = &self.nkey {
            return Ok(Some(User::Nkey(file.clone())));
        }
        match (self.user.clone().or(user), self.password.clone().or(password)) {
            (Some(user), Some(password)) => Ok(Some(User::Password(user, password))),
            (Some(token), None) => Ok(Some(User::Token(token))),
            (None, Some(_)) => Err(Failure::Instead {
                what: "whose password it is is not said".to_owned(),
                remedy: "say it with --user, or with NATS_USER in the environment".to_owned(),
            }),
            (None, None) => Ok(None),
        }
    }

    fn tls(&self) -> Result<Tls, Failure> {
        // The one is of no use without the other: they are taken from the same place.
        let shown = match (&self.tlscert, &self.tlskey) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            _ => match (file_in_environment("NATS_CERT"), file_in_environment("NATS_KEY")) {
                (Some(certificate), Some(key)) => Some((certificate, key)),
                (None, None) => None,
                _ => {
                    return Err(Failure::Instead {
                        what: "the environment has one of NATS_CERT and NATS_KEY".to_owned(),
                        remedy: "set both: a certificate needs its key".to_owned(),
                    });
                }
            },
        };
        Ok(Tls {
            ca: self.tlsca.clone().or_else(|| file_in_environment("NATS_CA")),
            shown,
            is_first: self.tlsfirst,
        })
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
