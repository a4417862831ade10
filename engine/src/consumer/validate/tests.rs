//! Each rule with the code and text that breaking it gives.

use std::iter::empty;

use serde_json::{Value, json};

use super::*;

fn consumer(fields: Value) -> ConsumerConfig {
    let mut all = json!({"name": "C"});
    if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
        all.extend(fields);
    }
    serde_json::from_value(all).unwrap()
}

fn stream(fields: Value) -> StreamConfig {
    let mut all = json!({"name": "S", "subjects": ["s.>"]});
    if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
        all.extend(fields);
    }
    serde_json::from_value(all).unwrap()
}

fn create(fields: Value) -> Result<ConsumerConfig, Rejection> {
    validate_new(
        consumer(fields),
        &stream(json!({})),
        empty(),
        Action::CreateOrUpdate,
        &ServerLimits::default(),
        false,
    )
}

fn update(old: Value, new: Value, action: Action, bound: bool) -> Result<ConsumerConfig, Rejection> {
    let old = create(old).unwrap();
    let stream = stream(json!({}));
    let existing = Existing { config: &old, bound };
    validate_update(
        existing,
        consumer(new),
        action,
        &stream,
        empty(),
        &ServerLimits::default(),
        false,
    )
}

#[test]
fn fills_defaults_as_nats_server_echoes_them() {
    let pull = create(json!({"durable_name": "C", "ack_policy": "explicit"})).unwrap();
    let shown = serde_json::to_value(&pull).unwrap();
    assert_eq!(
        shown,
        json!({"durable_name": "C", "name": "C", "deliver_policy": "all", "ack_policy": "explicit",
            "ack_wait": 30 * SECOND, "max_deliver": -1, "replay_policy": "instant", "max_waiting": 512,
            "max_ack_pending": 1000, "num_replicas": 0, "metadata": {"_nats.req.level": "0"}})
    );
    let push = create(json!({"deliver_subject": "d"})).unwrap();
    assert_eq!((push.max_waiting, push.max_ack_pending, push.ack_wait), (0, 0, 0));
    assert_eq!(push.inactive_threshold, 5 * SECOND);
    let backoff = create(json!({"ack_policy": "explicit", "ack_wait": 9, "backoff": [3, 4]})).unwrap();
    assert_eq!(backoff.ack_wait, 3);
    let paused = create(json!({"pause_until": "2030-01-01T00:00:00Z"})).unwrap();
    assert_eq!(paused.metadata["_nats.req.level"], "1");
}

#[test]
fn refuses_with_the_codes_of_nats_server() {
    for (fields, code) in [
        (json!({"name": "a/b"}), 10052),
        (json!({"name": "x".repeat(256)}), 10102),
        (json!({"durable_name": "D"}), 10132),
        (json!({"num_replicas": -1}), 10133),
        (json!({"num_replicas": 2}), 10126),
        (json!({"ack_policy": "explicit", "ack_wait": -1}), 10183),
        (json!({"ack_policy": "explicit", "backoff": [-1]}), 10184),
        (
            json!({"ack_policy": "explicit", "backoff": [1, 2], "max_deliver": 1}),
            10116,
        ),
        (json!({"ack_policy": "flow_control"}), 10218),
        (json!({"description": "x".repeat(4097)}), 10107),
        (json!({"deliver_subject": "d.*"}), 10079),
        (json!({"deliver_subject": "d..x"}), 10112),
        (json!({"deliver_subject": "s.x"}), 10081),
        (json!({"deliver_subject": "d", "max_waiting": 5}), 10080),
        (json!({"deliver_subject": "d", "max_ack_pending": 5}), 10082),
        (json!({"deliver_subject": "d", "idle_heartbeat": 5}), 10083),
        (json!({"deliver_subject": "d", "flow_control": true}), 10108),
        (json!({"rate_limit_bps": 5}), 10086),
        (json!({"idle_heartbeat": SECOND}), 10088),
        (json!({"flow_control": true}), 10089),
        (json!({"max_expires": 5}), 10115),
        (json!({"direct": true}), 10090),
        (json!({"filter_subject": "s..a"}), 10052),
        (json!({"filter_subject": "a", "filter_subjects": ["b"]}), 10136),
        (json!({"filter_subjects": [""]}), 10139),
        (json!({"filter_subjects": ["a.b", "a.>"]}), 10138),
        (json!({"filter_subjects": ["a", "a"]}), 10138),
        (json!({"metadata": {"a": "x".repeat(140_000)}}), 10135),
        (json!({"priority_groups": ["a"]}), 10196),
        (json!({"priority_timeout": 5}), 10197),
        (json!({"priority_policy": "overflow"}), 10159),
        (json!({"priority_policy": "overflow", "priority_groups": [""]}), 10161),
        (
            json!({"priority_policy": "overflow", "priority_groups": ["a b"]}),
            10162,
        ),
        (
            json!({"priority_policy": "overflow", "priority_groups": ["a"], "deliver_subject": "d"}),
            10178,
        ),
        (
            json!({"ack_policy": "flow_control", "deliver_subject": "d", "max_ack_pending": -1}),
            10220,
        ),
        (
            json!({"ack_policy": "flow_control", "deliver_subject": "d", "ack_wait": 1}),
            10221,
        ),
        (
            json!({"ack_policy": "flow_control", "deliver_subject": "d", "max_deliver": 3}),
            10222,
        ),
    ] {
        let shown = fields.to_string();
        assert_eq!(
            create(fields).unwrap_err().code,
            code,
            "{}",
            &shown[..shown.len().min(100)]
        );
    }
    for fine in [
        json!({"filter_subject": "elsewhere"}),
        json!({"filter_subjects": ["*.a", "s.*"]}),
        json!({"max_batch": -1, "max_waiting": -3, "max_deliver": -7, "inactive_threshold": -4}),
        json!({"deliver_subject": "d", "flow_control": true, "idle_heartbeat": SECOND, "rate_limit_bps": 5}),
        json!({"ack_policy": "explicit", "backoff": [1, 2], "max_deliver": 2}),
    ] {
        assert!(create(fine.clone()).is_ok(), "{fine}");
    }
}

