//! Requests at the edges of what nats-server takes: as seen with 2.15.1.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use serde_json::{Value, json};
use support::{JetStreamServer, Raw};
use weir_broker::conf::Options;
use weir_broker::conf::options::Backend;

fn start(change: impl FnOnce(&mut Options)) -> JetStreamServer {
    JetStreamServer::start(Backend::Memory, change)
}

/// The answer to what was sent.
fn answer(client: &mut Raw) -> Value {
    assert!(client.line().starts_with("MSG r 1 "));
    serde_json::from_str(&client.line()).unwrap()
}

fn ask(client: &mut Raw, call: &str, body: &Value) -> Value {
    let body = body.to_string();
    client.send(format!("PUB $JS.API.{call} r {}\r\n{body}\r\n", body.len()));
    answer(client)
}

fn publish(client: &mut Raw, subject: &str, headers: &[(&str, &str)]) {
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let block = format!("NATS/1.0\r\n{lines}\r\n");
    client.send(format!(
        "HPUB {subject} r {} {}\r\n{block}x\r\n",
        block.len(),
        block.len() + 1
    ));
}

fn create(client: &mut Raw, config: &Value) {
    let made = ask(
        client,
        &format!("STREAM.CREATE.{}", config["name"].as_str().unwrap()),
        config,
    );
    assert!(made.get("error").is_none(), "{made}");
}

#[test]
fn a_stream_without_a_limit_has_so_many_consumers() {
    let fixture = start(|options| options.jetstream.limits.default_max_consumers = Some(3));
    let mut client = fixture.client();
    create(&mut client, &json!({"name": "S", "subjects": ["s"]}));
    create(
        &mut client,
        &json!({"name": "T", "subjects": ["t"], "max_consumers": 5}),
    );
    for (stream, most) in [("S", 3), ("T", 5)] {
        for number in 0..=most {
            let name = format!("c{number}");
            let body = json!({"stream_name": stream, "config": {"durable_name": name, "ack_policy": "explicit"}});
            let made = ask(&mut client, &format!("CONSUMER.CREATE.{stream}.{name}"), &body);
            let code = (number == most).then_some(10026);
            assert_eq!(made["error"]["err_code"].as_i64(), code, "{made}");
        }
    }
}

#[test]
fn a_purged_stream_has_a_first_sequence() {
    let fixture = start(|_| {});
    let mut client = fixture.client();
    create(&mut client, &json!({"name": "S", "subjects": ["s"]}));
    let mut first = |purge: Option<Value>| {
        if let Some(purge) = purge {
            ask(&mut client, "STREAM.PURGE.S", &purge);
        }
        ask(&mut client, "STREAM.INFO.S", &json!({}))["state"]["first_seq"].as_u64()
    };
    assert_eq!(first(None), Some(0));
    assert_eq!(first(Some(json!({"filter": "s"}))), Some(0));
    assert_eq!(first(Some(json!({"seq": 1}))), Some(0));
    assert_eq!(first(Some(json!({}))), Some(1));
}

#[test]
fn times_and_lives_beyond_all_bounds_are_taken() {
    let fixture = start(|_| {});
    let mut client = fixture.client();
    create(
        &mut client,
        &json!({"name": "S", "subjects": ["s"], "allow_msg_ttl": true}),
    );
    publish(&mut client, "s", &[("Nats-TTL", "99999999999999999999")]);
    assert_eq!(answer(&mut client)["seq"], 1);
    let body = json!({"stream_name": "S", "config": {"durable_name": "c", "ack_policy": "explicit"}});
    ask(&mut client, "CONSUMER.CREATE.S.c", &body);
    for (until, paused) in [
        ("1600-01-01T00:00:00Z", false),
        ("9999-12-31T23:59:59Z", true),
        ("2300-01-01T00:00:00Z", true),
    ] {
        let told = ask(&mut client, "CONSUMER.PAUSE.S.c", &json!({"pause_until": until}));
        assert_eq!(
            (told.get("error"), &told["paused"]),
            (None, &json!(paused)),
            "{until}: {told}"
        );
        let config =
            json!({"name": "e", "ack_policy": "none", "deliver_policy": "by_start_time", "opt_start_time": until});
        let made = ask(
            &mut client,
            "CONSUMER.CREATE.S.e",
            &json!({"stream_name": "S", "config": config}),
        );
        assert!(made.get("error").is_none(), "{until}: {made}");
        ask(&mut client, "CONSUMER.DELETE.S.e", &json!({}));
    }
}

