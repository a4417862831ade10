//! An authority, and certificates that it signed.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Certificates in a folder, which goes with this.
pub struct Certificates(tempfile::TempDir);

impl Certificates {
    /// An authority (`ca`), a server's (`server`), a client's (`person`), and one that another authority signed (`stranger`).
    pub fn make() -> Result<Self> {
        let made = Self(tempfile::tempdir()?);
        let (ca, other) = (made.authority("ca")?, made.authority("other")?);
        let host = SanType::DnsName("localhost".try_into()?);
        made.issue(
            "server",
            &ca,
            vec![host.clone(), SanType::IpAddress([127, 0, 0, 1].into())],
        )?;
        made.issue("newer", &ca, vec![host])?;
        made.issue("person", &ca, Vec::new())?;
        made.issue("stranger", &other, Vec::new())?;
        Ok(made)
    }

    fn authority(&self, name: &str) -> Result<Issuer<'static, KeyPair>> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key)?;
        self.write(&format!("{name}.pem"), "CERTIFICATE", certificate.der())?;
        Ok(Issuer::new(params, key))
    }

    fn issue(&self, name: &str, by: &Issuer<'static, KeyPair>, names: Vec<SanType>) -> Result<()> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = names;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, by)?;
        self.write(&format!("{name}.pem"), "CERTIFICATE", certificate.der())?;
        self.write(&format!("{name}.key"), "PRIVATE KEY", &key.serialize_der())
    }

    fn write(&self, file: &str, what: &str, der: &[u8]) -> Result<()> {
        let text = BASE64_STANDARD.encode(der);
        let pem = format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n");
        Ok(fs::write(self.path(file), pem)?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Where they are.
    pub fn folder(&self) -> String {
        self.0.path().to_string_lossy().into_owned()
    }

    /// For a client that shows one of them, or none.
    pub fn client(&self, shown: Option<&str>) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem"))?)?;
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_webpki_verifier(verifier);
        Ok(Arc::new(match shown {
            Some(name) => {
                let certificate = CertificateDer::from_pem_file(self.path(&format!("{name}.pem")))?;
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key")))?;
                builder.with_client_auth_cert(vec![certificate], key)?
            }
            None => builder.with_no_client_auth(),
        }))
    }
}
