use std::cell::Cell;
use std::sync::Arc;

use weir_engine::conformance::model::Dice;

use super::*;
use crate::segment::disk::{Failure, SimulatedDisk};

const ROOT: &str = "/weir";
/// Few, for a test opens it often.
const FEW: u32 = 3;

fn old() -> StoreKey {
    StoreKey::new("the old one")
}

fn new() -> StoreKey {
    StoreKey::new("the new one")
}

/// A disk with the folder of a store, on disk.
fn disk(seed: u64) -> Arc<SimulatedDisk> {
    let disk = Arc::new(SimulatedDisk::new(seed));
    disk.create_dir(Path::new(ROOT)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

/// The keys of the store on that disk. What is drawn is never the same.
fn on<R>(disk: &SimulatedDisk, seed: u64, work: impl FnOnce(&Locked<'_>) -> R) -> R {
    let dice = Cell::new(seed);
    let draw = |into: &mut [u8]| {
        for byte in into {
            dice.set(dice.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            *byte = (dice.get() >> 56) as u8;
        }
        Ok(())
    };
    work(&Locked {
        files: disk,
        root: Path::new(ROOT),
        draw: &draw,
        rounds: FEW,
        is_right: &|_| true,
    })
}

/// What a start does.
fn open_and_renew(locked: &Locked<'_>, owners: &[StoreKey], cipher: Cipher) -> Result<Vault> {
    let opened = locked.open_to_renew(owners, cipher)?;
    if let Some(renewal) = &opened.renewal {
        locked.renew(renewal);
    }
    Ok(opened.vault)
}

/// A value that the vault sealed.
fn sealed(vault: &Vault) -> Vec<u8> {
    vault.seal(b"", b"two apples").unwrap()
}

fn opens(vault: &Vault, sealed: &[u8]) -> bool {
    vault.open(b"", sealed).as_deref() == Some(b"two apples")
}

#[test]
fn the_owners_key_opens_it_and_no_other_does() {
    let disk = disk(1);
    assert!(!are_there(disk.as_ref(), Path::new(ROOT)));
    let made = on(&disk, 1, |locked| locked.make_or_open(&[old()], Cipher::ChaCha))
        .unwrap()
        .vault;
    assert!(are_there(disk.as_ref(), Path::new(ROOT)));
    let written = sealed(&made);
    let opened = on(&disk, 2, |locked| locked.open(&[new(), old()], Cipher::Aes)).unwrap();
    assert!(opens(&opened, &written));
    let before = disk.contents(Path::new(ROOT));
    for owners in [&[][..], &[new()], &[StoreKey::new("")]] {
        let refused = on(&disk, 3, |locked| open_and_renew(locked, owners, Cipher::Aes));
        let error = refused.unwrap_err();
        assert_eq!(error.kind, Kind::Locked, "{error}");
        assert!(!error.message.contains("the new one"), "{error}");
    }
    assert_eq!(disk.contents(Path::new(ROOT)), before, "a refusal changes nothing");
}

#[test]
fn one_copy_is_enough_and_the_other_is_written_anew() {
    for lost in COPIES {
        for whole in [false, true] {
            let disk = disk(1);
            let written = sealed(&on(&disk, 1, |locked| locked.make(&old(), Cipher::ChaCha)).unwrap());
            let path = Path::new(ROOT).join(FOLDER).join(lost);
            match whole {
                true => disk.erase(&path).unwrap(),
                false => disk.flip(&path, 40, 3).unwrap(),
            }
            let opened = on(&disk, 2, |locked| open_and_renew(locked, &[old()], Cipher::ChaCha));
            assert!(opens(&opened.unwrap(), &written));
            let contents = disk.contents(&Path::new(ROOT).join(FOLDER));
            let copies: Vec<&Vec<u8>> = contents.values().collect();
            assert_eq!(copies.len(), 2);
            assert_eq!(copies[0], copies[1]);
        }
    }
}

#[test]
fn without_a_whole_copy_it_says_what_is_missing() {
    let disk = disk(1);
    drop(on(&disk, 1, |locked| locked.make(&old(), Cipher::ChaCha)).unwrap());
    for name in COPIES {
        disk.flip(&Path::new(ROOT).join(FOLDER).join(name), 60, 1).unwrap();
    }
    let error = on(&disk, 2, |locked| locked.open(&[old()], Cipher::ChaCha)).unwrap_err();
    assert_eq!(error.kind, Kind::Damaged);
    assert!(error.message.contains("from a backup"), "{error}");
}

#[test]
fn a_new_key_takes_the_place_of_the_old_one() {
    let disk = disk(1);
    let written = sealed(&on(&disk, 1, |locked| locked.make(&old(), Cipher::ChaCha)).unwrap());
    let renewed = on(&disk, 2, |locked| open_and_renew(locked, &[new(), old()], Cipher::Aes)).unwrap();
    assert!(opens(&renewed, &written));
    let again = sealed(&renewed);
    let opened = on(&disk, 3, |locked| locked.open(&[new()], Cipher::ChaCha)).unwrap();
    assert!(opens(&opened, &written) && opens(&opened, &again));
    let refused = on(&disk, 4, |locked| locked.open(&[old()], Cipher::ChaCha));
    assert_eq!(refused.unwrap_err().kind, Kind::Locked);
}

/// Whatever ends the making of a key, or its exchange, at each step of it: what is there is opened by the old key or by the new one.
#[test]
fn whatever_ends_an_exchange_one_of_the_keys_opens_it() {
    let mut ends = [0; 2];
    for seed in 0..40 {
        for step in 1.. {
            let disk = disk(seed);
            let mut dice = Dice::new(seed);
            let written = sealed(&on(&disk, 1, |locked| locked.make(&old(), Cipher::ChaCha)).unwrap());
            match seed % 4 {
                3 => disk.fail_at(step, Failure::Io, true),
                2 => disk.fail_at(step, Failure::Full, false),
                _ => disk.end_at(step),
            }
            // What fails of it is told, and it is open all the same, unless nothing could be read.
            let renewed = on(&disk, 2, |locked| open_and_renew(locked, &[new(), old()], Cipher::Aes));
            let was_last = match seed % 4 {
                0 | 1 => !disk.is_halted(),
                _ => disk.calls() < step,
            };
            if let Ok(vault) = &renewed {
                assert!(opens(vault, &written));
            }
            match seed % 2 {
                0 => disk.lose_power(&mut dice),
                _ => disk.kill(),
            }
            disk.boot();
            let opened: Vec<bool> = [old(), new()]
                .into_iter()
                .map(|key| match on(&disk, 3, |locked| locked.open(&[key], Cipher::ChaCha)) {
                    Ok(vault) => opens(&vault, &written),
                    Err(error) => {
                        assert_eq!(error.kind, Kind::Locked, "seed {seed}, step {step}: {error}");
                        false
                    }
                })
                .collect();
            assert!(opened.contains(&true), "seed {seed}, step {step}");
            for (n, opened) in opened.iter().enumerate() {
                ends[n] += usize::from(*opened);
            }
            // And a start with both goes on with it.
            let vault = on(&disk, 4, |locked| open_and_renew(locked, &[new(), old()], Cipher::Aes)).unwrap();
            assert!(opens(&vault, &written));
            let vault = on(&disk, 5, |locked| locked.open(&[new()], Cipher::Aes)).unwrap();
            assert!(opens(&vault, &written));
            if was_last {
                break;
            }
        }
    }
    assert!(ends.iter().all(|n| *n > 0), "{ends:?}");
}

/// Whatever ends the making of a key: it is not there, or it opens.
#[test]
fn whatever_ends_the_making_it_is_there_or_not() {
    for seed in 0..20 {
        for step in 1.. {
            let disk = disk(seed);
            disk.end_at(step);
            let made = on(&disk, 1, |locked| locked.make(&old(), Cipher::ChaCha));
            let was_last = !disk.is_halted();
            disk.lose_power(&mut Dice::new(seed));
            disk.boot();
            if are_there(disk.as_ref(), Path::new(ROOT)) {
                let opened = on(&disk, 2, |locked| open_and_renew(locked, &[old()], Cipher::ChaCha));
                assert!(opened.is_ok(), "seed {seed}, step {step}");
            } else {
                assert!(
                    made.is_err() || !was_last,
                    "seed {seed}, step {step}: it was made, and is gone"
                );
            }
            if was_last {
                break;
            }
        }
    }
}

/// Two servers that are started on the same empty folder: what the one encrypts is what the other would read.
#[test]
fn two_processes_do_not_make_two_keys() {
    let disk = disk(1);
    let folder = Path::new(ROOT).join(FOLDER);
    disk.create_dir(&folder).unwrap();
    let other = disk.lock(&folder.join(LOCK), false).unwrap();
    let busy = on(&disk, 1, |locked| locked.make_or_open(&[old()], Cipher::ChaCha));
    assert_eq!(busy.err().map(|error| error.kind), Some(Kind::Busy));
    assert!(!are_there(disk.as_ref(), Path::new(ROOT)));
    drop(other);
    let one = on(&disk, 1, |locked| locked.make_or_open(&[old()], Cipher::ChaCha))
        .unwrap()
        .vault;
    let two = on(&disk, 2, |locked| locked.make_or_open(&[old()], Cipher::ChaCha))
        .unwrap()
        .vault;
    assert!(opens(&two, &sealed(&one)) && opens(&one, &sealed(&two)));
}

/// As versions wrote it that compressed nothing. Known answer, from another implementation (Python's cryptography).
#[test]
fn a_copy_of_an_earlier_version_is_read_and_written_anew() {
    const EARLIER: &str = "576569724b65790a0100010003000000000102030405060708090a0b0c0d0e0fa5598e6cb4ff54b97899cf6036dfe3674a6425d3edf86d\
                           1644716d605b54070ecc449948d3dec38aad21534a2b36e594cacd4fb9";
    let raw: Vec<u8> = (0..LEN)
        .map(|at| u8::from_str_radix(&EARLIER[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let disk = disk(1);
    // To have the folder.
    drop(on(&disk, 1, |locked| locked.make(&old(), Cipher::ChaCha)).unwrap());
    for name in COPIES {
        disk.replace(&Path::new(ROOT).join(FOLDER).join(name), raw.clone())
            .unwrap();
    }
    let written = sealed(&Vault::new(&[7; KEY_LEN], Cipher::ChaCha, [9; SESSION_LEN]).unwrap());
    let looked = on(&disk, 2, |locked| locked.open(&[old()], Cipher::ChaCha)).unwrap();
    assert!(opens(&looked, &written));
    let opened = on(&disk, 3, |locked| open_and_renew(locked, &[old()], Cipher::ChaCha)).unwrap();
    assert!(opens(&opened, &written));
    for name in COPIES {
        let raw = disk.read(&Path::new(ROOT).join(FOLDER).join(name)).unwrap();
        assert_eq!(raw[8..10], VERSION.to_le_bytes());
    }
    let again = on(&disk, 4, |locked| locked.open_to_renew(&[old()], Cipher::ChaCha)).unwrap();
    assert!(opens(&again.vault, &written) && again.renewal.is_none());
}

/// What a file asks for that is not ours costs no time.
#[test]
fn more_rounds_than_anybody_wrote_are_not_gone() {
    let disk = disk(1);
    drop(on(&disk, 1, |locked| locked.make(&old(), Cipher::Aes)).unwrap());
    for name in COPIES {
        let path = Path::new(ROOT).join(FOLDER).join(name);
        let mut raw = disk.read(&path).unwrap();
        raw[12..16].copy_from_slice(&(ROUNDS_MAX + 1).to_le_bytes());
        let crc = crc32c::crc32c(&raw[..LEN - 4]);
        raw[LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        disk.replace(&path, raw).unwrap();
    }
    let error = on(&disk, 2, |locked| locked.open(&[old()], Cipher::Aes)).unwrap_err();
    assert_eq!(error.kind, Kind::Damaged);
    assert!(
        error.message.contains("2400001 rounds of PBKDF2, more than 2400000"),
        "{error}"
    );
}

/// A bit of it, with a checksum that is right again: somebody who may write there gets nothing else opened with it.
#[test]
fn every_bit_of_a_copy_counts() {
    for bit in 0..LEN * 8 {
        for is_sealed_again in [false, true] {
            let disk = disk(1);
            drop(on(&disk, 1, |locked| locked.make(&old(), Cipher::Aes)).unwrap());
            for name in COPIES {
                let path = Path::new(ROOT).join(FOLDER).join(name);
                let mut raw = disk.read(&path).unwrap();
                raw[bit / 8] ^= 1 << (bit % 8);
                if is_sealed_again {
                    let crc = crc32c::crc32c(&raw[..LEN - 4]);
                    raw[LEN - 4..].copy_from_slice(&crc.to_le_bytes());
                    // More rounds than these would take their time.
                    if u32::from_le_bytes([raw[12], raw[13], raw[14], raw[15]]) > 100_000 {
                        raw[13..16].fill(0);
                        raw[12] = FEW as u8 + 1;
                        let crc = crc32c::crc32c(&raw[..LEN - 4]);
                        raw[LEN - 4..].copy_from_slice(&crc.to_le_bytes());
                    }
                }
                disk.replace(&path, raw).unwrap();
            }
            let opened = on(&disk, 2, |locked| locked.open(&[old()], Cipher::Aes));
            match (bit / 8, is_sealed_again) {
                // The checksum itself, which is right again.
                (80.., true) => drop(opened.unwrap()),
                (_, true) => assert!(
                    matches!(opened.unwrap_err().kind, Kind::Damaged | Kind::Locked),
                    "bit {bit}"
                ),
                (_, false) => assert_eq!(opened.unwrap_err().kind, Kind::Damaged, "bit {bit}"),
            }
        }
    }
}
