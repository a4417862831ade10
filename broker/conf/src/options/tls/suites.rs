//! The names that nats-server has for cipher suites and curves, and which of them Weir has.

/// Something that can be chosen by its name.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    /// nats-server's name, which is Go's.
    pub name: &'static str,
    /// Whether Weir has it.
    pub there: bool,
    /// Whether `allow_insecure_cipher_suites` has to stand beside it.
    pub insecure: bool,
}

const fn have(name: &'static str) -> Choice {
    Choice {
        name,
        there: true,
        insecure: false,
    }
}

const fn lack(name: &'static str) -> Choice {
    Choice {
        name,
        there: false,
        insecure: false,
    }
}

const fn insecure(name: &'static str) -> Choice {
    Choice {
        name,
        there: false,
        insecure: true,
    }
}

/// Cipher suites.
pub const SUITES: &[Choice] = &[
    have("TLS_AES_128_GCM_SHA256"),
    have("TLS_AES_256_GCM_SHA384"),
    have("TLS_CHACHA20_POLY1305_SHA256"),
    have("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    have("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    have("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    have("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    have("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    have("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    lack("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    lack("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    lack("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    lack("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    insecure("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    insecure("TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"),
    insecure("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    insecure("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    insecure("TLS_ECDHE_RSA_WITH_RC4_128_SHA"),
    insecure("TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
    insecure("TLS_RSA_WITH_AES_128_CBC_SHA"),
    insecure("TLS_RSA_WITH_AES_128_CBC_SHA256"),
    insecure("TLS_RSA_WITH_AES_128_GCM_SHA256"),
    insecure("TLS_RSA_WITH_AES_256_CBC_SHA"),
    insecure("TLS_RSA_WITH_AES_256_GCM_SHA384"),
    insecure("TLS_RSA_WITH_RC4_128_SHA"),
];

/// Curves, and what else keys are agreed on with.
pub const CURVES: &[Choice] = &[
    have("X25519"),
    have("CurveP256"),
    have("CurveP384"),
    lack("CurveP521"),
    lack("X25519MLKEM768"),
    lack("SecP256r1MLKEM768"),
    lack("SecP384r1MLKEM1024"),
];
