//! Requests of the API and direct gets, far more than there is room for, and answers that are made in parts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use serde_json::{Value, json};
use support::{JetStreamServer, Raw};
use weir_broker::conf::Options;
use weir_broker::conf::options::Backend;
use weir_engine::ShardId;

fn start(change: impl FnOnce(&mut Options)) -> JetStreamServer {
    JetStreamServer::start(Backend::Segment, change)
}

/// The next message: its header block and payload.
fn next(client: &mut Raw) -> (String, Vec<u8>) {
    let line = client.line();
    let numbers: Vec<usize> = line.split(' ').filter_map(|part| part.parse().ok()).skip(1).collect();
    let (headers, total) = match (line.starts_with("HMSG"), &numbers[..]) {
        (true, [headers, total]) => (*headers, *total),
        (false, [total]) => (0, *total),
        _ => panic!("{line}"),
    };
    let mut body = client.take(total + 2);
    body.truncate(total);
    let payload = body.split_off(headers);
    (String::from_utf8(body).unwrap(), payload)
}

fn publish(client: &mut Raw, subject: &str, reply: &str, body: &str) {
    client.send(format!("PUB {subject} {reply} {}\r\n{body}\r\n", body.len()));
}

/// The answer to a request of the API.
fn ask(client: &mut Raw, call: &str, body: &Value) -> Value {
    publish(client, &format!("$JS.API.{call}"), "r", &body.to_string());
    serde_json::from_slice(&next(client).1).unwrap()
}

/// A stream with `count` messages on as many subjects.
fn fill(client: &mut Raw, count: usize) {
    let config = json!({"name": "S", "subjects": ["s.*.*"], "allow_direct": true});
    assert!(ask(client, "STREAM.CREATE.S", &config).get("error").is_none());
    let mut all = String::new();
    for number in 0..count {
        all += &format!("PUB s.{}.{number} 1\r\nx\r\n", number % 2);
    }
    client.send(all);
    while ask(client, "STREAM.INFO.S", &json!({}))["state"]["messages"] != json!(count) {}
}

#[test]
fn requests_beyond_the_limit_are_each_told() {
    let fixture = start(|options| options.jetstream.info_queue_limit = Some(4));
    let mut client = fixture.client();
    let requests: String = (0..2000).map(|_| "PUB $JS.API.INFO r 0\r\n\r\n").collect();
    client.send(requests);
    let mut refused = 0;
    for _ in 0..2000 {
        let answer: Value = serde_json::from_slice(&next(&mut client).1).unwrap();
        if let Some(error) = answer.get("error") {
            let told = json!({"code": 429, "err_code": 10167, "description": "too many requests"});
            assert_eq!(error, &told);
            refused += 1;
        }
    }
    assert!(refused > 0);
}

#[test]
fn deletions_that_come_together_are_each_answered() {
    let fixture = start(|_| {});
    let mut client = fixture.client();
    // More than one read begins by itself.
    const COUNT: usize = 400;
    fill(&mut client, COUNT);
    let mut all = String::new();
    let mut delete = |stream: &str, number: usize, body: &str| {
        all += &format!(
            "PUB $JS.API.STREAM.MSG.DELETE.{stream} r.{number} {}\r\n{body}\r\n",
            body.len()
        );
    };
    for number in 0..COUNT {
        // Every message, and each fourth of them once more.
        delete("S", number, &format!("{{\"seq\":{},\"no_erase\":true}}", number + 1));
        if number.is_multiple_of(4) {
            delete("S", COUNT + number, &format!("{{\"seq\":{}}}", number + 1));
        }
    }
    delete("S", 2 * COUNT, "");
    delete("S", 2 * COUNT + 1, "{");
    delete("T", 2 * COUNT + 2, "{\"seq\":1}");
    let sent = COUNT + COUNT / 4 + 3;
    client.send("SUB r.* 7\r\n");
    client.send(all);
    let mut twice = vec![0; COUNT];
    for _ in 0..sent {
        let line = client.line();
        let parts: Vec<&str> = line.split(' ').collect();
        let number: usize = parts[1].strip_prefix("r.").unwrap().parse().unwrap();
        let len: usize = parts[parts.len() - 1].parse().unwrap();
        let mut body = client.take(len + 2);
        body.truncate(len);
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["type"], "io.nats.jetstream.api.v1.stream_msg_delete_response");
        let refused = &answer["error"]["err_code"];
        match number.checked_sub(2 * COUNT) {
            Some(0) => assert_eq!(refused, 10003),
            Some(1) => assert_eq!(refused, 10025),
            Some(_) => assert_eq!(refused, 10059),
            // Of the two that name one message, either may come first, and finds it.
            None if answer["success"] == true => twice[number % COUNT] += 1,
            None => {
                // A hole, or what lies before the first that is left.
                assert!(*refused == 10043 || *refused == 10057, "{answer}");
                assert!(number.is_multiple_of(4), "{answer}");
            }
        }
    }
    assert_eq!(twice, vec![1; COUNT], "each was there once");
    assert_eq!(
        ask(&mut client, "STREAM.INFO.S", &json!({}))["state"]["messages"],
        json!(0)
    );
}

