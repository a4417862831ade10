//! CRC-32C of what is short, as most heads and bodies are: eight bytes at a time wherever they begin. The library goes byte by byte up to
//! where a word begins, and behind the last one, which for a hundred bytes is most of its time.

/// Bytes from which on the library, which has three sums on their way at once, is quicker.
#[cfg(target_arch = "x86_64")]
const LONG: usize = 768;

/// The checksum of some bytes.
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    append(0, bytes)
}

/// The checksum of some bytes behind others, whose checksum it is given.
#[inline]
pub fn append(crc: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() < LONG && std::is_x86_feature_detected!("sse4.2") {
        #[allow(unsafe_code, reason = "what only some processors can has no safe form")]
        // SAFETY: this processor can.
        return unsafe { short(crc, bytes) };
    }
    crc32c::crc32c_append(crc, bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn short(crc: u32, bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};
    let mut sum = u64::from(!crc);
    let (words, mut rest) = bytes.as_chunks::<8>();
    for word in words {
        sum = _mm_crc32_u64(sum, u64::from_le_bytes(*word));
    }
    let mut sum = sum as u32;
    if let Some((half, behind)) = rest.split_first_chunk::<4>() {
        sum = _mm_crc32_u32(sum, u32::from_le_bytes(*half));
        rest = behind;
    }
    for byte in rest {
        sum = _mm_crc32_u8(sum, *byte);
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_librarys_whatever_the_length_and_wherever_they_begin() {
        let bytes: Vec<u8> = (0..2000u32).map(|n| (n * n / 7) as u8).collect();
        for from in 0..9 {
            for len in (0..100).chain([255, 256, 767, 768, 769, 1900]) {
                let some = &bytes[from..from + len];
                assert_eq!(crc32c(some), crc32c::crc32c(some), "{len} from {from}");
                assert_eq!(append(77, some), crc32c::crc32c_append(77, some), "{len} from {from}");
            }
        }
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }
}
