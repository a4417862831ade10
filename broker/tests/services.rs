//! Parts of the server in the interest graph, and messages of the server's own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use support::TestServer;
use weir_broker::Courier;
use weir_broker::conf::options::User;
use weir_broker::interest::{Inbound, Service, Work};

/// Keeps everything it gets.
#[derive(Default)]
struct Keeper(Mutex<Vec<Kept>>);

struct Kept {
    subject: Bytes,
    reply: Bytes,
    headers: usize,
    body: Bytes,
    from: Option<u64>,
}

impl Service for Keeper {
    fn message(&self, message: &Inbound<'_>, _: &mut Work) {
        self.0.lock().push(Kept {
            subject: message.own(message.subject),
            reply: message.own(message.reply),
            headers: message.headers.len(),
            body: message.body(),
            from: message.from.map(|client| client.id),
        });
    }
}

#[test]
fn a_client_is_told_who_it_is() {
    let auth = "CONNECT {\"verbose\":false,\"user\":\"ann\",\"pass\":\"secret\"}\r\nPING\r\n";
    let server = TestServer::start(|options| {
        options.server_name = Some("here".into());
        options.auth.users.push(User {
            name: "ann".into(),
            password: "secret".into(),
            ..User::default()
        });
    });
    let mut client = server.connect();
    client.send(auth);
    client.expect("PONG\r\n");
    client.send("SUB in 1\r\nPUB $SYS.REQ.USER.INFO in 0\r\n\r\n");
    assert!(client.line().starts_with("MSG in 1 "));
    let answer: serde_json::Value = serde_json::from_str(&client.line()).unwrap();
    assert_eq!(answer["server"]["name"], "here");
    assert_eq!(
        answer["data"],
        serde_json::json!({"user": "ann", "account": "$G", "account_name": "$G"})
    );
}

#[test]
fn a_service_may_keep_what_it_gets() {
    let server = TestServer::start(|_| {});
    let keeper = Arc::new(Keeper::default());
    let served = server.server.global.serve(b"keep.>", keeper.clone()).unwrap();
    let mut client = server.client();
    client.exchange(
        "PUB keep.a in.x 5\r\nhello\r\nHPUB keep.b 17 19\r\nNATS/1.0\r\nA:b\r\n\r\nhi\r\nPUB keep.c 0\r\n\r\n",
        "",
    );
    // The read buffer is used for other things now; what was kept must not change.
    for _ in 0..50 {
        client.exchange(format!("PUB other 3000\r\n{}\r\n", "z".repeat(3000)), "");
    }
    let kept = keeper.0.lock();
    let seen: Vec<_> = kept
        .iter()
        .map(|kept| (&kept.subject[..], &kept.reply[..], kept.headers, &kept.body[..]))
        .collect();
    assert_eq!(
        seen,
        [
            (&b"keep.a"[..], &b"in.x"[..], 0, &b"hello"[..]),
            (b"keep.b", b"", 17, b"NATS/1.0\r\nA:b\r\n\r\nhi"),
            (b"keep.c", b"", 0, b""),
        ]
    );
    assert!(kept.iter().all(|kept| kept.from.is_some()));
    assert_eq!(served.claim.delivered(), 3);
    drop(kept);
    assert!(server.server.global.remove(&served));
    assert!(!server.server.global.remove(&served));
    client.exchange("PUB keep.a in.x 5\r\nhello\r\n", "");
    assert_eq!(keeper.0.lock().len(), 3);
}

