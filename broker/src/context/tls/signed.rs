//! Whether a key has signed something.

use rustls::pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;

/// Whether the key has made this signature of `message`, by one of these algorithms that has that name: an object identifier, without
/// tag and length.
pub(crate) fn is_signed(
    key: &SubjectPublicKeyInfoDer<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    named: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Ok(key) = RawPublicKeyEntity::try_from(key) else {
        return false;
    };
    // The identifier of an algorithm begins with a tag, a length, and its name.
    let mut algorithms = algorithms.iter().filter(|algorithm| {
        let id = algorithm.signature_alg_id();
        id.as_ref().get(2..2 + named.len()) == Some(named)
    });
    algorithms.any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok())
}
