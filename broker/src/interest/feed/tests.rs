use std::collections::BTreeMap;

use super::*;
use crate::interest::far::{Far, standing};
use crate::interest::{Inbound, Origin, Service, Side, Standing, Target, What, Work, may_cross};

struct Deaf;

impl Service for Deaf {
    fn message(&self, _: &Inbound<'_>, _: &mut Work) {}
}

fn local(filter: &str, queue: Option<&str>) -> Subscription {
    let target = Target::Service(Arc::new(Deaf));
    Subscription::new(target, filter.as_bytes(), queue.map(str::as_bytes), b"")
}

/// What another server makes of the lines: each subject, with its group, and the weight.
#[derive(Default)]
struct Known(BTreeMap<String, u32>);

impl Known {
    fn read(&mut self, far: &mut Far) {
        for line in far.read() {
            let mut words = line.split(' ');
            let verb = words.next().unwrap().to_owned();
            let words: Vec<&str> = words.collect();
            let was = match (&*verb, &*words) {
                ("LS+", [subject]) => self.0.insert((*subject).to_owned(), 1),
                ("LS+", [subject, queue, weight]) => {
                    self.0.insert(format!("{subject} {queue}"), weight.parse().unwrap())
                }
                ("LS-", rest) => {
                    assert!(
                        self.0.remove(&rest.join(" ")).is_some(),
                        "{line}: it was not told of that"
                    );
                    None
                }
                _ => panic!("{line}"),
            };
            let is_plain = words.len() == 1;
            assert!(!is_plain || was.is_none(), "{line}: it was told before");
        }
    }
}

#[tokio::test]
async fn one_that_comes_is_told_all_and_then_each_change() {
    let account = Account::new("A", 0);
    let [first, second, member] = [("a.>", None), ("a.>", None), ("w", Some("q"))].map(|(filter, queue)| {
        let subscription = Arc::new(local(filter, queue));
        account.insert(subscription.clone()).unwrap();
        subscription
    });
    account
        .insert(Arc::new(local("$JS.API.STREAM.NAMES", None).quiet()))
        .unwrap();
    let mut far = Far::new(standing(1, Side::Leaf, "", false));
    account.join(&far.peer);
    let mut told = far.read();
    told.sort();
    assert_eq!(told, ["LS+ a.>", "LS+ w q 1"]);
    let another = Arc::new(local("w", Some("q")));
    account.insert(another.clone()).unwrap();
    account
        .insert(Arc::new(local("$JS.API.STREAM.LIST", None).quiet()))
        .unwrap();
    assert_eq!(far.read(), ["LS+ w q 2"]);
    // Its own is not news to it.
    let own = far.wanting("a.>", None);
    account.insert(own.clone()).unwrap();
    assert!(far.read().is_empty());
    assert!(account.remove(&first));
    assert!(far.read().is_empty(), "somebody else wants it still");
    assert!(account.remove(&second) && account.remove(&another) && account.remove(&member));
    assert_eq!(far.read(), ["LS- a.>", "LS+ w q 1", "LS- w q"]);
    account.part(&far.peer);
    assert!(account.remove(&own));
    account.insert(Arc::new(local("late", None))).unwrap();
    assert!(far.read().is_empty() && account.feed.change().is_none());
}

/// A number below `n`.
fn below(state: &mut u64, n: usize) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % n
}

