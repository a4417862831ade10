use super::*;

#[test]
fn durability_is_written_as_it_is_read() {
    for text in ["sync", "os", "interval:2s", "interval:1500ms"] {
        assert_eq!(durability(text.parse().unwrap()), text);
    }
    let odd = Durability::Interval(1_000_001);
    assert_eq!(durability(odd).parse(), Ok(odd));
}
