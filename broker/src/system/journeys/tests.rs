use std::io::Read as _;

use super::*;

fn texts() -> [Vec<u8>; 4] {
    let mixed = (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8);
    [Vec::new(), b"x".to_vec(), b"abcd".repeat(50_000), mixed.collect()]
}

#[test]
fn what_is_packed_can_be_unpacked() {
    for text in texts() {
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(&gzip(&text)[..])
            .read_to_end(&mut out)
            .unwrap();
        assert_eq!(out, text);
        let mut out = Vec::new();
        minlz::Reader::new(&snappy(&text)[..]).read_to_end(&mut out).unwrap();
        assert_eq!(out, text);
    }
    assert!(snappy(&texts()[2]).len() < 20_000, "it is packed");
}
