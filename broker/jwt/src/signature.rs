//! Signatures of clients, as they stand in CONNECT.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

use crate::key;

/// A text without its ends of lines, handed on.
pub(crate) fn unbroken<T>(text: &str, read: impl Fn(&str) -> T) -> T {
    let ends = ['\r', '\n'];
    let plain = match text.contains(ends) {
        true => Cow::Owned(text.replace(ends, "")),
        false => Cow::Borrowed(text),
    };
    read(&plain)
}

/// Whether `sig`, in base64 (that of URLs without padding, or the usual one), is this key's signature of `nonce`; ends of lines in it count
/// for nothing, as in Go. Of an empty nonce nothing is.
#[must_use]
pub fn has_signed(public: &str, nonce: &str, sig: &str) -> bool {
    let read = |text: &str| {
        BASE64_URL_SAFE_NO_PAD
            .decode(text)
            .or_else(|_| BASE64_STANDARD.decode(text))
    };
    let Ok(signature) = unbroken(sig, read) else {
        return false;
    };
    !nonce.is_empty() && key::public(public).is_some_and(|key| key.verify(nonce.as_bytes(), &signature).is_ok())
}

#[cfg(test)]
mod tests {
    use nkeys::KeyPair;

    use super::*;

    #[test]
    fn ends_of_lines_count_for_nothing() {
        let key = KeyPair::new_user();
        let sig = BASE64_URL_SAFE_NO_PAD.encode(key.sign(b"nonce").unwrap());
        let public = key.public_key();
        for sig in [
            sig.clone(),
            format!("{sig}\r\n"),
            sig.replacen(&sig[40..], &format!("\n{}", &sig[40..]), 1),
        ] {
            assert!(has_signed(&public, "nonce", &sig), "{sig:?}");
            assert!(!has_signed(&public, "other", &sig) && !has_signed(&public, "", &sig));
        }
        assert!(!has_signed(&public, "nonce", &format!("{sig} ")));
        assert!(!has_signed(&public, "nonce", "") && !has_signed(&public, "nonce", "\n"));
    }
}
