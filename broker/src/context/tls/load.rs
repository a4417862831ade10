//! From the files to what TLS is done with.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{NamedGroup, RootCertStore, ServerConfig, SupportedProtocolVersion, version};

use super::Tls;
use super::clients::Clients;
use super::resolver::{Certificates, Shown};
use crate::conf::options::{CertificateFiles, Tls as TlsOptions};

/// Why clients cannot be asked for certificates.
const UNTRUSTING: &str = "verify without ca_file asks for certificates that an authority signed which the system trusts, and it trusts none: name yours with ca_file";

/// Tickets that a client of TLS 1.3 gets to come back with, as Go has it.
const TICKETS: usize = 1;

/// Files as they are read, and a number for all that they held.
#[derive(Default)]
pub(super) struct Files(DefaultHasher);

impl Files {
    pub fn read(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("open {}: {error}", path.display()))?;
        bytes.hash(&mut self.0);
        Ok(bytes)
    }
}

impl Tls {
    /// Reads the files that the options name.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub(super) fn load(options: &TlsOptions) -> Result<Self, String> {
        let mut files = Files::default();
        let provider = Arc::new(provider(options.suites.as_deref(), options.curves.as_deref()));
        let mut certificates = Vec::new();
        let count = options.certificates.len();
        for (at, pair) in options.certificates.iter().enumerate() {
            let failed = |why: String| match count {
                1 => format!("error parsing X509 certificate/key pair: {why}"),
                _ => format!("error parsing X509 certificate/key pair {}/{count}: {why}", at + 1),
            };
            let loaded = certificate(&mut files, pair, &provider).map_err(failed)?;
            certificates.push(Arc::new(Shown::new(Arc::new(loaded), &pair.certificate)));
        }
        let not_after = certificates.first().and_then(|first| not_after(&first.key));
        let shown: Arc<[Arc<Shown>]> = certificates.into();
        let certificates = Arc::new(Certificates(Arc::clone(&shown)));
        let mut named = None;
        let roots = match (&options.ca_file, options.verify) {
            (Some(path), _) => {
                let failed = |why: String| format!("{}: {why}", path.display());
                let pem = files.read(path)?;
                let roots = authorities(&pem).map_err(failed)?;
                named = Some(self::certificates(&pem).map_err(failed)?);
                Some(roots)
            }
            (None, true) => {
                if options.ocsp_peer.is_some() {
                    named = Some(rustls_native_certs::load_native_certs().certs);
                }
                Some(of_the_system().ok_or(UNTRUSTING)?)
            }
            (None, false) => None,
        };
        let verifier: Arc<dyn ClientCertVerifier> = match roots.filter(|_| options.verify) {
            Some(roots) => {
                let roots = Arc::new(roots);
                let inner = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                    .build()
                    .map_err(|error| format!("ca_file: {error}"))?;
                Arc::new(Clients::new(inner, roots, provider.signature_verification_algorithms))
            }
            None => Arc::new(NoClientAuth),
        };
        let with = |verifier: Arc<dyn ClientCertVerifier>, asks: bool| {
            let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&versions(options.only_1_3, &provider))
                .map_err(|error| error.to_string())?;
            let certificates = Arc::clone(&certificates);
            let mut config = builder
                .with_client_cert_verifier(verifier)
                .with_cert_resolver(certificates);
            // The client keeps the session, encrypted by a key that goes with this configuration, so that each costs no memory here, and a
            // reload with other files ends all.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            // One with a client's certificate is gone on with without another look at that, which may be good no longer.
            if !asks {
                config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
                config.send_tls13_tickets = TICKETS;
            }
            Ok::<_, String>(Arc::new(config))
        };
        Ok(Self {
            config: with(verifier, options.verify)?,
            without_client: with(Arc::new(NoClientAuth), false)?,
            options: options.clone(),
            shown,
            authorities: named,
            not_after,
            fingerprint: files.0.finish(),
        })
    }
}

/// What is encrypted and signed with: of all there is those suites and curves that the options leave.
pub(super) fn provider(suites: Option<&[&str]>, curves: Option<&[&'static str]>) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if let Some(suites) = suites {
        // Those of TLS 1.3 cannot be chosen, as in Go.
        provider.cipher_suites.retain(|suite| {
            let name = format!("{:?}", suite.suite());
            suite.tls13().is_some() || suites.iter().any(|chosen| *chosen == name)
        });
    }
    if let Some(curves) = curves {
        let group = |name: &&'static str| -> Option<&'static dyn SupportedKxGroup> {
            let wanted = match *name {
                "X25519" => NamedGroup::X25519,
                "CurveP256" => NamedGroup::secp256r1,
                "CurveP384" => NamedGroup::secp384r1,
                _ => return None,
            };
            ring::ALL_KX_GROUPS.iter().copied().find(|group| group.name() == wanted)
        };
        provider.kx_groups = curves.iter().filter_map(group).collect();
    }
    provider
}

pub(super) fn versions(only_1_3: bool, provider: &CryptoProvider) -> Vec<&'static SupportedProtocolVersion> {
    let has_1_2 = provider.cipher_suites.iter().any(|suite| suite.tls13().is_none());
    match only_1_3 || !has_1_2 {
        true => vec![&version::TLS13],
        false => vec![&version::TLS13, &version::TLS12],
    }
}

pub(super) fn certificate(
    files: &mut Files,
    pair: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, String> {
    let (at, key_at) = (pair.certificate.display(), pair.key.display());
    let chain = certificates(&files.read(&pair.certificate)?).map_err(|why| format!("{at}: {why}"))?;
    if chain.is_empty() {
        return Err(format!("{at}: failed to find any PEM data of a certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(&files.read(&pair.key)?);
    let key = key.map_err(|error| format!("{key_at}: {error}"))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            format!("private key does not match public key: {key_at} is not the key of {at}")
        }
        other => format!("{at}, {key_at}: {other}"),
    })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>();
    all.map_err(|error| error.to_string())
}

/// Whoever signs certificates. What of a file is no certificate of an authority is left out, as Go does.
pub(super) fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(certificates(pem)?) {
        (0, _) => Err("failed to parse root ca certificate".to_owned()),
        _ => Ok(roots),
    }
}

/// Whoever the system trusts; `None`: nobody.
pub(super) fn of_the_system() -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    match roots.add_parsable_certificates(found.certs) {
        (0, _) => None,
        _ => Some(roots),
    }
}

fn not_after(certificate: &CertifiedKey) -> Option<Timestamp> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate.cert.first()?).ok()?;
    Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()
}
