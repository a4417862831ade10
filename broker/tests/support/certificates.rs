//! Certificates, made for one test.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use weir_broker::conf::options::Tls;

/// Somebody who signs certificates, and the folder that they are written into.
pub struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

/// A certificate and its key, in files and as a client uses them.
pub struct Issued {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let der = certificate.der().clone();
        fs::write(folder.path().join("ca.pem"), pem("CERTIFICATE", &der)).unwrap();
        Self {
            folder,
            issuer: Issuer::new(params, key),
            der,
        }
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.der.clone()
    }

    pub fn file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One with these attributes in its subject and these other names. Its files are called `name`; what they held is gone.
    pub fn issue(&self, name: &str, subject: &[(DnType, &str)], others: Vec<SanType>) -> Issued {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = others;
        self.sign(name, params)
    }

    /// One of a server on this machine.
    pub fn server(&self, name: &str) -> Issued {
        let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        self.sign(name, params)
    }

    /// One of a server that is called so.
    pub fn named(&self, name: &str, host: &str) -> Issued {
        self.sign(name, CertificateParams::new(vec![host.to_owned()]).unwrap())
    }

    /// One that ended long ago.
    pub fn expired(&self, name: &str) -> Issued {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        self.sign(name, params)
    }

    fn sign(&self, name: &str, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let issued = Issued {
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
            der: signed.der().clone(),
            key_der: key.serialize_der(),
        };
        fs::write(&issued.certificate, pem("CERTIFICATE", &issued.der)).unwrap();
        fs::write(&issued.key, pem("PRIVATE KEY", &issued.key_der)).unwrap();
        issued
    }

    /// What a client trusts that knows this authority, and shows this certificate if it is asked for one.
    pub fn client(&self, shown: Option<&Issued>, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_webpki_verifier(verifier);
        Arc::new(match shown {
            Some(shown) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(shown.key_der.clone()));
                builder.with_client_auth_cert(vec![shown.der.clone()], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        })
    }
}

impl Issued {
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key_der.clone()).into()
    }

    /// The options of a server that has it.
    pub fn tls(&self) -> Tls {
        Tls::of(&self.certificate, &self.key)
    }
}

fn pem(of: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!("-----BEGIN {of}-----\n{}\n-----END {of}-----\n", lines.join("\n"))
}

/// Puts the files of one certificate into the place of another's.
pub fn replace(old: &Issued, new: &Issued) {
    let copy = |from: &Path, to: &Path| fs::copy(from, to).unwrap();
    copy(&new.certificate, &old.certificate);
    copy(&new.key, &old.key);
}
