//! Which of several certificates a client is shown.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// One of the server's certificates, with its chain and its key.
pub(crate) struct Shown {
    pub key: Arc<CertifiedKey>,
    /// Where it is.
    pub file: PathBuf,
    /// What its authority says of it, if that is to go with it.
    stapled: ArcSwapOption<Stapled>,
}

struct Stapled {
    /// The certificate and that.
    key: Arc<CertifiedKey>,
    /// Until when it counts; `None`: it does not say.
    until: Option<Timestamp>,
}

impl Shown {
    pub(super) fn new(key: Arc<CertifiedKey>, file: &Path) -> Self {
        Self {
            key,
            file: file.to_owned(),
            stapled: ArcSwapOption::empty(),
        }
    }

    /// Has an answer about the certificate go with it from now on, and the certificate not without one that counts.
    pub fn staple(&self, answer: &[u8], until: Option<Timestamp>) {
        let mut key = (*self.key).clone();
        key.ocsp = Some(answer.to_vec());
        let key = Arc::new(key);
        self.stapled.store(Some(Arc::new(Stapled { key, until })));
    }

    /// What a client is shown; `None`: nothing, for the answer that should go with it counts no more.
    fn at(&self, now: Timestamp) -> Option<Arc<CertifiedKey>> {
        match &*self.stapled.load() {
            None => Some(Arc::clone(&self.key)),
            Some(stapled) => {
                let counts = stapled.until.is_none_or(|until| until >= now);
                counts.then(|| Arc::clone(&stapled.key))
            }
        }
    }
}

/// Certificates, in the order of the options. Never none.
pub(super) struct Certificates(pub Arc<[Arc<Shown>]>);

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").field(&self.0.len()).finish()
    }
}

impl ResolvesServerCert for Certificates {
    /// As Go has it: the first one that bears the name which the client asks for, with a key that it can use; else the first.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = Timestamp::now();
        if let [only] = &*self.0 {
            return only.at(now);
        }
        let name = hello
            .server_name()
            .and_then(|name| ServerName::try_from(name.to_owned()).ok());
        let fits = |shown: &&Arc<Shown>| {
            shown.key.key.choose_scheme(hello.signature_schemes()).is_some()
                && name.as_ref().is_none_or(|name| bears(&shown.key, name))
        };
        self.0.iter().find(fits).or(self.0.first())?.at(now)
    }
}

fn bears(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}
