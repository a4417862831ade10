use serde_json::{Value, json};

use super::*;

fn config(fields: Value) -> StreamConfig {
    serde_json::from_value(fields).unwrap()
}

#[test]
fn transforms_are_refused_with_the_texts_of_nats_server() {
    for (src, dest, code, text) in [
        ("a..b", "c", 10155, "stream transform source: invalid subject a..b"),
        (
            "a.*",
            "c.$2",
            10156,
            "stream transform: invalid mapping destination: wildcard index out of range in $2: [2]",
        ),
        ("a.>", "c", 10156, "stream transform: invalid subject"),
        (
            "a.*",
            "c..d",
            10156,
            "stream transform: invalid mapping destination: invalid transform",
        ),
        (
            "a.>",
            ">.c",
            10156,
            "stream transform: invalid mapping destination: invalid transform in c",
        ),
        (
            "a.*",
            "c d",
            10156,
            "stream transform: invalid mapping destination: invalid transform",
        ),
        (
            "a.*",
            "c.{{left(7,2)}}.{{LEFT(1,2)}}",
            10156,
            "stream transform: invalid mapping destination: unknown function in {{LEFT(1,2)}}",
        ),
    ] {
        let refused = check_transform(&config(json!({"subject_transform": {"src": src, "dest": dest}})));
        let refused = refused.unwrap_err();
        assert_eq!((refused.code, refused.text.as_ref()), (code, text));
    }
    for (src, dest) in [
        ("", ""),
        ("a.*", "b.$1"),
        ("a.*", ""),
        (">", "x.>"),
        ("a", "b.{{Partition(3)}}"),
        ("a.*", "b.{{left(1,2)}}.{{Right(1,2)}}.{{random(3)}}"),
    ] {
        assert!(check_transform(&config(json!({"subject_transform": {"src": src, "dest": dest}}))).is_ok());
    }
}

#[test]
fn republishing_must_leave_the_stream() {
    let check = |fields: Value, pedantic| {
        let mut config = config(fields);
        check_republish(&mut config, pedantic).map(|()| config.republish.unwrap())
    };
    let made = check(json!({"subjects": ["a"], "republish": {"dest": "x.>"}}), false).unwrap();
    assert_eq!(made.src, ">");
    let implied = json!({"subjects": ["a.*"], "subject_transform": {"src": "a.*", "dest": "b"},
        "republish": {"src": ">", "dest": ">"}});
    let made = check(implied.clone(), false).unwrap();
    assert_eq!((made.src.as_str(), made.dest.as_str()), ("b", "b"));
    for (fields, pedantic, text) in [
        (
            json!({"subjects": ["a.>"], "republish": {"src": ">", "dest": "a.b.>"}}),
            false,
            "stream configuration for republish destination forms a cycle",
        ),
        (
            json!({"subjects": ["a.>"], "republish": {"src": "a.>", "dest": "b"}}),
            false,
            "stream configuration for republish with transform from 'a.>' to 'b' not valid",
        ),
        (
            json!({"subjects": ["a"], "republish": {"dest": "x.>"}}),
            true,
            "pedantic mode: republish source can not be empty",
        ),
        (
            implied,
            true,
            "pedantic mode: implicit republish based on subject transform",
        ),
    ] {
        assert_eq!(check(fields, pedantic).unwrap_err().text, text);
    }
}
