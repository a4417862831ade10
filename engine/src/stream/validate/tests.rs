//! Each rule with the code and text that breaking it gives.

use serde_json::{Value, json};

use super::*;
use crate::stream::settings::{BackendKind, IndexKind};

fn config(fields: Value) -> StreamConfig {
    let mut all = json!({"name": "S"});
    if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
        all.extend(fields);
    }
    serde_json::from_value(all).unwrap()
}

/// The rules where there is no other stream.
fn rules<'a>(limits: ServerLimits, defaults: &'a Defaults, pedantic: bool) -> Rules<'a> {
    Rules {
        limits,
        defaults,
        find: &|_| None,
        pedantic,
    }
}

fn create(fields: Value) -> Result<(StreamConfig, Settings), Rejection> {
    let defaults = Defaults::default();
    validate_new(config(fields), &rules(ServerLimits::default(), &defaults, false))
}

fn update(old: Value, new: Value) -> Result<(StreamConfig, Settings), Rejection> {
    let (old, settings) = create(old).unwrap();
    let defaults = Defaults::default();
    let rules = rules(ServerLimits::default(), &defaults, false);
    validate_update(&old, &settings, config(new), &rules)
}

#[test]
fn fills_defaults_as_nats_server_echoes_them() {
    let (made, _) = create(
        json!({"max_msgs": 0, "max_bytes": -7, "num_replicas": 0, "placement": {},
        "metadata": {"_nats.ver": "1", "_nats.level": "1", "a": "b"}}),
    )
    .unwrap();
    assert_eq!(made.subjects, ["S"]);
    assert_eq!((made.max_msgs, made.max_bytes, made.max_msg_size), (-1, -1, -1));
    assert_eq!((made.num_replicas, made.placement), (1, None));
    assert_eq!(made.duplicate_window, 120 * SECOND);
    let metadata: Vec<_> = made.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(metadata, [("_nats.req.level", "0"), ("a", "b")]);
    let (aged, _) = create(json!({"max_age": SECOND})).unwrap();
    assert_eq!(aged.duplicate_window, SECOND);
    let (expiring, _) = create(json!({"allow_msg_ttl": true})).unwrap();
    assert_eq!(expiring.metadata["_nats.req.level"], "1");
    let (fast, _) = create(json!({"persist_mode": "async"})).unwrap();
    assert_eq!(fast.metadata["_nats.req.level"], "2");
}

#[test]
fn refuses_with_the_texts_of_nats_server() {
    let long = "x".repeat(4097);
    let big = "x".repeat(140_000);
    for (fields, code, text) in [
        (
            json!({"name": ""}),
            10052,
            "stream name is required and can not contain '.', '*', '>', '\\', '/'",
        ),
        (
            json!({"name": "a b"}),
            10052,
            "stream name is required and can not contain '.', '*', '>', '\\', '/'",
        ),
        (
            json!({"name": "x".repeat(256)}),
            10052,
            "stream name is too long, maximum allowed is 255",
        ),
        (
            json!({"description": long}),
            10052,
            "stream description is too long, maximum allowed is 4096",
        ),
        (
            json!({"metadata": {"a": big}}),
            10052,
            "stream metadata exceeds maximum size of 131072 bytes",
        ),
        (json!({"num_replicas": 6}), 10052, "maximum replicas is 5"),
        (json!({"num_replicas": -1}), 10133, "replicas count cannot be negative"),
        (
            json!({"num_replicas": 3}),
            10074,
            "replicas > 1 not supported in non-clustered mode",
        ),
        (json!({"max_age": -1}), 10052, "max age can not be negative"),
        (json!({"max_age": 99_999_999}), 10052, "max age needs to be >= 100ms"),
        (
            json!({"duplicate_window": -1}),
            10052,
            "duplicates window can not be negative",
        ),
        (
            json!({"duplicate_window": 1}),
            10052,
            "duplicates window needs to be >= 100ms",
        ),
        (
            json!({"max_age": SECOND, "duplicate_window": 2 * SECOND}),
            10052,
            "duplicates window can not be larger then max age",
        ),
        (
            json!({"deny_purge": true, "allow_rollup_hdrs": true}),
            10052,
            "roll-ups require the purge permission",
        ),
        (
            json!({"discard_new_per_subject": true}),
            10052,
            "discard new per subject requires discard new policy to be set",
        ),
        (
            json!({"discard_new_per_subject": true, "discard": "new"}),
            10052,
            "discard new per subject requires max msgs per subject > 0",
        ),
        (
            json!({"persist_mode": "async", "storage": "memory"}),
            10052,
            "async persist mode is only supported on file storage",
        ),
        (
            json!({"sealed": true}),
            10052,
            "stream configuration for create can not be sealed",
        ),
        (
            json!({"mirror_direct": true}),
            10052,
            "stream has no mirror but does have mirror direct",
        ),
        (
            json!({"placement": {"preferred": "x"}}),
            10052,
            "preferred server not permitted in placement",
        ),
        (
            json!({"allow_msg_counter": true, "discard": "new"}),
            10052,
            "counter stream cannot use discard new",
        ),
        (
            json!({"allow_msg_counter": true, "allow_msg_ttl": true}),
            10052,
            "counter stream cannot use message TTLs",
        ),
        (
            json!({"allow_msg_counter": true, "retention": "interest"}),
            10052,
            "counter stream can only use limits retention",
        ),
    ] {
        let shown = fields.to_string();
        let refused = create(fields).unwrap_err();
        assert_eq!(
            (refused.code, refused.text.as_ref()),
            (code, text),
            "{}",
            &shown[..shown.len().min(200)]
        );
    }
}