#[test]
fn a_courier_shows_another_subject_than_it_sends_to() {
    let server = TestServer::start(|_| {});
    let keeper = Arc::new(Keeper::default());
    server.server.global.serve(b"deliver.*", keeper.clone()).unwrap();
    let mut client = server.client();
    client.exchange("SUB deliver.here 1\r\n", "");
    let mut courier = Courier::new(Arc::clone(&server.server.global));
    assert!(courier.has_interest(b"deliver.here"));
    assert!(!courier.has_interest(b"nowhere"));
    assert!(courier.send(
        b"deliver.here",
        b"orders.new",
        b"$JS.ACK.x",
        b"NATS/1.0\r\n\r\n",
        b"body"
    ));
    assert!(!courier.send(b"nowhere", b"orders.new", b"", b"", b"body"));
    courier.flush();
    client.expect("HMSG orders.new 1 $JS.ACK.x 12 16\r\nNATS/1.0\r\n\r\nbody\r\n");
    // Dropping sends as well, and a subscription that came meanwhile counts.
    client.exchange("SUB nowhere 2\r\n", "");
    assert!(courier.send(b"nowhere", b"nowhere", b"", b"", b"x"));
    drop(courier);
    client.expect("MSG nowhere 2 1\r\nx\r\n");
    let kept = keeper.0.lock();
    assert_eq!(
        (&kept[0].subject[..], &kept[0].body[..]),
        (&b"deliver.here"[..], &b"NATS/1.0\r\n\r\nbody"[..])
    );
    assert_eq!(kept[0].from, None);
}

#[test]
fn a_watch_hears_of_interest_that_comes_and_goes() {
    let server = TestServer::start(|_| {});
    let account = &server.server.global;
    let changes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&changes);
    account.watch(
        b"push.here",
        (1, "c".into()),
        Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        }),
    );
    let mut client = server.client();
    client.exchange("SUB push.here 1\r\nSUB push.* 2\r\nSUB pull.here 3\r\n", "");
    assert_eq!(changes.load(Ordering::SeqCst), 2);
    client.exchange("UNSUB 1\r\n", "");
    assert_eq!(changes.load(Ordering::SeqCst), 3);
    account.unwatch(b"push.here", &(1, "c".into()));
    client.exchange("UNSUB 2\r\n", "");
    assert_eq!(changes.load(Ordering::SeqCst), 3);
}

#[test]
fn messages_from_many_threads_arrive_in_each_senders_order() {
    const SENDERS: usize = 4;
    const MESSAGES: usize = 20_000;
    let server = TestServer::start(|_| {});
    let mut client = server.client();
    client.exchange("SUB t.* 1\r\n", "");
    let account = &server.server.global;
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            scope.spawn(move || {
                let mut courier = Courier::new(Arc::clone(account));
                let subject = format!("t.{sender}");
                for number in 0..MESSAGES {
                    let body = format!("{number:06}");
                    assert!(courier.send(subject.as_bytes(), subject.as_bytes(), b"", b"", body.as_bytes()));
                    if number % 97 == 0 {
                        courier.flush();
                    }
                }
            });
        }
        let mut next = [0; SENDERS];
        for _ in 0..SENDERS * MESSAGES {
            let line = client.line();
            let sender: usize = line["MSG t.".len()..].split(' ').next().unwrap().parse().unwrap();
            let number: usize = client.line().parse().unwrap();
            assert_eq!(number, next[sender], "sender {sender}");
            next[sender] += 1;
        }
    });
}

/// Memory of this process that belongs to no file, in KiB.
fn anonymous() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_small_message_that_is_kept_keeps_none_of_the_large_ones_beside_it() {
    let server = TestServer::start(|_| {});
    let keeper = Arc::new(Keeper::default());
    server.server.global.serve(b"keep.>", keeper.clone()).unwrap();
    let mut client = server.client();
    let large = format!("PUB other 60000\r\n{}\r\n", "z".repeat(60_000));
    let pair = format!("PUB keep.a in.x 5\r\nhello\r\n{large}");
    client.exchange(large.repeat(100), "");
    let before = anonymous();
    for _ in 0..2000 {
        client.send(&pair);
    }
    client.exchange("", "");
    assert_eq!(keeper.0.lock().len(), 2000);
    // 2,000 times the read buffer would be 128 MiB.
    let more = anonymous().saturating_sub(before);
    assert!(more < 32 << 10, "{more} KiB more");
}
