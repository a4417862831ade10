//! What responders of OCSP answer, made for one test. Knows nothing of the broker, whose own tests use it, too.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SerialNumber, SigningKey as _,
};
use rustls::pki_types::CertificateDer;
use x509_cert::der::asn1::{BitString, GeneralizedTime, Ia5String, Null, ObjectIdentifier, OctetString};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AccessDescription, AuthorityInfoAccessSyntax};
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::{Certificate, serial_number};
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse, OcspResponseStatus,
    ResponderId, ResponseData, RevokedInfo, SingleResponse, Version,
};

/// ECDSA with SHA-256, by which the keys of tests sign.
const ECDSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const RESPONDER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
/// `id-pe-tlsfeature` and its value: `status_request`.
const MUST_STAPLE: (&[u64], &[u8]) = (&[1, 3, 6, 1, 5, 5, 7, 1, 24], &[0x30, 3, 2, 1, 5]);
/// `id-pe-authorityInfoAccess`.
const ACCESS: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 1];

/// Somebody who signs certificates, and answers about them.
pub struct Ca {
    pub issuer: Issuer<'static, KeyPair>,
    pub der: CertificateDer<'static>,
}

/// A certificate and its key.
pub struct Made {
    pub der: CertificateDer<'static>,
    pub key: KeyPair,
}

/// What is said of one certificate.
#[derive(Clone)]
pub struct Said {
    pub status: Saying,
    pub this_update: SystemTime,
    pub next_update: Option<SystemTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saying {
    Good,
    Revoked,
    Unknown,
}

impl Said {
    /// From a minute ago until then.
    pub fn until(status: Saying, now: SystemTime, left: Duration) -> Self {
        Self {
            status,
            this_update: now - Duration::from_secs(60),
            next_update: Some(now + left),
        }
    }
}

impl Ca {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of answers");
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        Self { issuer, der }
    }

    /// A certificate of this machine, which says by whom answers about it are given, and perhaps that it goes with one.
    pub fn server(&self, responders: &[String], must_staple: bool) -> Made {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        if must_staple {
            let (oid, value) = MUST_STAPLE;
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(oid, value.to_vec()));
        }
        if !responders.is_empty() {
            let one = |url: &String| AccessDescription {
                access_method: RESPONDER,
                access_location: GeneralName::UniformResourceIdentifier(Ia5String::new(url).unwrap()),
            };
            let access = AuthorityInfoAccessSyntax(responders.iter().map(one).collect());
            let access = CustomExtension::from_oid_content(ACCESS, access.to_der().unwrap());
            params.custom_extensions.push(access);
        }
        self.sign(params)
    }

    /// An authority that this one has signed, whose certificate says by whom answers about it are given.
    pub fn below(&self, responders: &[String]) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority between");
        params.custom_extensions.extend(access(responders));
        let made = self.sign(params.clone());
        Self {
            issuer: Issuer::new(params, made.key),
            der: made.der,
        }
    }

    /// Whom it has answer in its place, or somebody whose certificate does not say that.
    pub fn delegate(&self, may: bool, change: impl FnOnce(&mut CertificateParams)) -> Made {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "delegate");
        if may {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::OcspSigning);
        }
        change(&mut params);
        self.sign(params)
    }

    pub fn sign(&self, mut params: CertificateParams) -> Made {
        let key = KeyPair::generate().unwrap();
        if params.serial_number.is_none() {
            // Some begin with a bit that would make a number of them that is below nothing.
            let mut number = key.public_key_raw()[1..17].to_vec();
            number[0] &= 0x7f;
            number[0] |= 0x01;
            params.serial_number = Some(SerialNumber::from(number));
        }
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Made { der, key }
    }

    /// What a certificate of this authority is called in requests and answers, by SHA-1.
    pub fn id(&self, of: &CertificateDer<'_>) -> CertId {
        use sha1::Digest as _;
        let own = Certificate::from_der(&self.der).unwrap().tbs_certificate;
        let hash = |bytes: &[u8]| OctetString::new(sha1::Sha1::digest(bytes).to_vec()).unwrap();
        CertId {
            hash_algorithm: AlgorithmIdentifierOwned {
                oid: ObjectIdentifier::new_unwrap("1.3.14.3.2.26"),
                parameters: Some(Null.into()),
            },
            issuer_name_hash: hash(&own.subject.to_der().unwrap()),
            issuer_key_hash: hash(own.subject_public_key_info.subject_public_key.raw_bytes()),
            serial_number: number(of),
        }
    }

    /// Its own answer.
    pub fn answer(&self, id: CertId, said: &Said) -> Vec<u8> {
        answer(vec![(id, said.clone())], self.issuer.key(), &[])
    }
}

/// By whom answers are given, if that is said.
fn access(responders: &[String]) -> Option<CustomExtension> {
    let one = |url: &String| AccessDescription {
        access_method: RESPONDER,
        access_location: GeneralName::UniformResourceIdentifier(Ia5String::new(url).unwrap()),
    };
    let access = AuthorityInfoAccessSyntax(responders.iter().map(one).collect());
    let access = CustomExtension::from_oid_content(ACCESS, access.to_der().unwrap());
    (!responders.is_empty()).then_some(access)
}

pub fn number(of: &CertificateDer<'_>) -> serial_number::SerialNumber {
    Certificate::from_der(of).unwrap().tbs_certificate.serial_number
}

/// An answer about these, signed by that key, with these certificates.
pub fn answer(about: Vec<(CertId, Said)>, by: &KeyPair, certificates: &[&CertificateDer<'_>]) -> Vec<u8> {
    let one = |(cert_id, said): (CertId, Said)| SingleResponse {
        cert_id,
        cert_status: match said.status {
            Saying::Good => CertStatus::good(),
            Saying::Revoked => CertStatus::revoked(RevokedInfo {
                revocation_time: time(said.this_update),
                revocation_reason: None,
            }),
            Saying::Unknown => CertStatus::unknown(),
        },
        this_update: time(said.this_update),
        next_update: said.next_update.map(time),
        single_extensions: None,
    };
    let data = ResponseData {
        version: Version::V1,
        responder_id: ResponderId::ByKey(OctetString::new(vec![1; 20]).unwrap()),
        produced_at: time(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
        responses: about.into_iter().map(one).collect(),
        response_extensions: None,
    };
    let signature = by.sign(&data.to_der().unwrap()).unwrap();
    let certs = certificates.iter().map(|&der| Certificate::from_der(der).unwrap());
    let certs: Vec<Certificate> = certs.collect();
    let basic = BasicOcspResponse {
        tbs_response_data: data,
        signature_algorithm: AlgorithmIdentifierOwned {
            oid: ECDSA,
            parameters: None,
        },
        signature: BitString::from_bytes(&signature).unwrap(),
        certs: (!certs.is_empty()).then_some(certs),
    };
    OcspResponse::successful(basic).unwrap().to_der().unwrap()
}

/// One that says why there is none.
pub fn refusal(response_status: OcspResponseStatus) -> Vec<u8> {
    let response = OcspResponse {
        response_status,
        response_bytes: None,
    };
    response.to_der().unwrap()
}

/// Which certificate a request asks about.
pub fn asked(request: &[u8]) -> CertId {
    let request = OcspRequest::from_der(request).unwrap().tbs_request;
    let [only] = request.request_list.as_slice() else {
        panic!("it asks about {}", request.request_list.len());
    };
    only.req_cert.clone()
}

fn time(time: SystemTime) -> OcspGeneralizedTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    GeneralizedTime::from_unix_duration(Duration::from_secs(since.as_secs()))
        .unwrap()
        .into()
}