#[test]
fn a_message_that_only_traces_goes_nowhere() {
    let fixture = start(|_| {});
    let mut client = fixture.client();
    create(&mut client, &json!({"name": "S", "subjects": ["s"]}));
    for only in ["true", "1", "TRUE", "on"] {
        publish(
            &mut client,
            "s",
            &[("Nats-Trace-Dest", "to"), ("Nats-Trace-Only", only)],
        );
    }
    // What is not meant so is a message like any other.
    let others: [&[(&str, &str)]; 4] = [
        &[("Nats-Trace-Only", "true")],
        &[("Nats-Trace-Dest", "to")],
        &[("Nats-Trace-Dest", "to"), ("Nats-Trace-Only", "false")],
        &[("nats-trace-dest", "to"), ("nats-trace-only", "true")],
    ];
    for (seq, headers) in (1..).zip(others) {
        publish(&mut client, "s", headers);
        assert_eq!(answer(&mut client)["seq"], seq, "{headers:?}");
    }
}

#[test]
fn mirrors_and_sources_count_as_consumers_of_the_account() {
    let fixture = start(|_| {});
    let mut client = fixture.client();
    create(&mut client, &json!({"name": "O", "subjects": ["o"]}));
    create(&mut client, &json!({"name": "P", "subjects": ["p"]}));
    create(&mut client, &json!({"name": "M", "mirror": {"name": "O"}}));
    create(
        &mut client,
        &json!({"name": "S", "sources": [{"name": "O"}, {"name": "P"}]}),
    );
    assert_eq!(ask(&mut client, "INFO", &json!({}))["consumers"], 3);
    assert_eq!(
        ask(&mut client, "STREAM.INFO.O", &json!({}))["state"]["consumer_count"],
        0
    );
}

#[test]
fn room_is_looked_for_before_subjects_are() {
    let fixture = start(|options| options.jetstream.max_file = Some(1 << 20));
    let mut client = fixture.client();
    create(&mut client, &json!({"name": "S", "subjects": ["s"]}));
    let both = json!({"name": "T", "subjects": ["s"], "max_bytes": 2 << 20});
    assert_eq!(ask(&mut client, "STREAM.CREATE.T", &both)["error"]["err_code"], 10047);
    let one = json!({"name": "T", "subjects": ["s"]});
    assert_eq!(ask(&mut client, "STREAM.CREATE.T", &one)["error"]["err_code"], 10065);
}

/// Nats-server takes them and waits for another account or domain to answer. Here none will: they were taken, and copied
/// nothing.
#[test]
fn origins_elsewhere_are_refused_and_the_own_domain_is_not() {
    let fixture = start(|options| options.jetstream.domain = Some("hub".into()));
    let mut client = fixture.client();
    create(&mut client, &json!({"name": "O", "subjects": ["o"]}));
    create(&mut client, &json!({"name": "S", "subjects": ["s"]}));
    let external = |api: &str| json!({"name": "O", "external": {"api": api, "deliver": "d"}});
    let mirror = |api: &str| json!({"name": "M", "mirror": external(api)});
    let source = |api: &str| json!({"name": "S", "subjects": ["s"], "sources": [external(api)]});
    for (call, config) in [
        ("STREAM.CREATE.M", mirror("$JS.leaf.API")),
        ("STREAM.CREATE.M", mirror("JS.imported")),
        ("STREAM.CREATE.M", mirror("")),
        ("STREAM.UPDATE.S", source("JS.imported")),
        (
            "STREAM.RESTORE.M",
            json!({"config": mirror("JS.imported"), "state": {}}),
        ),
    ] {
        let error = &ask(&mut client, call, &config)["error"];
        assert_eq!(error["err_code"], 10052, "{call} {error}");
        let text = error["description"].as_str().unwrap();
        assert!(
            text.contains("origin O is in another account or domain") && text.contains("$JS.hub.API"),
            "{text}"
        );
    }
    create(&mut client, &mirror("$JS.hub.API"));
    assert!(
        ask(&mut client, "STREAM.UPDATE.S", &source("$JS.hub.API"))
            .get("error")
            .is_none()
    );
}
