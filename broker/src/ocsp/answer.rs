//! What a responder says of a certificate, read and checked (RFC 6960).

use std::fmt;

use jiff::Timestamp;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, spki_for_anchor};
use x509_cert::der::asn1::{BitStringRef, ObjectIdentifier};
use x509_cert::der::{Decode, Reader, SliceReader, Tag};
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_ocsp::{CertStatus, OcspGeneralizedTime, OcspResponse, OcspResponseStatus, ResponseData};

use super::subject::Subject;
use crate::context::is_signed;
use crate::limits::{OCSP_AHEAD, OCSP_SIGNERS_MAX};

/// The one kind of answer there is.
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
/// What the certificate of a delegated responder is for: `id-kp-OCSPSigning`, `1.3.6.1.5.5.7.3.9`, without tag and length.
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];
/// What the certificates in an answer stand in: `[0] EXPLICIT`.
const CERTIFICATES: u8 = 0xa0;

/// What is said of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Good,
    Revoked,
    /// The responder does not know it.
    Unknown,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
        })
    }
}

/// An answer that is signed by whoever may.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// As it came, for clients.
    pub raw: Vec<u8>,
    pub status: Status,
    pub this_update: Timestamp,
    /// Until when it counts; `None`: whoever asks again may be told something newer at any time.
    pub next_update: Option<Timestamp>,
}

impl Answer {
    /// Reads what is said of this certificate, and counts now.
    ///
    /// # Errors
    /// As [`Answer::parse`], or it does not count now; the text says which.
    pub fn read(raw: Vec<u8>, about: &Subject, now: Timestamp) -> Result<Self, String> {
        let answer = Self::parse(raw, about, now)?;
        let this_update = answer.this_update;
        if this_update.duration_since(now) > OCSP_AHEAD.try_into().unwrap_or_default() {
            return Err(format!("invalid ocsp ThisUpdate, is future time: {this_update}"));
        }
        match answer.next_update {
            Some(next_update) if !answer.counts_at(now) => {
                Err(format!("invalid ocsp NextUpdate, is past time: {next_update}"))
            }
            _ => Ok(answer),
        }
    }

    /// Reads what is said of this certificate, whenever that may be.
    ///
    /// # Errors
    /// It is no answer, is about another one, or is signed by nobody who may sign it now; the text says which.
    pub fn parse(raw: Vec<u8>, about: &Subject, now: Timestamp) -> Result<Self, String> {
        let bad = |error: x509_cert::der::Error| format!("ocsp: it is no answer: {error}");
        let whole = OcspResponse::from_der(&raw).map_err(bad)?;
        let refused = match whole.response_status {
            OcspResponseStatus::Successful => None,
            OcspResponseStatus::MalformedRequest => Some("malformed"),
            OcspResponseStatus::InternalError => Some("internal error"),
            OcspResponseStatus::TryLater => Some("try later"),
            OcspResponseStatus::SigRequired => Some("signature required"),
            OcspResponseStatus::Unauthorized => Some("unauthorized"),
        };
        if let Some(refused) = refused {
            return Err(format!("ocsp: error from server: {refused}"));
        }
        let bytes = whole.response_bytes.filter(|bytes| bytes.response_type == BASIC);
        let bytes = bytes.ok_or("ocsp: it is an answer of another kind")?;
        let signed = Signed::split(bytes.response.as_bytes()).map_err(bad)?;
        if !signed.is_by(about, now) {
            return Err("ocsp: nobody has signed the answer who may".to_owned());
        }
        let data = ResponseData::from_der(signed.data).map_err(bad)?;
        let mut responses = data.responses.into_iter();
        let response = responses.find(|response| about.is(&response.cert_id));
        let response = response.ok_or("ocsp: the answer is about another certificate")?;
        let this_update = timestamp(response.this_update)?;
        let next_update = response.next_update.map(timestamp).transpose()?;
        Ok(Self {
            status: match response.cert_status {
                CertStatus::Good(_) => Status::Good,
                CertStatus::Revoked(_) => Status::Revoked,
                CertStatus::Unknown(_) => Status::Unknown,
            },
            raw,
            this_update,
            next_update,
        })
    }

    /// Whether it still counts.
    pub fn counts_at(&self, now: Timestamp) -> bool {
        self.next_update.is_none_or(|until| until >= now)
    }
}

fn timestamp(time: OcspGeneralizedTime) -> Result<Timestamp, String> {
    let seconds = i64::try_from(time.0.to_unix_duration().as_secs()).ok();
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.ok_or_else(|| "ocsp: a time in it is none".to_owned())
}

/// An answer taken apart, in the bytes that it came in: a signature is of those.
struct Signed<'a> {
    data: &'a [u8],
    algorithm: AlgorithmIdentifierOwned,
    signature: &'a [u8],
    /// Who may have signed it, by its own word.
    signers: Vec<CertificateDer<'a>>,
}

impl<'a> Signed<'a> {
    fn split(basic: &'a [u8]) -> x509_cert::der::Result<Self> {
        let mut reader = SliceReader::new(basic)?;
        let signed = reader.sequence(|reader| {
            let data = reader.tlv_bytes()?;
            let algorithm = AlgorithmIdentifierOwned::decode(reader)?;
            let signature = BitStringRef::decode(reader)?;
            let signature = signature.as_bytes().ok_or_else(|| Tag::BitString.value_error())?;
            let mut signers = Vec::new();
            if !reader.is_finished() && reader.peek_byte() == Some(CERTIFICATES) {
                let mut explicit = SliceReader::new(value(reader.tlv_bytes()?)?)?;
                let mut list = SliceReader::new(value(explicit.tlv_bytes()?)?)?;
                while !list.is_finished() && signers.len() < OCSP_SIGNERS_MAX {
                    signers.push(CertificateDer::from(list.tlv_bytes()?));
                }
            }
            Ok(Self {
                data,
                algorithm,
                signature,
                signers,
            })
        })?;
        reader.finish(signed)
    }

    /// Whether the issuer of that certificate has signed it, or somebody to whom that has left it. Who did is seen by the
    /// signature, not by what the answer says.
    fn is_by(&self, about: &Subject, now: Timestamp) -> bool {
        let algorithms = ring::default_provider().signature_verification_algorithms.all;
        let named = self.algorithm.oid.as_bytes();
        let Ok(issuer) = anchor_from_trusted_cert(&about.issuer) else {
            return false;
        };
        if is_signed(&spki_for_anchor(&issuer), algorithms, named, self.data, self.signature) {
            return true;
        }
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.as_second().unsigned_abs()));
        let roots = [issuer];
        self.signers.iter().any(|signer| {
            let Ok(parsed) = EndEntityCert::try_from(signer) else {
                return false;
            };
            let usage = KeyUsage::required(OCSP_SIGNING);
            let delegated = parsed.verify_for_usage(algorithms, &roots, &[], now, usage, None, None);
            delegated.is_ok() && {
                let key = parsed.subject_public_key_info();
                is_signed(&key, algorithms, named, self.data, self.signature)
            }
        })
    }
}

/// What is in there, behind tag and length.
fn value(tlv: &[u8]) -> x509_cert::der::Result<&[u8]> {
    Ok(x509_cert::der::asn1::AnyRef::from_der(tlv)?.value())
}
