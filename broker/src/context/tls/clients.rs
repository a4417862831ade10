//! Whose certificates are good. rustls says so; and what it refuses for one of two reasons is looked at once more, since Go, and nats-server
//! with it, takes it: a certificate that is for any purpose, and that of an authority which a client shows as its own, as
//! `openssl req -x509` makes them.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage, RequiredEkuNotFoundContext,
    spki_for_anchor,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;

use super::signed::is_signed;

/// What a certificate of a client is for: `1.3.6.1.5.5.7.3.2`, in DER.
const CLIENT: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]);
/// `anyExtendedKeyUsage`: `2.5.29.37.0`.
const ANY: KeyPurposeId<'static> = KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0]);

/// Whoever asks clients for certificates.
#[derive(Debug)]
pub(super) struct Clients {
    inner: Arc<dyn ClientCertVerifier>,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Clients {
    /// Beside what rustls takes by these authorities.
    pub fn new(
        inner: Arc<dyn ClientCertVerifier>,
        roots: Arc<RootCertStore>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self {
            inner,
            roots,
            algorithms,
        }
    }

    /// Whether all is well but for the purpose, which is any.
    fn is_for_any_purpose(&self, own: &CertificateDer<'_>, others: &[CertificateDer<'_>], now: UnixTime) -> bool {
        let verified = |own: &EndEntityCert<'_>| {
            let (all, roots) = (self.algorithms.all, &self.roots.roots);
            own.verify_for_usage(all, roots, others, now, AnyPurpose, None, None)
                .is_ok()
        };
        EndEntityCert::try_from(own).is_ok_and(|own| verified(&own))
    }

    /// Whether an authority that is trusted has signed this certificate itself: its own, or another authority's. What is wrong with it
    /// beside that it is an authority's was found before, but for its purpose.
    fn is_signed_by_root(&self, own: &CertificateDer<'_>) -> bool {
        let (Ok(parts), Ok((_, whole))) = (EndEntityCert::try_from(own), parse_x509_certificate(own)) else {
            return false;
        };
        let purpose = match whole.extended_key_usage() {
            Ok(None) => true,
            Ok(Some(usage)) => usage.value.any || usage.value.client_auth,
            Err(_) => false,
        };
        // Whether the names are those that such an authority may sign is rustls's to say, and it does not get that far.
        let may_sign =
            |root: &&TrustAnchor<'_>| root.subject.as_ref() == parts.issuer() && root.name_constraints.is_none();
        purpose
            && self
                .roots
                .roots
                .iter()
                .filter(may_sign)
                .any(|root| self.has_signed(root, &whole))
    }

    fn has_signed(&self, root: &TrustAnchor<'_>, signed: &X509Certificate<'_>) -> bool {
        let (of, signature) = (&signed.tbs_certificate, &signed.signature_value);
        let (key, named) = (spki_for_anchor(root), signed.signature_algorithm.algorithm.as_bytes());
        signature.unused_bits == 0 && is_signed(&key, self.algorithms.all, named, of.as_ref(), &signature.data)
    }
}

/// What Go asks of the purposes of a client's certificates: none are said, or that of clients is among them, or any.
struct AnyPurpose;

impl ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?;
            if purpose == CLIENT || purpose == ANY {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        match present.is_empty() {
            true => Ok(()),
            false => Err(webpki::Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext {
                required: KeyUsage::client_auth(),
                present,
            })),
        }
    }
}

/// Whether a certificate was refused because it is an authority's.
fn is_of_authority(error: &CertificateError) -> bool {
    match error {
        CertificateError::Other(other) => {
            matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
        }
        _ => false,
    }
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let refused = match self.inner.verify_client_cert(own, others, now) {
            Err(Error::InvalidCertificate(refused)) => refused,
            other => return other,
        };
        let is_good = match &refused {
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                self.is_for_any_purpose(own, others, now)
            }
            other => is_of_authority(other) && self.is_signed_by_root(own),
        };
        match is_good {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(Error::InvalidCertificate(refused)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
