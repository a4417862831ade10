//! Proxies that speak for clients, and prove it by signing what the client was to sign.

use std::sync::Arc;

use weir_wire::Connect;

use super::Session;
use crate::trust::is_signed;

/// Who speaks for a client.
pub(super) enum Proxy {
    /// Nobody.
    None,
    /// The proxy with this key, which is trusted.
    Trusted(Arc<str>),
    /// Somebody who is not.
    Unknown,
}

impl Session {
    /// Who speaks for a client that says this.
    pub(super) fn proxy(&self, connect: &Connect) -> Proxy {
        let options = self.hall.context.live.read();
        if connect.proxy_sig.is_empty() || options.proxies.is_empty() {
            return Proxy::None;
        }
        let mut keys = options.proxies.iter();
        match keys.find(|key| is_signed(key, &self.nonce, &connect.proxy_sig)) {
            Some(key) => Proxy::Trusted(key.as_str().into()),
            None => Proxy::Unknown,
        }
    }
}