#[test]
fn direct_gets_beyond_the_limit_are_each_told() {
    let fixture = start(|_| {});
    let mut client = fixture.client();
    fill(&mut client, 1);
    const COUNT: usize = 60_000;
    // In one go, so that they come faster than they can be answered, from a client that reads only later.
    let stream = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        use std::io::Write;
        let get = "PUB $JS.API.DIRECT.GET.S.s.0.0 r 0\r\n\r\n";
        (&stream).write_all(get.repeat(COUNT).as_bytes()).unwrap();
    });
    for _ in 0..COUNT {
        let (headers, payload) = next(&mut client);
        let found = headers.contains("Nats-Sequence: 1") && payload == b"x";
        assert!(
            found || headers == "NATS/1.0 429 Too Many Requests\r\n\r\n",
            "{headers}"
        );
    }
    sending.join().unwrap();
}

#[test]
fn a_batch_comes_in_portions_that_nobody_sees() {
    let fixture = start(|_| {});
    let mut client = fixture.client();
    fill(&mut client, 3000);
    publish(&mut client, "$JS.API.DIRECT.GET.S", "r", "{\"seq\":11,\"batch\":2500}");
    for number in 0..2500 {
        let (headers, payload) = next(&mut client);
        let (seq, left, before) = (number + 11, 2989 - number, if number == 0 { 0 } else { number + 10 });
        for header in [
            format!("Nats-Sequence: {seq}\r\n"),
            format!("Nats-Num-Pending: {left}\r\n"),
            format!("Nats-Last-Sequence: {before}\r\n"),
        ] {
            assert!(headers.contains(&header), "{header} in {headers}");
        }
        assert_eq!(payload, b"x");
    }
    let (end, _) = next(&mut client);
    assert_eq!(
        end,
        "NATS/1.0 204 EOB\r\nNats-Num-Pending: 490\r\nNats-Last-Sequence: 2510\r\n\r\n"
    );
}

#[test]
fn the_last_of_very_many_subjects() {
    let fixture = start(|_| {});
    let mut client = fixture.client();
    fill(&mut client, 3000);
    let mut get = |body: Value| {
        publish(&mut client, "$JS.API.DIRECT.GET.S", "r", &body.to_string());
        let mut seqs = Vec::new();
        loop {
            let (headers, _) = next(&mut client);
            match headers.split_once("Nats-Sequence: ") {
                Some((_, seq)) => seqs.push(seq.split_once('\r').unwrap().0.parse::<usize>().unwrap()),
                None => return (seqs, headers.lines().next().unwrap().to_owned()),
            }
        }
    };
    // Most of the filters match nothing.
    let filters: Vec<_> = (2000..12_000).map(|number| format!("s.0.{number}")).collect();
    let (seqs, end) = get(json!({"multi_last": filters}));
    assert!(seqs.into_iter().eq((2001..=3000).step_by(2)));
    assert_eq!(end, "NATS/1.0 204 EOB");
    let too_many = get(json!({"multi_last": ["s.0.*"]}));
    assert_eq!(too_many, (vec![], "NATS/1.0 413 Too Many Results".to_owned()));
    // Overlapping filters find a subject once; what is above the last that counts is not found.
    let (seqs, _) = get(json!({"multi_last": ["s.0.*", "s.0.4", ">", "s.*.5"], "up_to_seq": 6}));
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6]);
    // Most subjects that match have nothing that old.
    assert_eq!(get(json!({"multi_last": [">", "s.0.0"], "up_to_seq": 2})).0, [1, 2]);
    let beyond = get(json!({"multi_last": ["s.0.4"], "up_to_seq": 3001}));
    assert_eq!(beyond, (vec![], "NATS/1.0 404 No Results".to_owned()));
    assert_eq!(get(json!({"multi_last": ["s.0.4"], "up_to_seq": 3000})).0, [5]);
}

