use std::io::Write;

use super::*;

fn packed(data: &[u8]) -> Vec<u8> {
    let mut writer = minlz::Writer::new(Vec::new());
    writer.write_all(data).unwrap();
    writer.flush().unwrap();
    writer.get_mut().clone()
}

fn unpack(packed: &[u8], piece: usize) -> io::Result<BytesMut> {
    let (mut unpacker, mut out) = (Unpacker::default(), BytesMut::new());
    for piece in packed.chunks(piece) {
        unpacker.push(piece);
        while unpacker.next(&mut out)? {}
    }
    match unpacker.is_within_frame() {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(out),
    }
}

#[test]
fn pieces_make_no_difference() {
    let data: Vec<u8> = (0..3_000_000u32).map(|number| (number / 7) as u8).collect();
    let packed = packed(&data);
    for piece in [1, 1000, packed.len()] {
        assert!(unpack(&packed, piece).unwrap() == data, "pieces of {piece}");
    }
    assert!(unpack(&packed[..packed.len() - 1], 1000).is_err());
    // Frames that may be skipped are, however they are cut.
    let mut padded = packed[..10].to_vec();
    padded.extend([0xfe, 5, 0, 0, 1, 2, 3, 4, 5]);
    padded.extend(&packed[10..]);
    assert!(unpack(&padded, 3).unwrap() == data);
}

#[test]
fn what_is_damaged_or_foreign_is_refused() {
    let fine = packed(b"something that is long enough to be worth it, it is, it is");
    for at in 0..fine.len() {
        let mut bad = fine.clone();
        bad[at] ^= 0x21;
        assert!(unpack(&bad, 16).is_err(), "byte {at}");
    }
    assert!(unpack(b"hello, this is no S2 stream", 7).is_err());
    // A length that lies is seen before anything is reserved for it.
    let lie = [
        &fine[..10],
        &[0, 12, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0],
    ]
    .concat();
    assert!(unpack(&lie, 16).is_err());
}

#[test]
fn a_little_that_becomes_very_much_is_refused() {
    let block = packed(&vec![0; 1 << 20]);
    let mut out = BytesMut::new();
    let mut unpacker = Unpacker {
        free: 8 << 20,
        ..Unpacker::default()
    };
    unpacker.push(&block);
    let mut given = 0;
    let refused = loop {
        match unpacker.next(&mut out) {
            Ok(true) => given += std::mem::take(&mut out).len(),
            Ok(false) => unpacker.push(&block[10..]),
            Err(error) => break error,
        }
    };
    assert!(refused.to_string().contains("unpacks to more than"), "{refused}");
    let allowed = ((8 << 20) + RATIO_MAX * unpacker.taken) as usize;
    assert!(given <= allowed && given + BLOCK_MAX > allowed, "{given} of {allowed}");
}
