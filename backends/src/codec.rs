//! How a body is compressed by itself, and that undone: one after the other in every place where bodies are.

use weir_engine::{Compression, Record};

mod zstd;

/// As it is.
pub const PLAIN: u8 = 0;
/// An LZ4 block.
pub const LZ4: u8 = 1;
/// A Zstandard frame.
pub const ZSTD: u8 = 2;

/// Bodies shorter than this are not worth compressing.
pub const COMPRESS_MIN: usize = 64;
/// A byte of an LZ4 block says no more than so many of what it stands for.
const LZ4_RATIO_MAX: usize = 255;

/// Adds the body to `out`, compressed if that makes it smaller, and answers the codec.
pub fn compress(body: &[u8], compression: Compression, out: &mut Vec<u8>) -> u8 {
    let at = out.len();
    let made = match compression {
        _ if body.len() < COMPRESS_MIN => None,
        Compression::None => None,
        Compression::Lz4 => {
            let bound = lz4_flex::block::get_maximum_output_size(body.len());
            out.resize(at + bound, 0);
            let made = lz4_flex::block::compress_into(body, &mut out[at..]);
            made.ok().map(|n| (n, LZ4))
        }
        Compression::Zstd | Compression::ZstdLevel(_) => {
            let level = match compression {
                Compression::ZstdLevel(level) => i32::from(level),
                // The quickest of the ordinary levels; bodies are small and the writer waits.
                _ => 1,
            };
            let bound = ::zstd::zstd_safe::compress_bound(body.len());
            out.resize(at + bound, 0);
            let made = zstd::compress(body, &mut out[at..], level);
            made.ok().map(|n| (n, ZSTD))
        }
    };
    match made {
        Some((n, codec)) if n < body.len() => {
            out.truncate(at + n);
            codec
        }
        _ => {
            out.truncate(at);
            out.extend_from_slice(body);
            PLAIN
        }
    }
}

/// Undoes the compression of a stored body, which is to have `body_len` bytes, and adds it to `out`. No room is made for a length that
/// what is stored cannot have.
pub fn decompress(codec: u8, stored: &[u8], body_len: u32, out: &mut Vec<u8>) -> bool {
    let at = out.len();
    let len = body_len as usize;
    match codec {
        PLAIN => {
            out.extend_from_slice(stored);
            stored.len() == len
        }
        LZ4 if len <= Record::BODY_MAX.min(stored.len().saturating_mul(LZ4_RATIO_MAX)) => {
            out.resize(at + len, 0);
            matches!(lz4_flex::block::decompress_into(stored, &mut out[at..]), Ok(n) if n == len)
        }
        ZSTD if len <= Record::BODY_MAX && zstd::says(stored, len) => {
            out.resize(at + len, 0);
            matches!(zstd::decompress(stored, &mut out[at..]), Ok(n) if n == len)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back() {
        let noise: Vec<u8> = (0..9000u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let bodies: [&[u8]; 5] = [b"", b"short", &[7; 64], &[7; 100_000], &noise];
        for body in bodies {
            for how in [
                Compression::None,
                Compression::Lz4,
                Compression::Zstd,
                Compression::ZstdLevel(9),
            ] {
                let mut stored = b"before".to_vec();
                let codec = compress(body, how, &mut stored);
                assert!(stored.len() - 6 <= body.len());
                let mut out = b"x".to_vec();
                assert!(decompress(codec, &stored[6..], body.len() as u32, &mut out), "{how}");
                assert_eq!(&out[1..], body);
            }
        }
    }

    /// Whatever length is told: none that it cannot be makes room for itself.
    #[test]
    fn a_length_that_it_cannot_have_costs_nothing() {
        for how in [Compression::Lz4, Compression::Zstd] {
            let mut stored = Vec::new();
            let codec = compress(&[7; 1000], how, &mut stored);
            for told in [0, 999, 1001, 100 << 20, u32::MAX] {
                let mut out = Vec::new();
                assert!(!decompress(codec, &stored, told, &mut out), "{how}, {told}");
                assert!(out.capacity() <= 16 << 10, "{how}, {told}: {}", out.capacity());
            }
        }
    }
}