#[test]
fn subjects_are_told_a_page_at_a_time() {
    let fixture = start(|_| {});
    let mut client = fixture.client();
    fill(&mut client, 10_000);
    for (filter, offset, total, told) in [
        (">", 0, 10_000, 10_000),
        ("s.1.*", 0, 5000, 5000),
        ("s.1.*", 4998, 5000, 2),
        (">", 10_001, 10_000, 0),
        ("s.0.2", 0, 1, 1),
    ] {
        let answer = ask(
            &mut client,
            "STREAM.INFO.S",
            &json!({"subjects_filter": filter, "offset": offset}),
        );
        let page = [&answer["total"], &answer["offset"], &answer["limit"]];
        assert_eq!(page, [&json!(total), &json!(offset), &json!(100_000)], "{filter}");
        let subjects = answer["state"]["subjects"].as_object();
        assert_eq!(subjects.map_or(0, serde_json::Map::len), told, "{filter} from {offset}");
    }
}

/// More than a slice of each.
#[test]
fn deleted_sequences_and_consumers_of_many_filters_are_told_whole() {
    let fixture = start(|_| {});
    let mut client = fixture.client();
    fill(&mut client, 10_000);
    let purged = ask(&mut client, "STREAM.PURGE.S", &json!({"filter": "s.1.*"}));
    assert_eq!(purged["purged"], 5000);
    let info = ask(&mut client, "STREAM.INFO.S", &json!({"deleted_details": true}));
    let deleted: Vec<u64> = (2..=10_000).step_by(2).collect();
    assert_eq!(
        (&info["state"]["first_seq"], &info["state"]["deleted"]),
        (&json!(1), &json!(deleted))
    );
    let filters: Vec<_> = (0..200).map(|number| format!("s.0.{number}")).collect();
    for number in 0..5 {
        let config = json!({"name": format!("c{number}"), "ack_policy": "explicit", "filter_subjects": filters});
        let body = json!({"stream_name": "S", "config": config});
        let made = ask(&mut client, &format!("CONSUMER.CREATE.S.c{number}"), &body);
        assert!(made.get("error").is_none(), "{made}");
    }
    let list = ask(&mut client, "CONSUMER.LIST.S", &json!({"offset": 1}));
    let names: Vec<_> = list["consumers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].clone())
        .collect();
    assert_eq!(
        (&list["total"], names),
        (&json!(5), vec![json!("c1"), json!("c2"), json!("c3"), json!("c4")])
    );
}

#[test]
fn what_a_storage_thread_does_not_take_is_told() {
    let fixture = start(|options| {
        options.jetstream.shards = Some(1);
        options.jetstream.max_buffered_msgs = Some(1);
    });
    let mut client = fixture.client();
    fill(&mut client, 2);
    for (name, config) in [
        ("pull", json!({"durable_name": "pull", "ack_policy": "explicit"})),
        (
            "push",
            json!({"durable_name": "push", "ack_policy": "none", "deliver_subject": "to"}),
        ),
    ] {
        let body = json!({"stream_name": "S", "config": config});
        let made = ask(&mut client, &format!("CONSUMER.CREATE.S.{name}"), &body);
        assert!(made.get("error").is_none(), "{made}");
    }
    // The storage thread stands still until the end of this is dropped.
    let (wait, waiting) = std::sync::mpsc::channel::<()>();
    let (entered, has_entered) = std::sync::mpsc::channel();
    let jetstream = fixture.server.server.jetstream.get().unwrap();
    jetstream.shard(ShardId(0)).call(
        move |_| {
            entered.send(()).unwrap();
            let _ = waiting.recv();
            Ok(())
        },
        |_| {},
    );
    has_entered.recv().unwrap();
    for number in 0..3 {
        client.send(format!("PUB s.0.{number} 1\r\nx\r\nPING\r\n"));
        client.expect("PONG\r\n");
    }
    publish(&mut client, "s.0.0", "r", "x");
    let (headers, payload) = next(&mut client);
    assert_eq!(headers, "NATS/1.0 429 Too Many Requests\r\n\r\n");
    assert!(String::from_utf8(payload).unwrap().contains("10167"));
    publish(&mut client, "$JS.API.CONSUMER.MSG.NEXT.S.pull", "r", "1");
    assert_eq!(next(&mut client).0, "NATS/1.0 409 Exceeded MaxWaiting\r\n\r\n");
    publish(&mut client, "$JS.ACK.S.pull.1.1.1.1.1", "r", "+ACK");
    assert!(next(&mut client).0.starts_with("NATS/1.0 503"));
    publish(&mut client, "$JS.ACK.S.pull.1.1.1.1.1", "r", "+NXT");
    assert_eq!(next(&mut client).0, "NATS/1.0 409 Exceeded MaxWaiting\r\n\r\n");
    // Somebody subscribes to the consumer's messages meanwhile.
    let mut receiver = fixture.server.client();
    receiver.send("SUB to 1\r\nPING\r\n");
    receiver.expect("PONG\r\n");
    drop(wait);
    // The two that were stored before, and two of the three.
    for seq in 1..=4 {
        let line = receiver.line();
        assert!(line.contains(&format!("$JS.ACK.S.push.1.{seq}.")), "{line}");
        receiver.line();
    }
}

#[test]
fn so_many_backups_are_made_at_once() {
    let fixture = start(|_| {});
    let mut client = fixture.client();
    fill(&mut client, 1);
    let jetstream = fixture.server.server.jetstream.get().unwrap();
    let places = &jetstream.snapshots;
    let all = u32::try_from(places.available_permits()).unwrap();
    let mut backup = || ask(&mut client, "STREAM.SNAPSHOT.S", &json!({"deliver_subject": "nobody"}));
    let taken = places.try_acquire_many(all).unwrap();
    assert_eq!(backup()["error"]["err_code"], 10023);
    drop(taken);
    assert!(backup().get("error").is_none());
    assert_eq!(all, 32);
}

#[test]
fn a_storage_thread_that_has_ended_is_told_as_such() {
    let fixture = start(|options| options.jetstream.shards = Some(1));
    let mut client = fixture.client();
    fill(&mut client, 1);
    let body = json!({"stream_name": "S", "config": {"durable_name": "c", "ack_policy": "explicit"}});
    ask(&mut client, "CONSUMER.CREATE.S.c", &body);
    let jetstream = fixture.server.server.jetstream.get().unwrap();
    let shard = jetstream.shard(ShardId(0));
    assert!(shard.submit(vec![weir_engine::shard::Input::Abandon]).is_ok());
    // What is handed over before it sees that gets no answer; what comes after it has gone is given back.
    while shard.submit(Vec::new()).is_ok() {
        std::thread::yield_now();
    }
    publish(&mut client, "s.0.0", "r", "x");
    let refused: Value = serde_json::from_slice(&next(&mut client).1).unwrap();
    assert_eq!(refused["error"]["err_code"], 10077, "{refused}");
    assert_eq!(refused["error"]["description"], "a storage thread has ended");
    publish(&mut client, "$JS.API.CONSUMER.MSG.NEXT.S.c", "r", "1");
    assert_eq!(next(&mut client).0, "NATS/1.0 409 Server Shutdown\r\n\r\n");
    let info = ask(&mut client, "STREAM.INFO.S", &json!({}));
    assert_eq!(info["error"]["code"], 500, "{info}");
    let deletion = ask(&mut client, "STREAM.MSG.DELETE.S", &json!({"seq": 1}));
    assert_eq!(deletion["error"]["err_code"], 10057, "{deletion}");
}

#[test]
fn what_a_storage_thread_has_for_many_reaches_each_in_order() {
    const CLIENTS: usize = 20;
    let fixture = start(|_| {});
    let mut publisher = fixture.client();
    fill(&mut publisher, 0);
    // They live on all threads for connections; every acknowledgement goes to each of them, and that is more than are written to at once.
    let mut listeners: Vec<Raw> = (0..CLIENTS).map(|_| fixture.server.client()).collect();
    for client in &mut listeners {
        client.exchange("SUB acks 1\r\n", "");
    }
    for number in 0..100 {
        publish(&mut publisher, &format!("s.0.{number}"), "acks", "x");
        if number % 10 == 0 {
            // A turn of its own, perhaps.
            ask(&mut publisher, "STREAM.INFO.S", &json!({}));
        }
    }
    for client in &mut listeners {
        for seq in 1..=100 {
            let ack: Value = serde_json::from_slice(&next(client).1).unwrap();
            assert_eq!(ack["seq"], seq);
        }
    }
}
