use std::io::Write;

use super::*;

#[test]
fn it_is_what_the_reference_writes() {
    let mut noise = 1u64;
    let random: Vec<u8> = (0..2_500_000)
        .map(|_| {
            noise = noise.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (noise >> 56) as u8
        })
        .collect();
    let plain: Vec<u8> = (0..2_500_000u32).map(|number| (number / 7) as u8).collect();
    for data in [&random[..], &plain, &plain[..1 << 20], b"x", b""] {
        let mut reference = minlz::Writer::new(Vec::new());
        reference.write_all(data).unwrap();
        reference.flush().unwrap();
        for piece in [1000, data.len().max(1)] {
            let mut packer = Packer::new();
            let mut all = Vec::new();
            for piece in data.chunks(piece) {
                packer.push(piece);
                all.append(&mut packer.take());
            }
            all.append(&mut packer.finish());
            match data.is_empty() {
                true => assert_eq!(all, IDENTIFIED),
                false => assert!(all == *reference.get_mut(), "{} bytes in pieces of {piece}", data.len()),
            }
        }
    }
}
