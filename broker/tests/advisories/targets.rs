//! What a request is allowed to do is said by its subject; a body that names another target is refused (S17).

use serde_json::{Value, json};

use crate::{ask, asked, start};

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

/// Users who may do this and that, and not delete, send messages of others on, or acknowledge them.
const FEW: &str = "authorization { users: [
  {user: owner, password: p}
  {user: few, password: p, permissions: {
    publish: {allow: [\"$JS.API.STREAM.*.MINE\", \"$JS.API.CONSUMER.>\", \"mine.>\"], deny: [\"$JS.API.STREAM.DELETE.>\", \"$JS.ACK.>\"]}
    subscribe: \">\"}}
] }";

/// Where a client may have JetStream send something it does not ask JetStream for what it may not ask for itself: not by the message
/// of a stream that is republished or delivered, and not by an answer.
#[test]
fn jetstream_asks_itself_for_nothing() {
    let fixture = start(FEW);
    let mut owner = fixture.client("owner");
    let theirs = json!({"name": "THEIRS", "subjects": ["theirs"]});
    assert_eq!(
        asked(&mut owner, "$JS.API.STREAM.CREATE.THEIRS", &theirs)["did_create"],
        true
    );
    let consumer = json!({"stream_name": "THEIRS", "config": {"durable_name": "C", "ack_policy": "explicit"}});
    assert_eq!(
        asked(&mut owner, "$JS.API.CONSUMER.CREATE.THEIRS.C", &consumer)["name"],
        "C"
    );
    assert_eq!(asked(&mut owner, "theirs", &json!(1))["seq"], 1);
    owner.send("PUB $JS.API.CONSUMER.MSG.NEXT.THEIRS.C r 1\r\n1\r\n");
    let delivered = owner.line();
    let ack = delivered.split(' ').nth(3).unwrap().to_owned();
    owner.expect("1\r\n");
    owner.exchange("UNSUB 1\r\n", "");
    let mut few = fixture.client("few");
    let denied = "$JS.API.STREAM.DELETE.THEIRS";
    few.exchange(
        format!("PUB {denied} r 0\r\n\r\n"),
        &format!("-ERR 'Permissions Violation for Publish to \"{denied}\"'\r\n"),
    );
    let mine = json!({"name": "MINE", "subjects": ["mine.>"], "republish": {"src": "mine.delete", "dest": denied}});
    assert_eq!(asked(&mut few, "$JS.API.STREAM.CREATE.MINE", &mine)["did_create"], true);
    for (name, filter, to) in [("D", "mine.delete", denied), ("A", "mine.ack", ack.as_str())] {
        let config =
            json!({"durable_name": name, "deliver_subject": to, "filter_subject": filter, "ack_policy": "none"});
        let subject = format!("$JS.API.CONSUMER.CREATE.MINE.{name}.{filter}");
        let made = asked(&mut few, &subject, &json!({"stream_name": "MINE", "config": config}));
        assert_eq!(made["name"], name, "{made}");
    }
    for subject in ["mine.delete", "mine.ack"] {
        assert!(asked(&mut few, subject, &json!("+TERM"))["seq"].is_number());
    }
    // An answer of the API, an acknowledgement, and a refusal.
    for subject in ["$JS.API.STREAM.INFO.MINE", "mine.x", "$JS.API.STREAM.INFO.mine"] {
        few.send(format!("PUB {subject} {denied} 0\r\n\r\n"));
    }
    few.send("PING\r\n");
    while few.line() != "PONG" {}
    // What is under way has been handed out when a later request is answered.
    assert!(asked(&mut few, "mine.y", &json!(1))["seq"].is_number());
    few.exchange("UNSUB 1\r\n", "");
    owner.exchange("SUB r 1\r\n", "");
    let info: Value = serde_json::from_str(&ask(&mut owner, "$JS.API.CONSUMER.INFO.THEIRS.C", "")).unwrap();
    assert_eq!(
        (&info["num_ack_pending"], &info["ack_floor"]["stream_seq"]),
        (&json!(1), &json!(0)),
        "{info}"
    );
}
