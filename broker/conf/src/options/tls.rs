//! `tls { … }`: certificates, and whom they are asked of.

mod calling;
mod suites;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::{Auth, OcspPeer, Options, Warning, keys, ocsp, read, schema};
use crate::error::ConfError;
use crate::file::{Entry, Map, Node, Value};
pub use calling::CallingTls;
pub(crate) use calling::resolver as resolver_tls;
pub use suites::{CURVES, Choice, SUITES};

/// Time for a handshake, unless the options say otherwise. As nats-server.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long a client that may begin with its handshake is waited for before it is sent INFO (`handshake_first: auto`). As nats-server.
const AUTO: Duration = Duration::from_millis(50);

/// How much longer than a handshake a client has for its CONNECT. As nats-server.
const THEN_CONNECT: Duration = Duration::from_secs(1);

/// TLS, as the options describe it. The files were not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificates with their chains, and their keys; of several that fit a client, the first is used.
    pub certificates: Vec<CertificateFiles>,
    /// Who signs certificates of clients; `None`: whoever the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Clients must have a certificate.
    pub verify: bool,
    /// A client is the user that its certificate names.
    pub map: bool,
    /// Time for a handshake.
    pub timeout: Duration,
    /// Handshakes that are begun in a second, less one; `None`: any number.
    pub rate_limit: Option<u64>,
    /// SHA-256 of the public keys that clients may have, in lower case; empty: any.
    pub pinned: BTreeSet<String>,
    /// What is asked about certificates of clients; `None`: nothing.
    pub ocsp_peer: Option<OcspPeer>,
    /// Whether clients begin with the handshake.
    pub first: First,
    /// Whether TLS 1.2 will not do.
    pub only_1_3: bool,
    /// Suites of TLS 1.2, by nats-server's names; `None`: all there are. Those of TLS 1.3 are always there, as in Go.
    pub suites: Option<Vec<&'static str>>,
    /// Curves, the best one first, by nats-server's names; `None`: all there are.
    pub curves: Option<Vec<&'static str>>,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those that it depends on.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Whether a client begins with its handshake, or waits for INFO.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum First {
    /// It waits.
    #[default]
    No,
    /// It begins.
    Yes,
    /// It may begin, within that time.
    Within(Duration),
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            ca_file: None,
            verify: false,
            map: false,
            timeout: TIMEOUT,
            rate_limit: None,
            pinned: BTreeSet::new(),
            ocsp_peer: None,
            first: First::No,
            only_1_3: false,
            suites: None,
            curves: None,
        }
    }
}

impl Tls {
    /// Of a certificate, and nothing else that is not usual.
    #[must_use]
    pub fn of(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificates: vec![CertificateFiles {
                certificate: certificate.into(),
                key: key.into(),
            }],
            ..Self::default()
        }
    }
}

/// `tls { … }` for clients, of the top or of a block of its own.
pub(super) fn block(entry: &Entry, warnings: &mut Vec<Warning>) -> Result<Tls, ConfError> {
    schema::check_block(entry, keys::TLS)?;
    let mut found = Tls::default();
    let (mut certificate, mut key) = (None, None);
    let map = read::block(entry)?;
    for e in &map.entries {
        match e.key.to_ascii_lowercase().as_str() {
            "cert_file" => certificate = filled(e)?,
            "key_file" => key = filled(e)?,
            "ca_file" => found.ca_file = filled(e)?,
            "certs" | "certificates" => {
                found.certificates = read::list(e)?.iter().map(pair).collect::<Result<_, _>>()?
            }
            "verify" => found.verify |= read::boolean(e)?,
            "verify_and_map" => {
                found.map = read::boolean(e)?;
                found.verify |= found.map;
            }
            "timeout" => found.timeout = Some(read::time(e)?).filter(|time| !time.is_zero()).unwrap_or(TIMEOUT),
            "connection_rate_limit" => found.rate_limit = read::limit(e)?,
            "pinned_certs" => found.pinned = pinned(e)?,
            "ocsp_peer" => found.ocsp_peer = ocsp::peer(e)?,
            "handshake_first" | "first" | "immediate" => found.first = first(e)?,
            "min_version" => found.only_1_3 = only_1_3(e)?,
            "cipher_suites" => found.suites = Some(suites(e, map, warnings)?),
            "curve_preferences" => found.curves = Some(curves(e, warnings)?),
            _ => other(e, warnings)?,
        }
    }
    let fail = |message: &str| Err(ConfError::at(&entry.pos, message));
    if certificate.is_some() && !found.certificates.is_empty() {
        return fail("error parsing tls config, cannot combine 'cert_file' option with 'certs' option");
    }
    found.certificates.extend(paired(entry, certificate, key)?);
    if found.certificates.is_empty() {
        return fail("tls needs a certificate: name one with cert_file, and its key with key_file");
    }
    if found.ocsp_peer.is_some() && !found.verify {
        return fail("OCSP peer verification for client connections requires TLS verify (mTLS) to be enabled");
    }
    if found.only_1_3 && found.suites.is_some() {
        let text = "cipher_suites has no effect: those of TLS 1.3 cannot be chosen, and min_version leaves no other";
        warnings.push(Warning::new(&entry.pos, text));
    }
    Ok(found)
}

