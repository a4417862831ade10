use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::interest::far::{Far, standing};
use crate::interest::{Inbound, Origin, Service, Side};
use crate::link::Message;
use crate::routing::Router;

#[derive(Default)]
struct Counter(AtomicUsize);

impl Service for Counter {
    fn message(&self, _: &Inbound<'_>, _: &mut Work) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Bench {
    account: Arc<Account>,
    router: Router,
    work: Work,
}

impl Bench {
    fn new() -> Self {
        Self {
            account: Account::new("A", 0),
            router: Router::default(),
            work: Work::default(),
        }
    }

    fn far(&self, number: u64, side: Side, cluster: &str) -> Far {
        Far::new(standing(number, side, cluster, false))
    }

    fn wants(&self, far: &Far, filter: &str, queue: Option<(&str, u32)>) -> Arc<Subscription> {
        let subscription = far.wanting(filter, queue.map(|(name, _)| name));
        subscription.set_weight(queue.map_or(1, |(_, weight)| weight));
        self.account.insert(subscription.clone()).unwrap();
        subscription
    }

    fn listen(&self, filter: &str, queue: Option<&str>) -> Arc<Counter> {
        let counter = Arc::new(Counter::default());
        let target = Target::Service(counter.clone());
        let subscription = Subscription::new(target, filter.as_bytes(), queue.map(str::as_bytes), b"");
        self.account.insert(Arc::new(subscription)).unwrap();
        counter
    }

    /// Sends one, and answers how many took it.
    fn send(&mut self, to: &str, change: impl for<'a> FnOnce(&mut Outgoing<'a>)) -> usize {
        let mut outgoing = Outgoing::own(to.as_bytes(), b"hello");
        change(&mut outgoing);
        let taken = self
            .router
            .route(&self.account, to.as_bytes(), &outgoing, &mut self.work);
        self.router.sink.flush();
        taken
    }
}