#[test]
fn the_start_has_to_fit_the_policy() {
    let time = "2020-01-01T00:00:00Z";
    for (fields, text) in [
        (
            json!({"opt_start_seq": 2}),
            "all, but optional start sequence is also set",
        ),
        (
            json!({"opt_start_time": time}),
            "all, but optional start time is also set",
        ),
        (
            json!({"deliver_policy": "last_per_subject"}),
            "last per subject, but optional filter subject is not set",
        ),
        (
            json!({"deliver_policy": "by_start_sequence"}),
            "by start sequence, but optional start sequence is not set",
        ),
        (
            json!({"deliver_policy": "by_start_sequence", "opt_start_seq": 1, "opt_start_time": time}),
            "by start sequence, but optional start time is also set",
        ),
        (
            json!({"deliver_policy": "by_start_time"}),
            "by start time, but optional start time is not set",
        ),
        (
            json!({"deliver_policy": "by_start_time", "opt_start_seq": 1, "opt_start_time": time}),
            "by start time, but optional start start sequence is also set",
        ),
    ] {
        let refused = create(fields).unwrap_err();
        assert_eq!(refused.text, format!("consumer delivery policy is deliver {text}"));
        assert_eq!(refused.code, 10094);
    }
    assert!(create(json!({"deliver_policy": "by_start_time", "opt_start_time": time})).is_ok());
    // Go's zero time is a time here, and comes back as it went in.
    let zero = json!("0001-01-01T00:00:00Z");
    let first = create(json!({"deliver_policy": "by_start_time", "opt_start_time": zero})).unwrap();
    assert_eq!(serde_json::to_value(first).unwrap()["opt_start_time"], zero);
}

#[test]
fn samples_are_shares() {
    let text = |freq: &str| create(json!({"sample_freq": freq})).map_err(|refused| refused.text.into_owned());
    assert!(text("30%").is_ok() && text("30").is_ok());
    assert_eq!(
        text("-1").unwrap_err(),
        "failed to parse consumer sampling configuration: <nil>"
    );
    assert_eq!(
        text("abc").unwrap_err(),
        "failed to parse consumer sampling configuration: strconv.Atoi: parsing \"abc\": invalid syntax"
    );
}

#[test]
fn work_queues_have_one_consumer_for_each_message() {
    let queue = stream(json!({"retention": "workqueue"}));
    let first = consumer(json!({"ack_policy": "explicit", "filter_subject": "s.1"}));
    let second = |fields: Value| {
        let others = [("other", &first)];
        validate_new(
            consumer(fields),
            &queue,
            others.into_iter(),
            Action::CreateOrUpdate,
            &ServerLimits::default(),
            false,
        )
        .map(drop)
        .map_err(|refused| refused.code)
    };
    assert_eq!(second(json!({})), Err(10084));
    assert_eq!(second(json!({"ack_policy": "all"})), Err(10098));
    assert_eq!(second(json!({"deliver_subject": "d"})), Err(10098));
    assert_eq!(
        second(json!({"ack_policy": "explicit", "deliver_policy": "new"})),
        Err(10101)
    );
    assert_eq!(second(json!({"ack_policy": "explicit"})), Err(10099));
    assert_eq!(
        second(json!({"ack_policy": "explicit", "filter_subject": "s.*"})),
        Err(10100)
    );
    assert_eq!(
        second(json!({"ack_policy": "explicit", "filter_subject": "s.2"})),
        Ok(())
    );
    assert_eq!(second(json!({"ack_policy": "explicit", "sourcing": true})), Ok(()));
}

