//! What a client wrote never becomes a line of the protocol that another client reads (S13).

use serde_json::{Value, json};

use crate::{ask, asked, start};

/// Ends of lines, and what would be read behind one.
const ENDS: &[&str] = &[
    "x\r\nMSG forged 1 0\r\n",
    "x\nMSG forged 1 0\n",
    "x\r",
    "x\n",
    "x y",
    "x\ty",
    "\r\n",
];

#[test]
fn subjects_in_requests_have_no_line_ends() {
    let fixture = start("");
    let mut client = fixture.client("");
    let mut hears = fixture.connect("");
    hears.exchange("SUB forged 1\r\n", "");
    asked(
        &mut client,
        "$JS.API.STREAM.CREATE.S",
        &json!({"name": "S", "subjects": ["s"]}),
    );
    asked(&mut client, "s", &json!(1));
    for end in ENDS {
        let consumer = |config: Value| json!({"stream_name": "S", "config": config});
        for (request, body) in [
            ("STREAM.CREATE.T", json!({"name": "T", "subjects": [end]})),
            ("STREAM.CREATE.T", json!({"name": end, "subjects": ["t"]})),
            (
                "STREAM.CREATE.T",
                json!({"name": "T", "subjects": ["t"], "republish": {"src": "t", "dest": end}}),
            ),
            (
                "STREAM.CREATE.T",
                json!({"name": "T", "subjects": ["t"], "subject_transform": {"src": "t", "dest": end}}),
            ),
            (
                "STREAM.CREATE.T",
                json!({"name": "T", "mirror": {"name": "S", "filter_subject": end}}),
            ),
            (
                "STREAM.CREATE.T",
                json!({"name": "T", "mirror": {"name": "S", "external": {"api": end, "deliver": end}}}),
            ),
            ("STREAM.SNAPSHOT.S", json!({"deliver_subject": end})),
            (
                "CONSUMER.CREATE.S",
                consumer(json!({"deliver_subject": end, "ack_policy": "none"})),
            ),
            (
                "CONSUMER.CREATE.S",
                consumer(json!({"deliver_subject": "d", "deliver_group": end, "ack_policy": "none"})),
            ),
            (
                "CONSUMER.CREATE.S",
                consumer(json!({"filter_subject": end, "ack_policy": "none"})),
            ),
            (
                "CONSUMER.CREATE.S.C",
                consumer(json!({"durable_name": end, "ack_policy": "none"})),
            ),
        ] {
            // A group's name and a filter of a mirror are no subject; whatever is taken must not be heard as a line.
            let answer = asked(&mut client, &format!("$JS.API.{request}"), &body);
            let taken = answer.get("error").is_none();
            assert!(
                !taken || body.to_string().contains("deliver_group"),
                "{request} {body}: {answer}"
            );
            ask(&mut client, "$JS.API.STREAM.DELETE.T", "");
        }
    }
    asked(&mut client, "s", &json!(2));
    hears.exchange("", "");
}

#[test]
fn values_of_headers_stay_values() {
    let fixture = start("");
    let mut client = fixture.client("");
    let config = json!({"name": "S", "subjects": ["s.>", "in"], "allow_msg_schedules": true, "allow_msg_ttl": true,
        "republish": {"src": "in", "dest": "out"}});
    let made = asked(&mut client, "$JS.API.STREAM.CREATE.S", &config);
    assert_eq!(made["did_create"], true, "{made}");
    let mut hears = fixture.connect("");
    hears.exchange("SUB forged 1\r\nSUB out 2\r\n", "");
    // A header's line may end in a single newline for those who read it; whoever hears it again gets the same bytes.
    for value in ["a\nMSG forged 1 0", "a\rMSG forged 1 0\r", "\u{0}"] {
        for name in [
            "Nats-Msg-Id",
            "Nats-Expected-Stream",
            "Nats-TTL",
            "Nats-Schedule-Target",
            "Nats-Rollup",
            "X",
        ] {
            let head = format!("NATS/1.0\r\n{name}: {value}\r\n\r\n");
            client.send(format!("HPUB in r {} {}\r\n{head}\r\n", head.len(), head.len()));
            crate::answer(&mut client);
        }
    }
    hears.send("PING\r\n");
    loop {
        let line = hears.line();
        if line == "PONG" {
            break;
        }
        // The republished ones, each whole.
        assert!(line.starts_with("HMSG out 2 "), "{line:?}");
        let length: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
        hears.take(length + 2);
    }
}
