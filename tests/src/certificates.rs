//! Certificates, made for one test.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};

fn pem(of: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {of}-----\n{}\n-----END {of}-----\n",
        BASE64_STANDARD.encode(der)
    )
}

/// Certificates in a folder, which goes with this.
#[derive(Debug)]
pub struct Certificates(tempfile::TempDir);

impl Certificates {
    /// An authority (`ca`), two of servers (`server`, `newer`), some of clients, and another authority (`other`) with a client (`stranger`).
    ///
    /// # Errors
    /// When they cannot be made or written.
    pub fn make() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let authority = |name: &str| -> Result<Issuer<'static, KeyPair>> {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(Vec::new())?;
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            let certificate = params.self_signed(&key)?;
            fs::write(
                folder.path().join(format!("{name}.pem")),
                pem("CERTIFICATE", certificate.der()),
            )?;
            fs::write(
                folder.path().join(format!("{name}.key")),
                pem("PRIVATE KEY", &key.serialize_der()),
            )?;
            Ok(Issuer::new(params, key))
        };
        let (ca, other) = (authority("ca")?, authority("other")?);
        let issue = |name: &str,
                     by: &Issuer<'static, KeyPair>,
                     subject: &[(DnType, &str)],
                     names: Vec<SanType>|
         -> Result<()> {
            let mut params = CertificateParams::new(Vec::new())?;
            params.distinguished_name = DistinguishedName::new();
            for (kind, value) in subject {
                params.distinguished_name.push(kind.clone(), *value);
            }
            params.subject_alt_names = names;
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, by)?;
            fs::write(
                folder.path().join(format!("{name}.pem")),
                pem("CERTIFICATE", certificate.der()),
            )?;
            fs::write(
                folder.path().join(format!("{name}.key")),
                pem("PRIVATE KEY", &key.serialize_der()),
            )?;
            Ok(())
        };
        let host = |name: &str| Ok::<_, anyhow::Error>(SanType::DnsName(name.try_into()?));
        let person = [
            (DnType::CommonName, "person"),
            (DnType::OrganizationName, "Weir, Inc"),
            (DnType::CountryName, "DE"),
        ];
        issue(
            "server",
            &ca,
            &[],
            vec![host("localhost")?, SanType::IpAddress([127, 0, 0, 1].into())],
        )?;
        issue("newer", &ca, &[(DnType::CommonName, "newer")], vec![host("localhost")?])?;
        issue("person", &ca, &person, vec![])?;
        issue("stranger", &other, &person, vec![])?;
        let dc = DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]);
        issue("domain", &ca, &[(dc, "com"), (DnType::CommonName, "domain")], vec![])?;
        let names = vec![
            SanType::URI("spiffe://a/b".try_into()?),
            host("a.example.com")?,
            SanType::Rfc822Name("a@example.com".try_into()?),
        ];
        issue("names", &ca, &person, names)?;
        let made = Self(folder);
        made.add_special(&ca, &other)?;
        Ok(made)
    }

    /// Certificates of clients that are for some purpose, or of an authority, as `openssl req -x509` makes them. In `several.pem` are those
    /// that a server may trust.
    fn add_special(&self, ca: &Issuer<'static, KeyPair>, other: &Issuer<'static, KeyPair>) -> Result<()> {
        use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
        let authority = || IsCa::Ca(BasicConstraints::Unconstrained);
        for (name, by, is_ca, purposes) in [
            ("any", Some(ca), IsCa::NoCa, vec![Any]),
            ("serving", Some(ca), IsCa::NoCa, vec![ServerAuth]),
            ("both", Some(ca), IsCa::NoCa, vec![ServerAuth, ClientAuth]),
            ("any-stranger", Some(other), IsCa::NoCa, vec![Any]),
            ("below", Some(ca), authority(), vec![]),
            ("below-any", Some(ca), authority(), vec![Any]),
            ("below-serving", Some(ca), authority(), vec![ServerAuth]),
            ("below-stranger", Some(other), authority(), vec![]),
            ("self", None, authority(), vec![]),
            ("self-unknown", None, authority(), vec![]),
            ("self-plain", None, IsCa::NoCa, vec![]),
        ] {
            let mut params = CertificateParams::new(Vec::new())?;
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = is_ca;
            params.extended_key_usages = purposes;
            let key = KeyPair::generate()?;
            let certificate = match by {
                Some(by) => params.signed_by(&key, by)?,
                None => params.self_signed(&key)?,
            };
            fs::write(self.path(&format!("{name}.pem")), pem("CERTIFICATE", certificate.der()))?;
            fs::write(
                self.path(&format!("{name}.key")),
                pem("PRIVATE KEY", &key.serialize_der()),
            )?;
        }
        let mut several = String::new();
        for name in ["ca.pem", "self.pem", "self-plain.pem"] {
            several += &fs::read_to_string(self.path(name))?;
        }
        Ok(fs::write(self.path("several.pem"), several)?)
    }

    /// One of the files: `ca.pem`, `person.key` and so on.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A configuration with the folder's path for each `@/`.
    pub fn fill(&self, configuration: &str) -> String {
        let folder = self.0.path().to_string_lossy();
        configuration.replace("@/", &format!("{folder}/"))
    }
}