/// What `cert_file` and `key_file` of a block name: both or neither.
fn paired(
    entry: &Entry,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<CertificateFiles>, ConfError> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(CertificateFiles { certificate, key })),
        (Some(_), None) => Err(ConfError::at(&entry.pos, "missing 'key_file' in TLS configuration")),
        (None, Some(_)) => Err(ConfError::at(&entry.pos, "missing 'cert_file' in TLS configuration")),
        (None, None) => Ok(None),
    }
}

fn filled(entry: &Entry) -> Result<Option<PathBuf>, ConfError> {
    let text = read::text(entry)?;
    Ok((!text.is_empty()).then(|| text.into()))
}

/// An entry of `certs`.
fn pair(node: &Node) -> Result<CertificateFiles, ConfError> {
    let mut found = CertificateFiles::default();
    if let Value::Map(map) = &node.value {
        for e in &map.entries {
            match e.key.to_ascii_lowercase().as_str() {
                "cert_file" => found.certificate = read::text(e)?.into(),
                _ => found.key = read::text(e)?.into(),
            }
        }
    }
    match found.certificate.as_os_str().is_empty() || found.key.as_os_str().is_empty() {
        true => Err(ConfError::at(
            &node.pos,
            "error parsing certificates config: both 'cert_file' and 'key_file' options are required",
        )),
        false => Ok(found),
    }
}

fn pinned(entry: &Entry) -> Result<BTreeSet<String>, ConfError> {
    let one = |text: String| {
        let text = text.to_ascii_lowercase();
        match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Ok(text),
            false => Err(ConfError::at(
                &entry.value.pos,
                format!(
                    "error parsing tls config, 'pinned_certs' key {text} does not look like hex-encoded sha256 of DER encoded SubjectPublicKeyInfo"
                ),
            )),
        }
    };
    read::texts(entry)?.into_iter().map(one).collect()
}

fn first(entry: &Entry) -> Result<First, ConfError> {
    if let Value::Bool(on) = entry.value.value {
        return Ok(if on { First::Yes } else { First::No });
    }
    let text = match &entry.value.value {
        Value::Str(text) => text,
        _ => {
            let message = format!("field {:?} should be a boolean or a string", entry.key);
            return Err(ConfError::at(&entry.value.pos, message));
        }
    };
    Ok(match text.to_ascii_lowercase().as_str() {
        "true" | "on" => First::Yes,
        "false" | "off" => First::No,
        "auto" | "auto_fallback" => First::Within(AUTO),
        _ => match crate::duration::parse(text) {
            Ok(Duration::ZERO) => First::Yes,
            Ok(time) => First::Within(time),
            Err(_) => {
                let message = format!("field {:?}'s value {text:?} is invalid", entry.key);
                return Err(ConfError::at(&entry.value.pos, message));
            }
        },
    })
}

fn only_1_3(entry: &Entry) -> Result<bool, ConfError> {
    read::word(entry, |version| match version {
        "1.2" => Ok(false),
        "1.3" => Ok(true),
        "1.0" | "1.1" => Err(format!("unsupported TLS version: TLS {version}")),
        _ => Err(format!("unknown version: {version}")),
    })
}

