//! What is known of a connection's TLS, and of the client's certificate.

use std::collections::BTreeSet;

use rustls::pki_types::CertificateDer;
use rustls::{ProtocolVersion, ServerConnection};
use serde::Serialize;
use sha2::{Digest, Sha256};
use x509_parser::parse_x509_certificate;

use super::names::Name;

/// What a handshake came to.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// The version: `1.3`.
    pub version: &'static str,
    /// The cipher suite, by Go's name.
    pub suite: String,
    /// The client began with it, before it was sent INFO.
    pub first: bool,
    /// The client's certificates, its own first.
    pub certificates: Vec<Certificate>,
    /// Its own, in DER.
    pub(crate) own: Option<Box<[u8]>>,
    /// All of them, in DER, if somebody is to be asked about them.
    pub(crate) chain: Vec<CertificateDer<'static>>,
}

impl TlsFacts {
    /// As much of it as is told of a connection that has ended: no certificate itself.
    pub(crate) fn of_closed(&self) -> Self {
        Self {
            version: self.version,
            suite: self.suite.clone(),
            first: self.first,
            certificates: self.certificates.clone(),
            own: None,
            chain: Vec::new(),
        }
    }
}

/// A certificate of a client, as reports show it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Certificate {
    /// Whose it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// SHA-256 of its public key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub spki_sha256: String,
    /// SHA-256 of all of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cert_sha256: String,
}

impl TlsFacts {
    /// Whether the client has one of these keys.
    pub(crate) fn is_pinned(&self, keys: &BTreeSet<String>) -> bool {
        self.certificates
            .first()
            .is_some_and(|own| keys.contains(&own.spki_sha256))
    }
}

pub(super) fn facts(connection: &ServerConnection, first: bool, keeps_chain: bool) -> TlsFacts {
    let presented = connection.peer_certificates().unwrap_or_default();
    let suite = connection.negotiated_cipher_suite();
    TlsFacts {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            _ => "1.3",
        },
        suite: suite.map_or_else(String::new, |suite| {
            format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
        }),
        first,
        certificates: presented.iter().map(certificate).collect(),
        own: presented.first().map(|own| own.as_ref().into()),
        chain: match keeps_chain {
            true => presented.iter().map(|der| der.clone().into_owned()).collect(),
            false => Vec::new(),
        },
    }
}

fn certificate(der: &CertificateDer<'_>) -> Certificate {
    let cert_sha256 = hex(&Sha256::digest(der));
    match parse_x509_certificate(der) {
        Ok((_, parsed)) => Certificate {
            subject: Name::of(parsed.subject()).unwrap_or_default().whole(),
            spki_sha256: hex(&Sha256::digest(parsed.public_key().raw)),
            cert_sha256,
        },
        // One that was good enough for a handshake is one.
        Err(_) => Certificate {
            cert_sha256,
            ..Certificate::default()
        },
    }
}

/// Whose a certificate is, and who says so. `None`: it is none.
pub(crate) fn names_of(der: &[u8]) -> Option<(String, String)> {
    let (_, parsed) = parse_x509_certificate(der).ok()?;
    let whole = |name| Name::of(name).unwrap_or_default().whole();
    Some((whole(parsed.subject()), whole(parsed.issuer())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
