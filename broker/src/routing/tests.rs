use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::interest::Service;
use crate::limits::MATCH_SLOTS_MIN;

#[derive(Default)]
struct Counter(AtomicUsize);

impl Service for Counter {
    fn message(&self, _: &Inbound<'_>, _: &mut Work) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The same of one that only keeps what it is told.
#[derive(Default)]
struct Hearer(AtomicUsize);

impl Service for Hearer {
    fn message(&self, _: &Inbound<'_>, _: &mut Work) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn only_hears(&self) -> bool {
        true
    }
}

const MESSAGE: Outgoing<'_> = Outgoing {
    message: Message {
        subject: b"s",
        reply: b"",
        headers: b"",
        payload: b"",
    },
    from: None,
    echo: true,
    chunk: None,
    via: None,
    journey: None,
    asks: true,
    origin: Origin::Here,
    groups: Groups::All,
};

fn join(account: &Account, queue: Option<&str>) -> Arc<Counter> {
    listen(account, "s", queue)
}

fn listen(account: &Account, filter: &str, queue: Option<&str>) -> Arc<Counter> {
    let counter = Arc::new(Counter::default());
    let target = Target::Service(counter.clone());
    let subscription = Subscription::new(target, filter.as_bytes(), queue.map(str::as_bytes), b"");
    account.insert(Arc::new(subscription)).unwrap();
    counter
}

#[test]
fn each_group_and_each_plain_subscription_gets_one() {
    let account = Account::new("A", 0);
    let plain = join(&account, None);
    // Members of a group do not come one after the other.
    let groups: Vec<Vec<Arc<Counter>>> = (0..3).map(|_| Vec::new()).collect();
    let groups = (0..12).fold(groups, |mut groups, n| {
        groups[n % 3].push(join(&account, Some(["b", "a", "c"][n % 3])));
        groups
    });
    let mut router = Router::default();
    for _ in 0..200 {
        assert_eq!(router.route(&account, b"s", &MESSAGE, &mut Work::default()), 4);
    }
    let count = |counter: &Arc<Counter>| counter.0.load(Ordering::Relaxed);
    assert_eq!(count(&plain), 200);
    for group in groups {
        assert_eq!(group.iter().map(count).sum::<usize>(), 200);
        assert!(group.iter().all(|member| count(member) > 0));
    }
}

/// With a search through all groups for each of them, this takes half a minute.
#[test]
fn many_groups_on_one_subject_cost_no_more_each_than_few() {
    const GROUPS: usize = 60_000;
    let account = Account::new("A", 0);
    for n in 0..GROUPS {
        join(&account, Some(&format!("group-{n}")));
    }
    let mut router = Router::default();
    let begin = Instant::now();
    assert_eq!(router.route(&account, b"s", &MESSAGE, &mut Work::default()), GROUPS);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

/// Tokens that nobody looks at make no difference, all others do, also when what is asked for comes and goes.
#[test]
fn what_is_remembered_is_what_the_graph_says() {
    let tokens = ["a", "b", "x", ""];
    let mut subjects = vec![String::new()];
    for depth in 0..4 {
        let longer: Vec<String> = subjects
            .iter()
            .filter(|subject| subject.is_empty() || subject.split('.').count() == depth)
            .flat_map(|subject| tokens.map(|token| format!("{subject}{}{token}", if depth == 0 { "" } else { "." })))
            .collect();
        subjects.extend(longer);
    }
    let account = Account::new("A", 0);
    let mut router = Router::default();
    let filters = [
        "a.>", "a.*", "b.*.*", "a.b.x.*", ">", "*.a.>", "x", "b.b.*.x", "*", "a.*.x.x",
    ];
    for (n, filter) in filters.iter().enumerate() {
        listen(&account, filter, None);
        listen(&account, filter, Some("q"));
        // Forwards and backwards, so that families give way to others.
        let turned = subjects.iter().rev();
        for subject in subjects.iter().chain(turned).chain(subjects.iter().step_by(n + 1)) {
            let mut count = || router.route(&account, subject.as_bytes(), &MESSAGE, &mut Work::default());
            let mut fresh = Router::default();
            let truth = fresh.route(&account, subject.as_bytes(), &MESSAGE, &mut Work::default());
            assert_eq!(count(), truth, "{subject:?} with {:?}", &filters[..=n]);
            assert_eq!(count(), truth, "{subject:?} again");
        }
    }
    assert!(router.cache.families() > 1);
}

#[test]
fn it_is_known_at_once_that_nobody_listens() {
    let account = Account::new("A", 0);
    let mut router = Router::default();
    let unheard = |router: &mut Router, subject: &[u8]| {
        let place = router.find(&account, subject);
        router.is_unheard(place)
    };
    assert!(unheard(&mut router, b"a.b"));
    for (filter, queue) in [("a.b", None), ("c.*", Some("q"))] {
        listen(&account, filter, queue);
    }
    assert!(!unheard(&mut router, b"a.b"));
    assert!(!unheard(&mut router, b"c.1"));
    assert!(unheard(&mut router, b"a.c"));
    // Whether one that may not publish there is heard is not asked.
    router.restrict(Some(Rules::publishing(&["b.>"], &[])));
    assert!(!unheard(&mut router, b"a.c"));
    assert!(unheard(&mut router, b"b.c"));
}

#[test]
fn subjects_are_compared_to_their_last_byte() {
    let subject = b"a.subject.of.some.tokens";
    for len in 0..=subject.len() {
        let (mut other, subject) = (subject[..len].to_vec(), &subject[..len]);
        assert!(matches::are_same(&other, subject));
        for at in 0..len {
            other[at] ^= 1;
            assert!(!matches::are_same(&other, subject), "{at} of {len}");
            other[at] ^= 1;
            assert!(!matches::are_same(&other[..at], subject));
        }
    }
}

/// Acknowledgements, each with a subject of its own, do not drive out what is used again and again.
#[test]
fn subjects_that_are_used_once_take_no_room() {
    let account = Account::new("A", 0);
    listen(&account, "$JS.ACK.S.C.>", None);
    let mut router = Router::default();
    for n in 0..100_000 {
        let subject = format!("$JS.ACK.S.C.1.{n}.{n}.1700000000.0");
        assert_eq!(
            router.route(&account, subject.as_bytes(), &MESSAGE, &mut Work::default()),
            1
        );
    }
    assert_eq!((router.cache.families(), router.cache.slots()), (1, MATCH_SLOTS_MIN));
}

/// A sender that speaks in several accounts gets from each what that one has.
#[test]
fn the_same_subject_of_another_account_is_another_one() {
    let (a, b) = (Account::new("A", 0), Account::new("B", 1));
    let (in_a, in_b) = (listen(&a, "s", None), listen(&b, "*", None));
    let counts = || [&in_a, &in_b].map(|counter| counter.0.load(Ordering::Relaxed));
    let mut router = Router::default();
    let mut work = Work::default();
    for round in 1..=3 {
        assert_eq!(router.route(&a, b"s", &MESSAGE, &mut work), 1);
        assert_eq!(counts(), [round, round - 1]);
        assert_eq!(router.route(&b, b"s", &MESSAGE, &mut work), 1);
        assert_eq!(counts(), [round, round]);
        assert_eq!(router.route(&a, b"t", &MESSAGE, &mut work), 0, "of B's family only");
        router.refresh(&a);
        router.refresh(&b);
    }
}

#[test]
fn a_verdict_goes_with_the_match_and_outlasts_it() {
    let account = Account::new("A", 0);
    let mut router = Router::default();
    router.restrict(Some(Rules::publishing(&["a.*"], &["a.5"])));
    for _ in 0..3 {
        for number in 0..10 {
            let mut permitted = |subject: String| {
                let place = router.find(&account, subject.as_bytes());
                router.is_permitted(place)
            };
            assert_eq!(permitted(format!("a.{number}")), number != 5, "{number}");
            assert!(!permitted(format!("b.{number}")));
        }
        // Only what is there for speed.
        router.forget();
    }
}

#[test]
fn one_that_remembers_nothing_finds_the_same() {
    let account = Account::new("A", 0);
    let mut router = Router::new(true);
    let mut work = Work::default();
    let (one, all) = (listen(&account, "s", None), listen(&account, ">", Some("q")));
    for subject in ["s", "t", "s", "t.u"] {
        let expected = if subject == "s" { 2 } else { 1 };
        assert_eq!(
            router.route(&account, subject.as_bytes(), &MESSAGE, &mut work),
            expected
        );
        router.forget();
    }
    let count = |counter: &Arc<Counter>| counter.0.load(Ordering::Relaxed);
    assert_eq!((count(&one), count(&all)), (2, 4));
    listen(&account, "s", None);
    assert_eq!(router.route(&account, b"s", &MESSAGE, &mut work), 3);
    assert_eq!((router.cache.families(), router.cache.slots()), (0, 1));
}

/// Whatever the subject: what a stream lets out, say, goes where somebody wanted it who may not ask there himself.
#[test]
fn what_nobody_asks_with_reaches_those_that_only_hear() {
    let account = Account::new("A", 0);
    let (asked, heard) = (listen(&account, "s", None), Arc::new(Hearer::default()));
    let target = Target::Service(heard.clone());
    account
        .insert(Arc::new(Subscription::new(target, b"s", None, b"")))
        .unwrap();
    let (mut router, mut work) = (Router::default(), Work::default());
    let told = Outgoing { asks: false, ..MESSAGE };
    assert_eq!(router.route(&account, b"s", &told, &mut work), 1);
    assert_eq!(router.route(&account, b"s", &MESSAGE, &mut work), 2);
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    assert_eq!((count(&asked.0), count(&heard.0)), (1, 2));
}