/// `cipher_suites`. Those that Weir does not have are left out with a warning, as long as something stays.
fn suites(entry: &Entry, map: &Map, warnings: &mut Vec<Warning>) -> Result<Vec<&'static str>, ConfError> {
    let chosen = choices(entry, "cipher", SUITES)?;
    let allowed = map
        .entries
        .iter()
        .any(|e| e.key.eq_ignore_ascii_case("allow_insecure_cipher_suites") && e.value.value == Value::Bool(true));
    let insecure: Vec<&str> = chosen
        .iter()
        .filter(|choice| choice.insecure)
        .map(|choice| choice.name)
        .collect();
    if !insecure.is_empty() && !allowed {
        let names = insecure.join(", ");
        let message =
            format!("insecure cipher suites configured without 'allow_insecure_cipher_suites' option set: {names}");
        return Err(ConfError::at(&entry.value.pos, message));
    }
    there(
        entry,
        &chosen,
        "they are of kinds that are no longer thought safe (CBC, RC4, 3DES, key exchange by RSA)",
        warnings,
    )
}

/// `curve_preferences`, likewise.
fn curves(entry: &Entry, warnings: &mut Vec<Warning>) -> Result<Vec<&'static str>, ConfError> {
    let chosen = choices(entry, "curve preference", CURVES)?;
    there(
        entry,
        &chosen,
        "what TLS is done with here does not know them",
        warnings,
    )
}

fn choices(entry: &Entry, what: &str, known: &'static [Choice]) -> Result<Vec<&'static Choice>, ConfError> {
    let names = read::texts(entry)?;
    if names.is_empty() {
        let message = format!("error parsing tls config, '{}' cannot be empty", entry.key);
        return Err(ConfError::at(&entry.value.pos, message));
    }
    let find = |name: &String| {
        known
            .iter()
            .find(|choice| choice.name == name)
            .ok_or_else(|| ConfError::at(&entry.value.pos, format!("unrecognized {what} {name}")))
    };
    names.iter().map(find).collect()
}

/// Those of the chosen ones that there are.
fn there(
    entry: &Entry,
    chosen: &[&'static Choice],
    why: &str,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<&'static str>, ConfError> {
    let (there, missing): (Vec<&Choice>, Vec<&Choice>) = chosen.iter().copied().partition(|choice| choice.there);
    let names = |choices: &[&'static Choice]| choices.iter().map(|choice| choice.name).collect::<Vec<_>>();
    if there.is_empty() {
        let message = format!(
            "{}: Weir has none of {}: {why}; name others, or leave {} out",
            entry.key,
            names(&missing).join(", "),
            entry.key
        );
        return Err(ConfError::at(&entry.value.pos, message));
    }
    if !missing.is_empty() {
        let text = format!("{}: Weir goes without {}: {why}", entry.key, names(&missing).join(", "));
        warnings.push(Warning::new(&entry.pos, text));
    }
    Ok(names(&there))
}

/// What concerns servers that this one calls, Windows, or what Weir does not have.
fn other(e: &Entry, warnings: &mut Vec<Warning>) -> Result<(), ConfError> {
    let on = e.value.value == Value::Bool(true);
    let fail = |message: &str| Err(ConfError::at(&e.pos, message));
    match e.key.to_ascii_lowercase().as_str() {
        "verify_cert_and_check_known_urls" if on => {
            fail("verify_cert_and_check_known_urls not supported in this context")
        }
        "insecure" if on => {
            let text = "\"insecure\" has no effect: it is for connections that a server makes itself";
            warnings.push(Warning::new(&e.pos, text));
            Ok(())
        }
        "cert_store" | "cert_match_by" | "cert_match" | "ca_certs_match" => {
            fail("cert_store and what belongs to it are for Windows: name files with cert_file and key_file")
        }
        _ => Ok(()),
    }
}

/// Has clients wait for CONNECT as long as nats-server does, where nothing else is said: longer with TLS.
pub(crate) fn settle_timeout(options: &mut Options) {
    if !options.auth.timeout_given {
        let usual = Auth::default().timeout;
        options.auth.timeout = options.tls.as_ref().map_or(usual, |tls| tls.timeout + THEN_CONNECT);
    }
}

/// What the blocks do not agree on.
pub(crate) fn check(options: &Options) -> Result<(), String> {
    if let (Some(http), Some(https)) = (&options.http, &options.https) {
        let (http, https) = (http.port, https.port);
        return Err(format!("can't specify both HTTP ({http}) and HTTPs ({https}) ports"));
    }
    if options.https.is_some() && options.tls.is_none() {
        return Err("TLS cert and key required for HTTPS".to_owned());
    }
    Ok(())
}
