//! A certificate for the servers that are started here, and the word to the clients that it is to be trusted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, KeyPair};

use crate::error::{LoadError, Result};
use crate::wire::tls;

/// The certificate and its key, in PEM. One for the whole process, as clients trust one.
static ISSUED: OnceLock<std::result::Result<(String, String), String>> = OnceLock::new();

/// Writes a certificate of `localhost` (ECDSA with P-256, signed by itself) and its key into a folder.
///
/// # Errors
/// [`LoadError::Io`], and whatever keeps a certificate from being made.
pub fn write_into(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let issued = ISSUED.get_or_init(issue).as_ref();
    let (certificate_pem, key_pem) =
        issued.map_err(|error| LoadError::Usage(format!("making a certificate: {error}")))?;
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    fs::write(&certificate, certificate_pem).map_err(LoadError::io("writing the certificate"))?;
    fs::write(&key, key_pem).map_err(LoadError::io("writing the key"))?;
    Ok((certificate, key))
}

fn issue() -> std::result::Result<(String, String), String> {
    let failed = |error: rcgen::Error| error.to_string();
    let key = KeyPair::generate().map_err(failed)?;
    let params = CertificateParams::new(vec!["localhost".into()]).map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    tls::trust(vec![certificate.der().clone()])?;
    Ok((
        pem("CERTIFICATE", certificate.der()),
        pem("PRIVATE KEY", &key.serialize_der()),
    ))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    // Base64 is ASCII: it can be cut anywhere.
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
