use super::*;

#[test]
fn an_id_has_the_form_of_a_server_key() {
    let id = server_id();
    assert_eq!(id.len(), 56);
    assert!(id.starts_with('N'));
    assert_ne!(id, server_id());
}

#[test]
fn checksum_and_alphabet_are_the_standard_ones() {
    assert_eq!(crc16(b"123456789"), 0x31C3);
    assert_eq!(base32(b"hello"), "NBSWY3DP");
}
