use serde_json::{Value, json};

use super::*;

fn config(fields: &Value) -> StreamConfig {
    let mut all = json!({"name": "S"});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

/// What is known: `O` with direct get and small messages, and `C`, which copies from `S`.
fn checked(fields: &Value) -> Result<StreamConfig, u16> {
    let find = |name: &str| match name {
        "O" => Some(config(
            &json!({"name": "O", "subjects": ["o.>"], "allow_direct": true, "max_msg_size": 100}),
        )),
        "C" => Some(config(&json!({"name": "C", "sources": [{"name": "S"}]}))),
        _ => None,
    };
    let mut config = config(fields);
    match check(&mut config, &find, false) {
        Ok(()) => Ok(config),
        Err(rejection) => Err(rejection.code),
    }
}

#[test]
fn mirrors_get_their_origins_direct_get() {
    assert!(checked(&json!({"mirror": {"name": "O"}})).unwrap().mirror_direct);
    assert!(!checked(&json!({"mirror": {"name": "unknown"}})).unwrap().mirror_direct);
}

#[test]
fn refuses_with_the_codes_of_nats_server() {
    let rule = |src: &str, dest: &str| json!({"src": src, "dest": dest});
    let consumer = json!({"name": "c", "deliver_subject": "d"});
    for (fields, code) in [
        (json!({"mirror": {"name": "O"}, "subjects": ["x"]}), 10034),
        (json!({"mirror": {"name": "O"}, "first_seq": 2}), 10143),
        (json!({"mirror": {"name": "O"}, "sources": [{"name": "O"}]}), 10031),
        (json!({"mirror": {"name": "O"}, "allow_msg_counter": true}), 10173),
        (json!({"mirror": {"name": "O"}, "allow_atomic": true}), 10198),
        (json!({"mirror": {"name": "O"}, "allow_batched": true}), 10209),
        (json!({"mirror": {"name": "O"}, "allow_msg_schedules": true}), 10186),
        (
            json!({"mirror": {"name": "O"}, "subject_delete_marker_ttl": 2_000_000_000i64}),
            10052,
        ),
        (json!({"mirror": {"name": "O.x"}}), 10142),
        (json!({"mirror": {"name": "O"}, "max_msg_size": 10}), 10030),
        (
            json!({"mirror": {"name": "O", "filter_subject": "a", "subject_transforms": [rule("a", "b")]}}),
            10150,
        ),
        (
            json!({"mirror": {"name": "O", "subject_transforms": [rule("a..b", "b")]}}),
            10151,
        ),
        (
            json!({"mirror": {"name": "O", "subject_transforms": [rule("a.*", "b.$2")]}}),
            10154,
        ),
        (
            json!({"mirror": {"name": "O", "subject_transforms": [rule("a.*", ""), rule("a.b", "")]}}),
            10152,
        ),
        (
            json!({"mirror": {"name": "O", "consumer": consumer, "opt_start_seq": 2}}),
            10213,
        ),
        (json!({"mirror": {"name": "S"}}), 10052),
        (json!({"mirror": {"name": "C"}}), 10052),
        (json!({"sources": [{"name": "O"}], "allow_msg_schedules": true}), 10187),
        (json!({"sources": [{"name": "a.b"}]}), 10141),
        (json!({"sources": [{"name": "O"}, {"name": "O"}]}), 10140),
        (json!({"sources": [{"name": "O"}], "max_msg_size": 10}), 10046),
        (
            json!({"sources": [{"name": "O", "filter_subject": "a", "subject_transforms": [rule("a", "b")]}]}),
            10144,
        ),
        (
            json!({"sources": [{"name": "O", "subject_transforms": [rule("a..b", "b")]}]}),
            10145,
        ),
        (
            json!({"sources": [{"name": "O", "subject_transforms": [rule("a.*", "b.$2")]}]}),
            10146,
        ),
        (
            json!({"sources": [{"name": "O", "subject_transforms": [rule("a.b", ""), rule("a.*", "")]}]}),
            10147,
        ),
        (
            json!({"sources": [{"name": "O", "consumer": {"name": "c", "deliver_subject": "d.*"}}]}),
            10215,
        ),
        (
            json!({"sources": [{"name": "O", "external": {"api": "$JS.API", "deliver": ""}}]}),
            10021,
        ),
        (
            json!({"sources": [{"name": "O", "external": {"api": "x", "deliver": "d.*"}}]}),
            10024,
        ),
        (json!({"sources": [{"name": "S"}], "subjects": ["x"]}), 10052),
    ] {
        assert_eq!(checked(&fields).unwrap_err(), code, "{fields}");
    }
}

#[test]
fn accepts_what_is_fine() {
    for fields in [
        json!({"sources": [{"name": "O"}, {"name": "O", "filter_subject": "o.a"}]}),
        json!({"sources": [{"name": "O", "external": {"api": "$JS.hub.API", "deliver": "d"}}]}),
        json!({"mirror": {"name": "O", "subject_transforms": [{"src": "a.*", "dest": "b.$1"}]}}),
    ] {
        assert!(checked(&fields).is_ok(), "{fields}");
    }
}
