//! Who a server is.

/// What a server is called.
pub struct Identity {
    /// 56 characters, new with every start.
    pub id: String,
    /// The configured name, or the id.
    pub name: String,
}

impl Identity {
    /// A new id; `name` is the configured one.
    #[must_use]
    pub fn new(name: Option<&str>) -> Self {
        let id = server_id();
        let name = name.map_or_else(|| id.clone(), str::to_owned);
        Self { id, name }
    }
}

/// What a server's public key begins with in the nkey encoding: it prints as `N`.
const SERVER_PREFIX: u8 = 13 << 3;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A server id in the form of a public server nkey: 56 characters that begin with `N`, with a valid checksum. There is no
/// private key to it; nothing asks a server to sign.
fn server_id() -> String {
    let mut raw = [0u8; 35];
    raw[0] = SERVER_PREFIX;
    raw[1..33].copy_from_slice(&rand::random::<[u8; 32]>());
    let checksum = crc16(&raw[..33]);
    raw[33..].copy_from_slice(&checksum.to_le_bytes());
    base32(&raw)
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    })
}

/// RFC 4648 without padding; `bytes` is a multiple of five long.
fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() / 5 * 8);
    for group in bytes.chunks(5) {
        let bits = group.iter().fold(0u64, |bits, &byte| (bits << 8) | u64::from(byte));
        for digit in (0..8).rev() {
            text.push(char::from(BASE32[((bits >> (digit * 5)) & 31) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests;
