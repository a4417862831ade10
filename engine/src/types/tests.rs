use super::*;

#[test]
fn a_log_id_is_read_as_it_is_written() {
    for id in [0, 1, 255, 256, 0x256, u64::MAX].map(LogId) {
        assert_eq!(id.to_string().parse::<LogId>().unwrap(), id);
    }
    for text in [
        "",
        "256",
        "000000000000025g",
        "00000000000002AB",
        "+000000000000256",
        "0x00000000000256",
    ] {
        assert!(text.parse::<LogId>().is_err(), "{text}");
    }
}