#[tokio::test]
async fn another_server_gets_a_message_once_with_the_groups_that_it_is_for() {
    let mut bench = Bench::new();
    let (mut one, mut two) = (bench.far(1, Side::Leaf, ""), bench.far(2, Side::Leaf, ""));
    for filter in ["a.*", "a.>", ">"] {
        bench.wants(&one, filter, None);
    }
    bench.wants(&one, "a.>", Some(("q", 3)));
    bench.wants(&two, "a.b", Some(("r", 1)));
    let here = bench.listen("a.b", None);
    assert_eq!(bench.send("a.b", |_| {}), 3);
    assert_eq!(one.read(), ["LMSG a.b | q 5", "hello"]);
    assert_eq!(two.read(), ["LMSG a.b | r 5", "hello"]);
    assert_eq!(here.0.load(Ordering::Relaxed), 1);
    // Nobody wants this one but the first.
    assert_eq!(bench.send("b", |outgoing| outgoing.message.reply = b"r"), 1);
    assert_eq!(
        (one.read(), two.read()),
        (vec!["LMSG b r 5".into(), "hello".into()], vec![])
    );
    // A member here is nearer.
    let member = bench.listen("a.b", Some("q"));
    assert_eq!(bench.send("a.b", |outgoing| outgoing.message.reply = b"r"), 4);
    assert_eq!(one.read(), ["LMSG a.b r 5", "hello"]);
    assert_eq!(two.read(), ["LMSG a.b + r r 5", "hello"]);
    assert_eq!(member.0.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn nothing_goes_back_nor_to_the_cluster_that_it_came_from() {
    let mut bench = Bench::new();
    let mut all = [
        bench.far(1, Side::Leaf, "C"),
        bench.far(2, Side::Leaf, "C"),
        bench.far(3, Side::Hub, "D"),
        bench.far(4, Side::Leaf, ""),
    ];
    for far in &all {
        bench.wants(far, "s", None);
        bench.wants(far, "s", Some(("q", 1)));
    }
    let from = all[0].peer.standing.clone();
    let member = bench.listen("s", Some("q"));
    const Q: &[&[u8]] = &[b"q"];
    for (groups, local) in [(&[][..], 0), (Q, 1)] {
        let before = member.0.load(Ordering::Relaxed);
        let taken = bench.send("s", |outgoing| {
            // It lives as long as the test.
            outgoing.origin = Origin::Peer(Box::leak(Box::new(from.clone())));
            outgoing.groups = Groups::Only(Queues::of(groups));
        });
        assert_eq!(taken, 2 + local);
        assert_eq!(member.0.load(Ordering::Relaxed) - before, local);
        let read: Vec<_> = all.iter_mut().map(Far::read).collect();
        let plain: Vec<String> = vec!["LMSG s 5".into(), "hello".into()];
        assert_eq!(read, [vec![], vec![], plain.clone(), plain]);
    }
}

#[tokio::test]
async fn a_group_goes_to_other_servers_by_how_many_members_they_have() {
    let mut bench = Bench::new();
    let mut all = [
        bench.far(1, Side::Leaf, ""),
        bench.far(2, Side::Leaf, ""),
        bench.far(3, Side::Leaf, ""),
    ];
    let weights = [5, 1, 0];
    let first: Vec<_> = all
        .iter()
        .zip(weights)
        .map(|(far, weight)| bench.wants(far, "s", Some(("q", weight))))
        .collect();
    let mut count = |bench: &mut Bench, messages: usize| {
        let mut seen = BTreeMap::new();
        for _ in 0..messages {
            assert_eq!(bench.send("s", |_| {}), 1);
            for (at, far) in all.iter_mut().enumerate() {
                *seen.entry(at).or_insert(0) += far.read().len() / 2;
            }
        }
        seen.into_values().collect::<Vec<usize>>()
    };
    let seen = count(&mut bench, 300);
    assert_eq!(seen.iter().sum::<usize>(), 300);
    // 250 are to be expected of 300, and 6.5 is the deviation of that.
    assert!((200..=290).contains(&seen[0]) && seen[2] == 0, "{seen:?}");
    // A weight counts from the next message on.
    first[0].set_weight(0);
    assert_eq!(count(&mut bench, 20), [0, 20, 0]);
    first[1].set_weight(0);
    assert_eq!(bench.send("s", |_| {}), 0, "nobody is there");
}

/// What a stream pushes is read as what it was stored under, which stands behind the reply.
#[tokio::test]
async fn the_subject_of_a_stream_message_travels_behind_its_reply() {
    let mut bench = Bench::new();
    let mut far = bench.far(1, Side::Leaf, "");
    bench.wants(&far, "deliver", None);
    for (reply, line) in [
        ("$JS.ACK.S.C.1.1.1.1.0", "LMSG deliver $JS.ACK.S.C.1.1.1.1.0@s.a 5"),
        ("answer", "LMSG deliver answer 5"),
        ("", "LMSG deliver 5"),
    ] {
        let message = Message {
            subject: b"s.a",
            reply: reply.as_bytes(),
            headers: b"",
            payload: b"hello",
        };
        let outgoing = Outgoing::of_server(message);
        assert_eq!(
            bench
                .router
                .route(&bench.account, b"deliver", &outgoing, &mut bench.work),
            1
        );
        bench.router.sink.flush();
        assert_eq!(far.read(), [line, "hello"]);
    }
}

#[tokio::test]
async fn one_that_is_closing_gets_nothing() {
    let mut bench = Bench::new();
    let (one, mut two) = (bench.far(1, Side::Leaf, ""), bench.far(2, Side::Leaf, ""));
    for far in [&one, &two] {
        bench.wants(far, "s", None);
        bench.wants(far, "s", Some(("q", 1)));
    }
    one.peer.link.close(crate::link::CloseReason::ServerShutdown);
    for _ in 0..20 {
        assert_eq!(bench.send("s", |_| {}), 1);
        assert_eq!(two.read(), ["LMSG s | q 5", "hello"]);
    }
}
