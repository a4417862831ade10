//! TLS of connections that the server makes itself: to where accounts are looked up (`resolver_tls`).

use std::path::PathBuf;

use super::{CertificateFiles, Options, curves, filled, only_1_3, paired, suites};
use crate::error::ConfError;
use crate::file::{Entry, Value};
use crate::options::{Warning, keys, read, schema};

/// TLS of connections that the server makes itself, as the options describe it. The files were not read yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallingTls {
    /// What it shows to those who ask for a certificate.
    pub certificate: Option<CertificateFiles>,
    /// Who signs certificates of those whom it calls; `None`: whoever the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Whether TLS 1.2 will not do.
    pub only_1_3: bool,
    /// Suites of TLS 1.2, by nats-server's names; `None`: all there are. Those of TLS 1.3 are always there, as in Go.
    pub suites: Option<Vec<&'static str>>,
    /// Curves, the best one first, by nats-server's names; `None`: all there are.
    pub curves: Option<Vec<&'static str>>,
}

/// `resolver_tls { … }`
pub(crate) fn resolver(o: &mut Options, entry: &Entry) -> Result<(), ConfError> {
    let found = block(entry, &mut o.warnings)?;
    o.trust.resolver_tls = Some(found);
    Ok(())
}

fn block(entry: &Entry, warnings: &mut Vec<Warning>) -> Result<CallingTls, ConfError> {
    schema::check_block(entry, keys::TLS)?;
    let mut found = CallingTls::default();
    let (mut certificate, mut key) = (None, None);
    let map = read::block(entry)?;
    for e in &map.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "cert_file" => certificate = filled(e)?,
            "key_file" => key = filled(e)?,
            "ca_file" => found.ca_file = filled(e)?,
            "min_version" => found.only_1_3 = only_1_3(e)?,
            "cipher_suites" => found.suites = Some(suites(e, map, warnings)?),
            "curve_preferences" => found.curves = Some(curves(e, warnings)?),
            "allow_insecure_cipher_suites" => {}
            "insecure" if e.value.value == Value::Bool(true) => {
                let message = format!(
                    "{}.insecure: Weir takes no answer from somebody whom nobody vouches for; name who signed its certificate with ca_file",
                    entry.key
                );
                return Err(ConfError::at(&e.pos, message));
            }
            "insecure" => {}
            name => {
                let text = format!(
                    "{:?} has no effect in {}: it is for clients of this server",
                    name, entry.key
                );
                warnings.push(Warning::new(&e.pos, text));
            }
        }
    }
    found.certificate = paired(entry, certificate, key)?;
    Ok(found)
}
