use super::*;

#[test]
fn subject_and_request_must_agree() {
    let config = |durable: &str, name: &str, filter: &str| ConsumerConfig {
        durable_name: durable.to_owned(),
        name: name.to_owned(),
        filter_subject: filter.to_owned(),
        ..ConsumerConfig::default()
    };
    let stream = "S";
    let named = |name, filter| Target::Named { stream, name, filter };
    for (target, mut config, code) in [
        (named("C", ""), config("D", "", ""), 10017),
        (named("a/b", ""), config("", "", ""), 10127),
        (named("C", "a"), config("", "", ""), 10131),
        (named("C", "a"), config("", "", "b"), 10131),
        (Target::Durable { stream, name: "C" }, config("", "C", ""), 10018),
        (Target::Durable { stream, name: "C" }, config("D", "", ""), 10017),
        (Target::Ephemeral { stream }, config("D", "", ""), 10020),
        (Target::Ephemeral { stream: "T" }, config("", "", ""), 10056),
    ] {
        assert_eq!(address(target, "S", &mut config).unwrap_err().code, code, "{target:?}");
    }
    let mut several = ConsumerConfig {
        filter_subjects: vec!["a".to_owned()],
        ..ConsumerConfig::default()
    };
    assert_eq!(address(named("C", "a"), "S", &mut several).unwrap_err().code, 10137);
    let mut fine = config("C", "other", "a");
    assert_eq!(address(named("C", "a"), "S", &mut fine), Ok(()));
    assert_eq!(fine.name, "C");
}
