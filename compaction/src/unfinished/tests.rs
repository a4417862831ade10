use super::*;

#[test]
fn durability_is_written_as_it_is_read() {
    for text in ["sync", "os", "interval:2s", "interval:1500ms"] {
        assert_eq!(durability(text.parse().unwrap()), text);
    }
    let odd = Durability::Interval(1_000_001);
    assert_eq!(durability(odd).parse(), Ok(odd));
}

#[test]
fn each_durability_is_told_what_it_may_have_cost() {
    let sync = of_log("9 bytes", "sync");
    assert!(
        sync.ends_with("what was answered of it is in the journal, but for bodies of 8 KiB and more"),
        "{sync}"
    );
    let os = of_log("9 bytes", "os");
    assert!(
        os.ends_with("8 KiB and more, unless the power failed: `os` promises nothing for that"),
        "{os}"
    );
    let within = of_log("9 bytes", "interval:2s");
    assert!(
        within.contains("unless the power failed within 2s of the answer"),
        "{within}"
    );
    let sync = of_journal(ShardId(1), "9 bytes", &[]);
    assert!(
        sync.ends_with("if it never finished nobody was answered for it"),
        "{sync}"
    );
    let names: Vec<String> = ["A", "B", "C", "D"].map(String::from).into();
    let others = of_journal(ShardId(1), "9 bytes", &names);
    assert!(
        others.ends_with("it may have messages (A, B, C and others)"),
        "{others}"
    );
}
