use super::*;

const KEY: [u8; KEY_LEN] = [7; KEY_LEN];

fn vault(cipher: Cipher, session: u8) -> Vault {
    Vault::new(&KEY, cipher, [session; SESSION_LEN]).unwrap()
}

#[test]
fn what_one_session_sealed_another_opens_whatever_its_cipher() {
    let writers = [vault(Cipher::ChaCha, 1), vault(Cipher::Aes, 1), vault(Cipher::Aes, 2)];
    let reader = vault(Cipher::ChaCha, 3);
    for writer in &writers {
        for plain in [&b""[..], b"x", &[9; 5000]] {
            let sealed = writer.seal(b"for this", plain).unwrap();
            assert_eq!(sealed.len(), plain.len() + LONGER);
            assert_eq!(reader.open(b"for this", &sealed).as_deref(), Some(plain));
            assert_eq!(reader.open(b"for that", &sealed), None);
        }
    }
}

#[test]
fn every_bit_counts() {
    for cipher in [Cipher::ChaCha, Cipher::Aes] {
        let vault = vault(cipher, 1);
        let sealed = vault.seal(b"", b"two apples").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut other = sealed.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(vault.open(b"", &other), None, "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert_eq!(vault.open(b"", &sealed[..len]), None, "{len} bytes");
        }
    }
}

#[test]
fn another_key_opens_nothing() {
    let sealed = vault(Cipher::Aes, 1).seal(b"", b"two apples").unwrap();
    let other = Vault::new(&[8; KEY_LEN], Cipher::Aes, [1; SESSION_LEN]).unwrap();
    assert_eq!(other.open(b"", &sealed), None);
}

#[test]
fn the_same_twice_is_not_the_same() {
    let vault = vault(Cipher::ChaCha, 1);
    let [one, two] = [0, 1].map(|_| vault.seal(b"", b"two apples").unwrap());
    assert_ne!(one[BEFORE..], two[BEFORE..]);
}

#[test]
fn keys_of_more_sessions_than_are_remembered() {
    let reader = vault(Cipher::ChaCha, 255);
    for n in 0..SESSIONS_MAX as u32 + 10 {
        let mut session = [0; SESSION_LEN];
        session[..4].copy_from_slice(&n.to_le_bytes());
        let sealed = Vault::new(&KEY, Cipher::Aes, session).unwrap().seal(b"", b"x").unwrap();
        assert_eq!(reader.open(b"", &sealed).as_deref(), Some(&b"x"[..]));
    }
    assert!(reader.others.read().len() <= SESSIONS_MAX);
}

/// Known answer, from another implementation (Python's cryptography): HKDF-SHA256, then the cipher.
#[test]
fn the_bytes_are_those_of_the_standards() {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    };
    for (cipher, answer) in [(Cipher::ChaCha, CHACHA_ANSWER), (Cipher::Aes, AES_ANSWER)] {
        let sealed = vault(cipher, 1).seal(b"for this", b"two apples").unwrap();
        assert_eq!(sealed, hex(answer), "{cipher}");
    }
}

const CHACHA_ANSWER: &str =
    "0101010101010101010101010101010101010000000000000045bd163a68037469c0ac5f9cbcbebe9d5c8f6b3385680f985327";
const AES_ANSWER: &str =
    "0201010101010101010101010101010101010000000000000061160991424c16fbdfbbf5941c4c884a71e545882bf915bdaa9b";
