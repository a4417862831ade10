//! Whether certificates of clients were revoked: asked when their handshake is over, before anything of what they say is read.

use std::sync::OnceLock;

use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Now;
use super::answer::{Answer, Status};
use super::ask::ask_one;
use super::known::{Counts, Known, Said};
use super::subject::{Subject, has_signed, name};
use crate::conf::options::{CallingTls, OcspPeer};
use crate::context::{Tls, calling};
use crate::http::Caller;
use crate::limits::{OCSP_ANSWER_MAX, OCSP_ASKED_AT_ONCE, OCSP_CHAIN_MAX, OCSP_PATIENCE, OCSP_RESPONDERS_MAX};

/// Who asks, and what was said.
pub(crate) struct Peers {
    known: Mutex<Known>,
    asking: Semaphore,
    /// Made when it is needed first.
    caller: OnceLock<Caller>,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            asking: Semaphore::new(OCSP_ASKED_AT_ONCE),
            caller: OnceLock::new(),
        }
    }
}

/// Why a client may not come in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    /// The certificate that is not good: the client's, or one that it depends on. `None`: it depends on none that is trusted.
    pub link: Option<CertificateDer<'static>>,
    pub reason: String,
}

/// A certificate that can be asked about, and how that is done.
pub(super) struct Link {
    own: CertificateDer<'static>,
    about: Subject,
    urls: Vec<String>,
}

/// Why there is no answer.
enum Silent {
    /// Nobody has one.
    Fetch(String),
    /// It is none.
    Parse(String),
    /// It does not count now.
    Window(String),
}

