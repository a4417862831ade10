//! `proxies { … }`: proxies that may speak for clients.

use weir_jwt::key;

use super::read;
use crate::error::ConfError;
use crate::file::{Entry, Value};

/// The public keys of proxies that are trusted. The block was held against its table before.
pub(super) fn trusted(entry: &Entry) -> Result<Vec<String>, ConfError> {
    let mut keys = Vec::new();
    for e in &read::block(entry)?.entries {
        if !e.key.eq_ignore_ascii_case("trusted") {
            continue;
        }
        for node in read::list(e)? {
            let Value::Map(map) = &node.value else { continue };
            let named = |key: &str| key.eq_ignore_ascii_case("key") || key.eq_ignore_ascii_case("public_key");
            for e in map.entries.iter().filter(|e| named(&e.key)) {
                let text = read::text(e)?;
                if key::public(&text).is_none() {
                    // What stands there may be the seed.
                    return Err(ConfError::at(&e.value.pos, "invalid proxy key: it is no public nkey"));
                }
                keys.push(text);
            }
        }
    }
    Ok(keys)
}
