//! What a request is allowed to do is said by its subject; a body that names another target is refused (S17).

use serde_json::json;

use crate::{asked, start};

const USERS: &str = "authorization { users: [
  {user: owner, password: p}
  {user: few, password: p, permissions: {
    publish: [\"$JS.API.STREAM.*.MINE\", \"$JS.API.CONSUMER.>\", \"$JS.API.STREAM.MSG.*.MINE\", \"$JS.SNAPSHOT.>\"], subscribe: \">\"}}
] }";

#[test]
fn a_body_does_not_choose_another_target_than_its_subject() {
    let fixture = start(USERS);
    let mut owner = fixture.client("owner");
    let theirs = json!({"name": "THEIRS", "subjects": ["theirs"], "description": "as it was"});
    for (stream, body) in [
        ("THEIRS", theirs.clone()),
        ("MINE", json!({"name": "MINE", "subjects": ["mine"]})),
    ] {
        let made = asked(&mut owner, &format!("$JS.API.STREAM.CREATE.{stream}"), &body);
        assert_eq!(made["did_create"], true, "{made}");
    }
    // They are of one account, and would hear each other's answers.
    owner.exchange("UNSUB 1\r\n", "");
    let mut few = fixture.client("few");
    let state = json!({"messages": 0, "bytes": 0, "first_seq": 0, "last_seq": 0, "consumer_count": 0});
    let consumer = |stream: &str, name: &str| json!({"stream_name": stream, "config": {"durable_name": name, "name": name, "ack_policy": "explicit"}});
    for (subject, body) in [
        ("STREAM.CREATE.MINE", theirs.clone()),
        (
            "STREAM.UPDATE.MINE",
            json!({"name": "THEIRS", "subjects": ["mine", "theirs"]}),
        ),
        (
            "STREAM.RESTORE.MINE",
            json!({"config": {"name": "THEIRS", "subjects": ["t2"]}, "state": state}),
        ),
        (
            "STREAM.RESTORE.MINE",
            json!({"config": {"name": "NEW", "subjects": ["t2"]}, "state": state}),
        ),
        ("CONSUMER.CREATE.MINE.C", consumer("THEIRS", "C")),
        ("CONSUMER.CREATE.MINE.C", consumer("MINE", "D")),
        ("CONSUMER.DURABLE.CREATE.MINE.C", consumer("THEIRS", "C")),
        ("CONSUMER.DURABLE.CREATE.MINE.C", consumer("MINE", "D")),
        ("CONSUMER.CREATE.MINE", consumer("THEIRS", "C")),
    ] {
        let answer = asked(&mut few, &format!("$JS.API.{subject}"), &body);
        assert!(answer["error"]["err_code"].is_number(), "{subject} {body}: {answer}");
    }
    few.exchange("UNSUB 1\r\n", "");
    owner.exchange("SUB r 1\r\n", "");
    let info = asked(&mut owner, "$JS.API.STREAM.INFO.THEIRS", &json!({}));
    assert_eq!(
        (&info["config"]["description"], &info["state"]["consumer_count"]),
        (&json!("as it was"), &json!(0))
    );
    let names = asked(&mut owner, "$JS.API.STREAM.NAMES", &json!({}));
    assert_eq!(names["streams"], json!(["MINE", "THEIRS"]));
    let consumers = asked(&mut owner, "$JS.API.CONSUMER.NAMES.MINE", &json!({}));
    assert_eq!(consumers["total"], 0, "{consumers}");
}