#[test]
fn limits_of_stream_and_server_hold() {
    let limited = stream(json!({"max_consumers": 1,
        "consumer_limits": {"max_ack_pending": 5, "inactive_threshold": 10 * SECOND}}));
    let limits = ServerLimits {
        max_request_batch: 7,
        ..ServerLimits::default()
    };
    let made = |fields: Value| {
        validate_new(
            consumer(fields),
            &limited,
            empty(),
            Action::CreateOrUpdate,
            &limits,
            false,
        )
    };
    let fine = made(json!({"ack_policy": "explicit"})).unwrap();
    assert_eq!(
        (fine.max_ack_pending, fine.inactive_threshold, fine.max_batch),
        (5, 10 * SECOND, 7)
    );
    assert_eq!(
        made(json!({"ack_policy": "explicit", "max_ack_pending": 6}))
            .unwrap_err()
            .text,
        "consumer max ack pending exceeds system limit of 5"
    );
    assert_eq!(
        made(json!({"inactive_threshold": 20 * SECOND})).unwrap_err().text,
        "consumer inactive threshold exceeds system limit of 10s"
    );
    assert_eq!(made(json!({"max_batch": 8})).unwrap_err().code, 10125);
    let others = [("other", &fine)];
    let one_more = validate_new(
        consumer(json!({})),
        &limited,
        others.into_iter(),
        Action::CreateOrUpdate,
        &limits,
        false,
    );
    assert_eq!(one_more.unwrap_err().code, 10026);
}

#[test]
fn updates_keep_what_must_not_change() {
    for (old, new, text) in [
        (
            json!({}),
            json!({"ack_policy": "explicit"}),
            "ack policy can not be updated",
        ),
        (
            json!({}),
            json!({"deliver_policy": "new"}),
            "deliver policy can not be updated",
        ),
        (
            json!({}),
            json!({"deliver_subject": "d"}),
            "can not update pull consumer to push based",
        ),
        (
            json!({"deliver_subject": "d"}),
            json!({}),
            "can not update push consumer to pull based",
        ),
        (json!({}), json!({"max_waiting": 5}), "max waiting can not be updated"),
        (
            json!({}),
            json!({"mem_storage": true}),
            "storage type can not be updated",
        ),
        (
            json!({}),
            json!({"replay_policy": "original"}),
            "replay policy can not be updated",
        ),
    ] {
        let refused = update(old, new, Action::CreateOrUpdate, false).unwrap_err();
        assert_eq!((refused.code, refused.text.as_ref()), (10012, text));
    }
    let changed = update(
        json!({}),
        json!({"description": "x", "filter_subject": "s.1"}),
        Action::Update,
        false,
    );
    assert_eq!(changed.unwrap().description, "x");
    let (here, there) = (json!({"deliver_subject": "d"}), json!({"deliver_subject": "e"}));
    let moved = |bound| update(here.clone(), there.clone(), Action::CreateOrUpdate, bound);
    assert_eq!(moved(true).unwrap_err().code, 10013);
    assert!(moved(false).is_ok());
    let durable = json!({"durable_name": "C"});
    assert!(update(durable.clone(), durable.clone(), Action::Create, false).is_ok());
    let other = json!({"durable_name": "C", "description": "x"});
    assert_eq!(update(durable, other, Action::Create, false).unwrap_err().code, 10148);
}

#[test]
fn many_filters_are_compared_at_once() {
    let many = |count: usize| -> Vec<String> { (0..count).map(|at| format!("s.{at}.x")).collect() };
    let filters = many(20_000);
    assert!(create(json!({"filter_subjects": filters})).is_ok());
    let mut nested = filters.clone();
    nested.push("s.*.x".into());
    assert_eq!(create(json!({"filter_subjects": nested})).unwrap_err().code, 10138);
    let mut twice = filters;
    twice.push("s.9.x".into());
    assert_eq!(create(json!({"filter_subjects": twice})).unwrap_err().code, 10138);
    let beyond = create(json!({"filter_subjects": many(SUBJECTS_MAX + 1)})).unwrap_err();
    assert_eq!(beyond.text, "a consumer has at most 32768 filter subjects");
}