#[test]
fn subjects_must_be_valid_apart_and_not_the_servers() {
    const JETSTREAM: &str = "subjects that overlap with jetstream api require no-ack to be true";
    const SYSTEM: &str = "subjects that overlap with system api require no-ack to be true";
    for (subjects, text) in [
        (json!(["a..b"]), "invalid subject"),
        (json!([""]), "invalid subject"),
        (json!(["a b"]), "invalid subject"),
        (json!(["a", "a"]), "subject \"a\" overlaps with \"a\""),
        (json!(["a.b", "a.*"]), "subject \"a.b\" overlaps with \"a.*\""),
        (json!([">"]), "capturing all subjects requires no-ack to be true"),
        (json!(["$JS.foo"]), JETSTREAM),
        (json!(["$JSC.x"]), JETSTREAM),
        (json!(["*.foo"]), JETSTREAM),
        (json!(["$SYS.foo"]), SYSTEM),
    ] {
        assert_eq!(create(json!({"subjects": subjects})).unwrap_err().text, text);
        let captured = create(json!({"subjects": subjects, "no_ack": true}));
        assert_eq!(captured.is_ok(), text.ends_with("no-ack to be true"), "{subjects}");
    }
    for subject in ["$JS.EVENT.>", "$JS.EVENT.ADVISORY.x", "$SYS.ACCOUNT.>", "$KV.>", "*"] {
        assert!(create(json!({"subjects": [subject]})).is_ok(), "{subject}");
    }
    assert!(SubjectSet::of(&["a", "b.>"]).overlaps(&["b.*"]));
    assert!(!SubjectSet::of(&["a", "b.>"]).overlaps(&["b", "c"]));
}

#[test]
fn many_subjects_are_compared_in_bounded_steps() {
    let many = |count: usize, form: fn(usize) -> String| -> Vec<String> { (0..count).map(form).collect() };
    let plain = many(20_000, |at| format!("a.{at}.b"));
    assert!(create(json!({"subjects": plain})).is_ok());
    let mut twice = plain.clone();
    twice.push("a.7.*".into());
    let text = "subject \"a.7.b\" overlaps with \"a.7.*\"";
    assert_eq!(create(json!({"subjects": twice})).unwrap_err().text, text);
    // Each of the second kind has to look at all of the first.
    let mut crossed = many(5000, |at| format!("a.x.{at}.c"));
    crossed.extend(many(5000, |at| format!("a.x.*.{at}")));
    let text = "too many subjects with wildcards to be compared with one another";
    assert_eq!(create(json!({"subjects": crossed})).unwrap_err().text, text);
    let beyond = many(SUBJECTS_MAX + 1, |at| format!("a.{at}"));
    assert_eq!(
        create(json!({"subjects": beyond})).unwrap_err().text,
        "a stream has at most 32768 subjects"
    );
}

#[test]
fn pedantic_refuses_what_would_be_changed() {
    for (fields, text) in [
        (json!({"max_msgs": -5}), "pedantic mode: max_msgs must be set to -1"),
        (
            json!({"max_msgs_per_subject": -5}),
            "pedantic mode: max_msgs_per_subject must be set to -1",
        ),
        (
            json!({"max_age": SECOND}),
            "pedantic mode: duplicate window cannot be bigger than max age",
        ),
    ] {
        let defaults = Defaults::default();
        let refused = validate_new(config(fields.clone()), &rules(ServerLimits::default(), &defaults, true));
        assert_eq!(refused.unwrap_err().text, text);
        assert!(create(fields).is_ok());
    }
}

