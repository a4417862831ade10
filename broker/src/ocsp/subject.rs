//! A certificate that a responder is asked about, and whoever signed it.

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use webpki::{anchor_from_trusted_cert, spki_for_anchor};
use x509_cert::der::asn1::{Null, ObjectIdentifier, OctetString};
use x509_cert::der::{Decode, Encode};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_ocsp::{CertId, OcspRequest, Request, TbsRequest, Version};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::parse_x509_certificate;

use crate::context::is_signed;

/// The extension by which a certificate says that it goes with a staple (RFC 7633).
const TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";
/// What stands in there.
const STATUS_REQUEST: u32 = 5;
/// What a responder is called in the list of whom to ask about a certificate.
const RESPONDER: &str = "1.3.6.1.5.5.7.48.1";

const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

/// A certificate, as it is asked about.
pub(super) struct Subject {
    /// SHA-256 of all of it, in hexadecimal digits.
    pub digest: String,
    /// Whom to ask, by its own word.
    pub responders: Vec<String>,
    /// Whoever signed it.
    pub issuer: CertificateDer<'static>,
    serial: SerialNumber,
    /// The issuer's name, in DER, and the bits of its key.
    issuer_name: Vec<u8>,
    issuer_key: Vec<u8>,
}

impl Subject {
    /// The first of this chain. Whoever signed it is behind it, or among the authorities.
    ///
    /// # Errors
    /// It is not found who signed it, or that is not an authority.
    pub fn of(
        chain: &[CertificateDer<'static>],
        authorities: impl FnOnce() -> Vec<CertificateDer<'static>>,
    ) -> Result<Self, String> {
        let own = chain.first().ok_or("no certificate found")?;
        // As nats-server looks for it: if something is behind the certificate in its file, it has to be that.
        let issuer = match chain.get(1) {
            Some(behind) => has_signed(behind, own).then(|| behind.clone()),
            None => authorities().into_iter().find(|by| has_signed(by, own)),
        };
        let issuer = issuer.ok_or("no issuers found")?;
        {
            let by = parse(&issuer)?;
            if !by
                .basic_constraints()
                .ok()
                .flatten()
                .is_some_and(|basic| basic.value.ca)
            {
                return Err(format!("{} invalid ca basic constraints: is not ca", by.subject()));
            }
        }
        Self::issued(own, issuer)
    }

    /// A certificate that this one has signed.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn issued(own: &CertificateDer<'_>, issuer: CertificateDer<'static>) -> Result<Self, String> {
        let parsed = parse(own)?;
        let by = parse(&issuer)?;
        let (issuer_name, issuer_key) = (
            by.subject().as_raw().to_vec(),
            by.public_key().subject_public_key.data.to_vec(),
        );
        Ok(Self {
            digest: Sha256::digest(own).iter().map(|byte| format!("{byte:02x}")).collect(),
            responders: responders(&parsed),
            serial: serial(&parsed).ok_or("its number is longer than numbers of certificates are")?,
            issuer_name,
            issuer_key,
            issuer,
        })
    }

    /// What a responder is sent.
    ///
    /// # Errors
    /// Never, of a certificate that could be read.
    pub fn request(&self) -> Result<Vec<u8>, String> {
        let octets = |digest: &[u8]| OctetString::new(digest).map_err(|error| error.to_string());
        let req_cert = CertId {
            // As everybody asks; that many certificates could have the same numbers helps nobody to a signature.
            hash_algorithm: AlgorithmIdentifierOwned {
                oid: SHA1,
                parameters: Some(Null.into()),
            },
            issuer_name_hash: octets(&Sha1::digest(&self.issuer_name))?,
            issuer_key_hash: octets(&Sha1::digest(&self.issuer_key))?,
            serial_number: self.serial.clone(),
        };
        let request = OcspRequest {
            tbs_request: TbsRequest {
                version: Version::V1,
                requestor_name: None,
                request_list: vec![Request {
                    req_cert,
                    single_request_extensions: None,
                }],
                request_extensions: None,
            },
            optional_signature: None,
        };
        request.to_der().map_err(|error| error.to_string())
    }

    /// Whether an answer of that name is about it.
    pub fn is(&self, id: &CertId) -> bool {
        let (name, key) = (id.issuer_name_hash.as_bytes(), id.issuer_key_hash.as_bytes());
        let issuer = match id.hash_algorithm.oid {
            SHA1 => *name == *Sha1::digest(&self.issuer_name) && *key == *Sha1::digest(&self.issuer_key),
            SHA256 => *name == *Sha256::digest(&self.issuer_name) && *key == *Sha256::digest(&self.issuer_key),
            _ => false,
        };
        issuer && id.serial_number == self.serial
    }
}

/// Whether a certificate says that it goes with a staple.
pub(super) fn must_staple(certificate: &CertificateDer<'_>) -> bool {
    let Ok(parsed) = parse(certificate) else {
        return false;
    };
    let feature = |extension: &&x509_parser::extensions::X509Extension<'_>| extension.oid.to_id_string() == TLS_FEATURE;
    let found = parsed.extensions().iter().find(feature);
    found
        .and_then(|extension| Vec::<u32>::from_der(extension.value).ok())
        .is_some_and(|features| features.contains(&STATUS_REQUEST))
}

fn parse<'c>(certificate: &'c CertificateDer<'_>) -> Result<X509Certificate<'c>, String> {
    match parse_x509_certificate(certificate) {
        Ok((_, parsed)) => Ok(parsed),
        Err(error) => Err(format!("error parsing certificate: {error}")),
    }
}

/// Whether a certificate has signed another one, which names it.
pub(super) fn has_signed(by: &CertificateDer<'_>, own: &CertificateDer<'_>) -> bool {
    let (Ok(own), Ok(named)) = (parse(own), parse(by)) else {
        return false;
    };
    // The signature is looked at last: it takes longest.
    named.subject().as_raw() == own.issuer().as_raw()
        && anchor_from_trusted_cert(by).is_ok_and(|anchor| {
            let (of, signature) = (&own.tbs_certificate, &own.signature_value);
            let (key, algorithm) = (spki_for_anchor(&anchor), own.signature_algorithm.algorithm.as_bytes());
            let algorithms = ring::default_provider().signature_verification_algorithms.all;
            signature.unused_bits == 0 && is_signed(&key, algorithms, algorithm, of.as_ref(), &signature.data)
        })
}

/// Whose a certificate is, for the log.
pub(super) fn name(certificate: &CertificateDer<'_>) -> String {
    parse(certificate)
        .map(|parsed| parsed.subject().to_string())
        .unwrap_or_default()
}

fn responders(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for extension in certificate.extensions() {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else {
            continue;
        };
        for one in &access.accessdescs {
            if let (true, GeneralName::URI(url)) = (one.access_method.to_id_string() == RESPONDER, &one.access_location)
            {
                found.push((*url).to_owned());
            }
        }
    }
    found
}

fn serial(certificate: &X509Certificate<'_>) -> Option<SerialNumber> {
    let number = certificate.raw_serial();
    let mut der = vec![0x02, u8::try_from(number.len()).ok().filter(|&length| length < 0x80)?];
    der.extend_from_slice(number);
    SerialNumber::from_der(&der).ok()
}
