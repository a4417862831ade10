#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::io::Write;

use super::*;

fn packed(body: &[u8]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.push(S2);
    varint::put(&mut file, (body.len() + CHECKSUM) as u64);
    let mut writer = minlz::s2::Writer::with_block_size(&mut file, 1 << 16);
    writer.write_all(body).unwrap();
    writer.flush().unwrap();
    drop(writer);
    file.extend_from_slice(b"checksum");
    file
}

fn body() -> Vec<u8> {
    (0..150_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect()
}

#[test]
fn a_block_unpacks_to_what_it_was() {
    let body = body();
    let file = packed(&body);
    let (out, bad) = Packed::parse(&file).unwrap().unpack();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(out, [&body[..], b"checksum"].concat());
    assert!(Packed::parse(b"cmp").is_none());
    assert!(Packed::parse(&body).is_none());
}

#[test]
fn a_damaged_chunk_is_as_many_zeros() {
    let body = body();
    let mut file = packed(&body);
    let middle = file.len() / 2;
    file[middle] ^= 0x10;
    let (out, bad) = Packed::parse(&file).unwrap().unpack();
    assert_eq!(out.len(), body.len() + CHECKSUM);
    assert_eq!(bad.len(), 1, "{bad:?}");
    let wrong: Vec<_> = (0..body.len()).filter(|&at| out[at] != body[at]).collect();
    assert!(wrong.last().unwrap() - wrong[0] < 1 << 16, "one chunk and no more");
    assert!(out[wrong[0]..=*wrong.last().unwrap()].iter().all(|&byte| byte == 0));
}

#[test]
fn what_was_written_behind_a_packed_block_follows_it() {
    let body = body();
    let file = [&packed(&body)[..], &[0; 99], b"an erased record"].concat();
    let (out, bad) = Packed::parse(&file).unwrap().unpack();
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert_eq!(out, [&body[..], b"checksum", b"an erased record"].concat());
}

#[test]
fn damage_anywhere_is_told_or_changes_nothing() {
    let body: Vec<u8> = (0..600u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
    let file = packed(&body);
    let whole = Packed::parse(&file).unwrap().unpack().0;
    let head = Packed::parse(&file).unwrap().at;
    for at in head..file.len() - CHECKSUM {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << bit;
            let (out, bad) = Packed::parse(&damaged).unwrap().unpack();
            assert!(!bad.is_empty() || out == whole, "at {at}");
        }
    }
    for len in head..file.len() {
        if let Some(cut) = Packed::parse(&file[..len]) {
            let (out, bad) = cut.unpack();
            // The records say that the last of them is cut off.
            assert!(!bad.is_empty() || out == whole[..out.len()], "cut at {len}");
        }
    }
}