#[test]
fn the_servers_limit_caps_the_window() {
    let limits = ServerLimits {
        duplicate_window: 60 * SECOND,
        ..ServerLimits::default()
    };
    let defaults = Defaults::default();
    let window = |fields| validate_new(config(fields), &rules(limits, &defaults, false));
    assert_eq!(window(json!({})).unwrap().0.duplicate_window, 60 * SECOND);
    assert_eq!(
        window(json!({"duplicate_window": 61 * SECOND})).unwrap_err().text,
        "duplicates window can not be larger then server limit of 1m0s"
    );
}

#[test]
fn updates_keep_what_must_not_change() {
    for (old, new, text) in [
        (
            json!({}),
            json!({"name": "T"}),
            "stream configuration name must match original",
        ),
        (
            json!({}),
            json!({"storage": "memory"}),
            "stream configuration update can not change storage type",
        ),
        (
            json!({}),
            json!({"retention": "workqueue"}),
            "stream configuration update can not change retention policy to/from workqueue",
        ),
        (
            json!({"deny_delete": true}),
            json!({}),
            "stream configuration update can not cancel deny message deletes",
        ),
        (
            json!({"allow_msg_ttl": true}),
            json!({}),
            "message TTL status can not be disabled",
        ),
        (
            json!({"deny_purge": true}),
            json!({}),
            "stream configuration update can not cancel deny purge",
        ),
        (
            json!({}),
            json!({"persist_mode": "async"}),
            "stream configuration update can not change persist mode",
        ),
        (
            json!({"allow_msg_counter": true}),
            json!({}),
            "stream configuration update can not change message counter setting",
        ),
        (
            json!({"allow_msg_counter": true}),
            json!({"allow_msg_counter": true, "subject_delete_marker_ttl": SECOND}),
            "counter stream cannot use message TTLs",
        ),
        (
            json!({}),
            json!({"metadata": {"weir.backend": "memory"}}),
            "stream configuration update can not change weir.backend from segment to memory",
        ),
        (
            json!({"metadata": {"weir.backend": "rocksdb"}}),
            json!({"metadata": {"weir.backend": "rocksdb", "weir.index": "resident"}}),
            "stream configuration update can not change weir.index",
        ),
    ] {
        assert_eq!(update(old, new).unwrap_err().text, text);
    }
    for new in [
        json!({"retention": "interest"}),
        json!({"max_msgs": 5, "discard": "new", "subjects": ["x"], "compression": "s2"}),
        json!({"metadata": {"weir.durability": "os", "weir.compression": "zstd"}}),
    ] {
        assert!(update(json!({}), new.clone()).is_ok(), "{new}");
    }
    // It goes over by and by: until then it is where it was.
    let (asked, settings) = update(json!({}), json!({"metadata": {"weir.backend": "rocksdb"}})).unwrap();
    assert_eq!(asked.metadata["weir.backend"], "rocksdb");
    assert_eq!(
        (settings.backend, settings.index),
        (BackendKind::Segment, IndexKind::Resident)
    );
    let wanted = settings.wanted_by(&asked).unwrap();
    assert_eq!((wanted.backend, wanted.index), (BackendKind::RocksDb, IndexKind::Paged));
    let stored = json!({"weir.backend": "rocksdb", "weir.index": "resident"});
    let (kept, settings) = update(json!({"metadata": stored}), json!({"metadata": {"team": "eu"}})).unwrap();
    assert_eq!(settings.backend, BackendKind::RocksDb);
    assert_eq!(kept.metadata["weir.backend"], "rocksdb");
    assert_eq!(kept.metadata["team"], "eu");
    let (sealed, _) = update(json!({"max_age": SECOND}), json!({"sealed": true})).unwrap();
    assert!(sealed.deny_delete && sealed.deny_purge && sealed.max_age == 0);
    assert_eq!(sealed.discard, Discard::New);
}

#[test]
fn an_update_does_not_follow_new_server_defaults() {
    let (old, settings) = create(json!({})).unwrap();
    let defaults = Defaults {
        backend: BackendKind::RocksDb,
        ..Defaults::default()
    };
    let (_, kept) = validate_update(
        &old,
        &settings,
        config(json!({})),
        &rules(ServerLimits::default(), &defaults, false),
    )
    .unwrap();
    assert_eq!((kept.backend, kept.index), (BackendKind::Segment, IndexKind::Resident));
}