impl Peers {
    /// Looks at a chain that a handshake has found good: whether each certificate of it that names a responder is good by that one's word.
    ///
    /// # Errors
    /// One is not, or it cannot be known.
    pub async fn judge(
        &self,
        tls: &Tls,
        chain: &[CertificateDer<'static>],
        rules: &OcspPeer,
        remembers: bool,
        now: Now<'_>,
    ) -> Result<(), Bad> {
        let authorities = tls.authorities.as_deref().unwrap_or_default();
        let Some(links) = links(chain, authorities) else {
            return Err(Bad {
                link: None,
                reason: "no chain to an authority that is trusted".to_owned(),
            });
        };
        for link in links {
            if let Err(reason) = self.check(&link, rules, remembers, now).await {
                return Err(Bad {
                    link: Some(link.own),
                    reason,
                });
            }
        }
        Ok(())
    }

    /// What is remembered, and how often that was of use.
    pub fn counts(&self) -> Counts {
        self.known.lock().counts()
    }

    async fn check(&self, link: &Link, rules: &OcspPeer, remembers: bool, now: Now<'_>) -> Result<(), String> {
        let of = name(&link.own);
        let (status, revoked_before) = self.recall(link, rules, remembers, now());
        let status = match status {
            Some(status) => Ok(status),
            None => match timeout(OCSP_PATIENCE, self.ask(link, rules, remembers, now)).await {
                Ok(asked) => asked,
                Err(_) => Err(Silent::Fetch("responders take too long".to_owned())),
            },
        };
        let reason = match status {
            Ok(Status::Good) => return Ok(()),
            Ok(Status::Unknown) if rules.unknown_is_good => return Ok(()),
            Ok(status) => {
                tracing::warn!("OCSP verify fail for [{of}] with CA status [{status}]");
                format!("Invalid OCSP response status: {status}")
            }
            Err(Silent::Fetch(why)) => {
                tracing::warn!("Attempt to obtain OCSP response from CA responder for [{of}] failed: {why}");
                if rules.allow_unreachable && !rules.warn_only {
                    let what = "Failed to obtain OCSP CA response";
                    if !revoked_before {
                        tracing::warn!(
                            "{what} for [{of}] but AllowWhenCAUnreachable set; no cached revocation so allowing"
                        );
                        return Ok(());
                    }
                    tracing::warn!(
                        "{what} for [{of}] but AllowWhenCAUnreachable set; cached revocation exists so rejecting"
                    );
                }
                "Failed OCSP response fetch".to_owned()
            }
            Err(Silent::Parse(why)) => {
                tracing::error!("Could not parse OCSP CA response for [{of}]: {why}");
                "Failed OCSP response parse".to_owned()
            }
            Err(Silent::Window(why)) => {
                tracing::warn!("New OCSP CA response obtained for [{of}] but not current: {why}");
                "OCSP response not in effectivity window".to_owned()
            }
        };
        if rules.warn_only {
            tracing::warn!("OCSP verify fail for [{of}] but WarnOnly is true so allowing");
            return Ok(());
        }
        Err(reason)
    }

    /// What is remembered and counts; and whether it was the last that was said that it was revoked.
    fn recall(&self, link: &Link, rules: &OcspPeer, remembers: bool, now: Timestamp) -> (Option<Status>, bool) {
        if !remembers {
            return (None, false);
        }
        let mut known = self.known.lock();
        let said = known.get(&link.about.digest);
        let current = said.filter(|said| said.counts_at(now, rules));
        known.count(current.is_some());
        let revoked = said.is_some_and(|said| said.status == Status::Revoked);
        (current.map(|said| said.status), revoked)
    }

    async fn ask(&self, link: &Link, rules: &OcspPeer, remembers: bool, now: Now<'_>) -> Result<Status, Silent> {
        // Never closed.
        let _place = self.asking.acquire().await;
        // Somebody else may have asked while this one waited.
        let known = self.known.lock().get(&link.about.digest).filter(|_| remembers);
        if let Some(said) = known.filter(|said| said.counts_at(now(), rules)) {
            return Ok(said.status);
        }
        let make = || Caller::new(calling(&CallingTls::default()), OCSP_ANSWER_MAX);
        let caller = self.caller.get_or_init(make);
        let raw = ask_one(caller, &link.urls, &link.about, rules.timeout).await;
        let answer = Answer::parse(raw.map_err(Silent::Fetch)?, &link.about, now()).map_err(Silent::Parse)?;
        let said = Said::of(&answer);
        if !said.counts_at(now(), rules) {
            let next = answer
                .next_update
                .map_or_else(|| "none".to_owned(), |next| next.to_string());
            return Err(Silent::Window(format!("from {} until {next}", answer.this_update)));
        }
        if remembers {
            self.known.lock().put(&link.about.digest, said);
        }
        Ok(said.status)
    }
}

/// Those of a chain that name responders, from the client's own up to what an authority that is trusted has signed. `None`: it does not
/// get there. Whether they may sign each other, and in which time, was looked at in the handshake.
pub(super) fn links(chain: &[CertificateDer<'static>], authorities: &[CertificateDer<'static>]) -> Option<Vec<Link>> {
    let mut found = Vec::new();
    let mut own = chain.first()?;
    for _ in 0..OCSP_CHAIN_MAX {
        // One that is trusted itself: nobody has to vouch for it.
        if authorities.contains(own) {
            return Some(found);
        }
        let signer = authorities.iter().find(|by| has_signed(by, own));
        let is_trusted = signer.is_some();
        let above = chain.iter().skip(1).filter(|by| *by != own);
        let by = signer.or_else(|| above.into_iter().find(|by| has_signed(by, own)))?;
        let about = Subject::issued(own, by.clone()).ok()?;
        let is_web = |url: &&String| url.starts_with("http://") || url.starts_with("https://");
        let urls: Vec<String> = about
            .responders
            .iter()
            .filter(is_web)
            .take(OCSP_RESPONDERS_MAX)
            .cloned()
            .collect();
        if !urls.is_empty() {
            found.push(Link {
                own: own.clone(),
                about,
                urls,
            });
        }
        if is_trusted {
            return Some(found);
        }
        own = by;
    }
    None
}

#[cfg(test)]
impl Link {
    pub(super) fn digest(&self) -> &str {
        &self.about.digest
    }
}