/// Whatever comes and goes, here and there: what each server knows is what there is for it.
#[tokio::test]
async fn what_others_know_is_what_there_is() {
    let filters = ["a", "a.*", ">", "$LDS.x", "b.c"];
    for seed in 0..40 {
        let mut dice = seed;
        let account = Account::new("A", 0);
        let mut number = 0;
        let mut fars: Vec<(Far, Known)> = Vec::new();
        // Each with the server that it is of; `None`: this one.
        let mut all: Vec<(Arc<Subscription>, Option<Standing>)> = Vec::new();
        for _ in 0..150 {
            match below(&mut dice, 10) {
                0 if fars.len() < 5 => {
                    number += 1;
                    let side = [Side::Leaf, Side::Hub][below(&mut dice, 2)];
                    let cluster = ["", "C", "D"][below(&mut dice, 3)];
                    let far = Far::new(standing(number, side, cluster, below(&mut dice, 4) == 0));
                    account.join(&far.peer);
                    fars.push((far, Known::default()));
                }
                1 if !fars.is_empty() => {
                    let (far, _) = fars.swap_remove(below(&mut dice, fars.len()));
                    account.part(&far.peer);
                    all.retain(|(subscription, of)| {
                        let stays = of.as_ref().is_none_or(|of| of.number != far.peer.standing.number);
                        assert!(stays || account.remove(subscription));
                        stays
                    });
                }
                2..=3 if !all.is_empty() => {
                    let (subscription, _) = all.swap_remove(below(&mut dice, all.len()));
                    assert!(account.remove(&subscription));
                }
                4 => {
                    let mut weighed = all.iter().filter(|(of, peer)| of.queue.is_some() && peer.is_some());
                    if let Some((subscription, _)) = weighed.next() {
                        account.reweigh(subscription, below(&mut dice, 4) as u32);
                    }
                }
                _ => {
                    let filter = filters[below(&mut dice, filters.len())];
                    let queue = [None, Some("q"), Some("r")][below(&mut dice, 3)];
                    let far = below(&mut dice, fars.len() + 1);
                    let of = fars.get(far).map(|(far, _)| far.peer.standing.clone());
                    // A server says each of its own but once.
                    let known = |(other, peer): &(Arc<Subscription>, Option<Standing>)| {
                        let same = other.subject[..] == *filter.as_bytes()
                            && other.queue.as_deref() == queue.map(str::as_bytes);
                        same && peer.as_ref().map(|peer| peer.number) == of.as_ref().map(|of| of.number)
                    };
                    if of.is_some() && all.iter().any(known) {
                        continue;
                    }
                    let subscription = match fars.get(far) {
                        Some((far, _)) => far.wanting(filter, queue),
                        None => Arc::new(local(filter, queue)),
                    };
                    if queue.is_some() && of.is_some() {
                        subscription.set_weight(1 + below(&mut dice, 3) as u32);
                    }
                    account.insert(subscription.clone()).unwrap();
                    all.push((subscription, of));
                }
            }
            for (far, known) in &mut fars {
                known.read(far);
                let mut there: BTreeMap<String, u32> = BTreeMap::new();
                for (subscription, of) in &all {
                    let subject = String::from_utf8_lossy(&subscription.subject).into_owned();
                    let what = if subject.starts_with("$LDS.") {
                        What::Loop
                    } else {
                        What::Interest
                    };
                    let origin = of.as_ref().map_or(Origin::Here, Origin::Peer);
                    if !may_cross(origin, &far.peer.standing, what) || subscription.weight() == 0 {
                        continue;
                    }
                    match &subscription.queue {
                        None => drop(there.insert(subject, 1)),
                        Some(queue) => {
                            let key = format!("{subject} {}", String::from_utf8_lossy(queue));
                            *there.entry(key).or_default() += subscription.weight();
                        }
                    }
                }
                assert_eq!(known.0, there, "seed {seed}");
            }
        }
    }
}

/// Four threads change the interest while servers come: none of them misses anything, or hears of it twice.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_while_much_changes_misses_nothing() {
    const ROUNDS: usize = 300;
    let account = Account::new("A", 0);
    let mut fars = Vec::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let account = &account;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let name = format!("{}.{}", ["own", "shared"][round % 2], (thread * (round % 2 + 1)) % 3);
                    let subscription = Arc::new(local(&name, (round % 3 == 0).then_some("q")));
                    account.insert(subscription.clone()).unwrap();
                    if round % 5 != 0 {
                        assert!(account.remove(&subscription));
                    }
                }
            });
        }
        for number in 1..=5 {
            let far = Far::new(standing(number, Side::Leaf, "", false));
            account.join(&far.peer);
            fars.push(far);
            std::thread::yield_now();
        }
    });
    let mut whole = Far::new(standing(9, Side::Leaf, "", false));
    account.join(&whole.peer);
    let mut truth = Known::default();
    truth.read(&mut whole);
    assert!(!truth.0.is_empty());
    for mut far in fars {
        // What a socket did not take at once is written by a thread of the link's.
        let mut known = Known::default();
        for _ in 0..200 {
            known.read(&mut far);
            if known.0 == truth.0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(known.0, truth.0);
    }
}
