//! Zstandard, with what it needs in memory kept from body to body: making it anew takes many times what a small body takes.

use std::cell::RefCell;
use std::io;

use ::zstd::bulk::{Compressor, Decompressor};

/// What compresses at a higher level, or larger bodies, takes too much memory to be kept.
const LEVEL_KEPT: i32 = 3;
/// Bytes of the largest body for which it is kept.
const BODY_KEPT: usize = 1 << 20;

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// Whether that is a frame which does not say that it holds another number of bytes.
pub fn says(stored: &[u8], len: usize) -> bool {
    match ::zstd::zstd_safe::get_frame_content_size(stored) {
        Ok(said) => said.is_none_or(|said| said == len as u64),
        Err(_) => false,
    }
}

/// Undoes the compression into `into`; answers how many bytes there are.
///
/// # Errors
/// If that is none of Zstandard's, or does not fit.
pub fn decompress(stored: &[u8], into: &mut [u8]) -> io::Result<usize> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress_to_buffer(stored, into)
    })
}

/// Compresses a body into `into`; answers how many bytes it is then.
///
/// # Errors
/// If it does not fit.
pub fn compress(body: &[u8], into: &mut [u8], level: i32) -> io::Result<usize> {
    if level > LEVEL_KEPT || body.len() > BODY_KEPT {
        return ::zstd::bulk::compress_to_buffer(body, into, level);
    }
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => {
                compressor.set_compression_level(level)?;
                compressor
            }
            None => kept.insert(Compressor::new(level)?),
        };
        compressor.compress_to_buffer(body, into)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_whatever_went_through_before() {
        for (nth, (len, level)) in [(300, 1), (5, 1), (200_000, 3), (70, 9), (2 << 20, 1), (300, 1)]
            .into_iter()
            .enumerate()
        {
            let body: Vec<u8> = (0..len).map(|at| (at / 7 + at % 5 + nth) as u8).collect();
            let mut stored = vec![0; ::zstd::zstd_safe::compress_bound(len)];
            assert!(compress(&body, &mut [0; 4], level).is_err(), "no room");
            let n = compress(&body, &mut stored, level).unwrap();
            let mut again = vec![0; len];
            assert!(decompress(&[7; 40], &mut again).is_err());
            assert!(decompress(&stored[..n - 1], &mut again).is_err());
            assert_eq!(decompress(&stored[..n], &mut again).unwrap(), len);
            assert_eq!(again, body);
        }
    }
}
