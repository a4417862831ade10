//! An account is the one that the client was let into, and JetStream's whole API knows no other (S4).

use serde_json::{Value, json};

use crate::{ask, asked, start};

const ACCOUNTS: &str = "accounts {
  A { users: [{user: a, password: p}], jetstream: enabled }
  B { users: [{user: b, password: p}], jetstream: enabled }
  C { users: [{user: c, password: p}] }
}";

/// Every request there is that names a stream (`S`), a consumer of it (`C`) or an account, and a body that would work in account A.
fn requests() -> Vec<(String, Value)> {
    let consumer = json!({"stream_name": "S", "config": {"durable_name": "D", "ack_policy": "explicit"}});
    let stream = json!({"name": "S", "subjects": ["other"]});
    [
        ("STREAM.INFO.S", json!({})),
        ("STREAM.UPDATE.S", stream.clone()),
        ("STREAM.DELETE.S", json!({})),
        ("STREAM.PURGE.S", json!({})),
        ("STREAM.MSG.GET.S", json!({"seq": 1})),
        ("STREAM.MSG.DELETE.S", json!({"seq": 1})),
        ("STREAM.SNAPSHOT.S", json!({"deliver_subject": "r"})),
        ("STREAM.PEER.REMOVE.S", json!({"peer": "x"})),
        ("STREAM.LEADER.STEPDOWN.S", json!({})),
        ("DIRECT.GET.S", json!({"seq": 1})),
        ("DIRECT.GET.S.secret", json!({})),
        ("CONSUMER.CREATE.S", consumer.clone()),
        ("CONSUMER.CREATE.S.D", consumer.clone()),
        ("CONSUMER.CREATE.S.D.secret", consumer.clone()),
        ("CONSUMER.DURABLE.CREATE.S.D", consumer),
        ("CONSUMER.INFO.S.C", json!({})),
        ("CONSUMER.DELETE.S.C", json!({})),
        ("CONSUMER.PAUSE.S.C", json!({"pause_until": "2100-01-01T00:00:00Z"})),
        ("CONSUMER.UNPIN.S.C", json!({"group": "g"})),
        ("CONSUMER.LEADER.STEPDOWN.S.C", json!({})),
        ("CONSUMER.NAMES.S", json!({})),
        ("CONSUMER.LIST.S", json!({})),
        ("CONSUMER.MSG.NEXT.S.C", json!({"batch": 1, "no_wait": true})),
        ("STREAM.NAMES", json!({"subject": "secret"})),
        ("STREAM.LIST", json!({})),
    ]
    .into_iter()
    .map(|(subject, body)| (format!("$JS.API.{subject}"), body))
    .collect()
}

/// Requests that nobody answers, as there: a consumer hears its own reset, and the system account those about servers and accounts.
const SILENT: &[&str] = &[
    "CONSUMER.RESET.S.C",
    "ACCOUNT.PURGE.A",
    "ACCOUNT.STREAM.MOVE.A.S",
    "ACCOUNT.STREAM.CANCEL_MOVE.A.S",
    "META.LEADER.STEPDOWN",
    "SERVER.REMOVE",
];

#[test]
fn no_request_reaches_the_streams_of_another_account() {
    let fixture = start(ACCOUNTS);
    let mut a = fixture.client("a");
    let made = json!({"name": "S", "subjects": ["secret"], "storage": "file", "allow_direct": true});
    assert_eq!(asked(&mut a, "$JS.API.STREAM.CREATE.S", &made)["did_create"], true);
    let consumer = json!({"stream_name": "S", "config": {"durable_name": "C", "ack_policy": "explicit"}});
    assert_eq!(asked(&mut a, "$JS.API.CONSUMER.CREATE.S.C", &consumer)["name"], "C");
    assert_eq!(asked(&mut a, "secret", &json!("hidden"))["seq"], 1);
    let mut state = |what: &str| {
        let mut info = asked(&mut a, &format!("$JS.API.{what}"), &json!({}));
        info.as_object_mut().unwrap().remove("ts");
        info
    };
    let before = (
        state("STREAM.INFO.S"),
        state("CONSUMER.INFO.S.C"),
        state("CONSUMER.NAMES.S"),
    );
    for user in ["b", "c"] {
        let mut other = fixture.client(user);
        for subject in SILENT {
            other.exchange(format!("PUB $JS.API.{subject} 12\r\n{{\"peer\":\"x\"}}\r\n"), "");
        }
        for (subject, body) in requests() {
            let answer = ask(&mut other, &subject, &body.to_string());
            let found_nothing = ["\"error\":{", "\"streams\":null", "\"streams\":[]"];
            assert!(
                answer.starts_with("NATS/1.0 4")
                    || answer.starts_with("NATS/1.0 503")
                    || found_nothing.iter().any(|nothing| answer.contains(nothing)),
                "{user} asks {subject}: {answer}"
            );
            // What an answer repeats of the request is not known from the account.
            assert!(
                !answer.contains("hidden") && !answer.contains("\"config\""),
                "{user} asks {subject}: {answer}"
            );
        }
    }
    let after = (
        state("STREAM.INFO.S"),
        state("CONSUMER.INFO.S.C"),
        state("CONSUMER.NAMES.S"),
    );
    assert_eq!(before, after);
}

/// Acknowledgements, flow control and the replies of other accounts' deliveries are subjects of the account like all others.
#[test]
fn an_acknowledgement_from_another_account_is_none() {
    let fixture = start(ACCOUNTS);
    let (mut a, mut b) = (fixture.client("a"), fixture.client("b"));
    asked(
        &mut a,
        "$JS.API.STREAM.CREATE.S",
        &json!({"name": "S", "subjects": ["secret"]}),
    );
    let consumer = json!({"stream_name": "S", "config": {"durable_name": "C", "ack_policy": "explicit"}});
    asked(&mut a, "$JS.API.CONSUMER.CREATE.S.C", &consumer);
    asked(&mut a, "secret", &json!(1));
    a.send("PUB $JS.API.CONSUMER.MSG.NEXT.S.C r 1\r\n1\r\n");
    let delivered = a.line();
    assert_eq!(a.take(3), b"1\r\n");
    let reply = delivered.split(' ').nth(3).unwrap();
    assert!(reply.starts_with("$JS.ACK.S.C."), "{delivered}");
    let answer = ask(&mut b, reply, "+TERM");
    assert!(answer.starts_with("NATS/1.0 503"), "{answer}");
    let pending = asked(&mut a, "$JS.API.CONSUMER.INFO.S.C", &json!({}));
    assert_eq!(pending["num_ack_pending"], 1);
}
