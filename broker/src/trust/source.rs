//! Where the tokens of accounts are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::directory::Directory;
use super::fetch::Fetcher;
use crate::conf::options::{Resolver, Trust};
use crate::error::{Error, Result};
use crate::interest::{Account, Accounts};
use crate::routing::ask;

pub(super) enum Source {
    /// In the configuration.
    Memory(RwLock<BTreeMap<String, String>>),
    /// Behind this URL.
    Url(Fetcher),
    /// In a directory, and where that has not all, with whoever answers in the system account.
    Directory(Arc<Directory>),
}

impl Source {
    pub fn open(options: &Trust, accounts: &Accounts) -> Result<Self> {
        Ok(match &options.resolver {
            None | Some(Resolver::Memory) => Self::Memory(RwLock::new(options.preload.clone())),
            Some(Resolver::Url(url)) => {
                let fetcher = Fetcher::new(url, options.resolver_tls.as_ref());
                Self::Url(fetcher.map_err(Error::Options)?)
            }
            Some(resolver) => Self::Directory(Arc::new(Directory::open(resolver, &accounts.system)?)),
        })
    }

    /// The token of an account. What others say that it is, is kept if it `is_good`.
    ///
    /// # Errors
    /// It is not there: why.
    pub async fn fetch(
        &self,
        key: &str,
        is_good: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> std::result::Result<String, String> {
        match self {
            Self::Memory(tokens) => tokens
                .read()
                .get(key)
                .cloned()
                .ok_or_else(|| "account missing".to_owned()),
            Self::Url(fetcher) => fetcher.get(key).await,
            Self::Directory(directory) => {
                let name = key.to_owned();
                if let Ok(token) = directory.aside(move |files| files.load(&name)).await? {
                    return Ok(token);
                }
                if directory.is_full() {
                    return Err("account jwt not found".to_owned());
                }
                let token = look_up(directory.system(), key, directory.timeout()).await?;
                if !is_good(&token) {
                    return Err("account jwt is not signed by an operator".to_owned());
                }
                let name = key.to_owned();
                directory
                    .aside(move |files| files.save_if_newer(&name, &token).map(|_| token))
                    .await?
            }
        }
    }
}

/// Asks in the system account: some other server, or a program there, may have it.
async fn look_up(system: &Arc<Account>, key: &str, timeout: Duration) -> std::result::Result<String, String> {
    let subject = format!("$SYS.REQ.ACCOUNT.{key}.CLAIMS.LOOKUP");
    match ask(system, subject.as_bytes(), b"", b"", timeout).await {
        None => Err("fetching jwt timed out".to_owned()),
        Some(answer) if answer.payload.is_empty() => Err("account jwt not found".to_owned()),
        Some(answer) => String::from_utf8(answer.payload.to_vec()).map_err(|_| "account jwt not found".to_owned()),
    }
}
