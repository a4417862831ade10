use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::account::Service;

#[derive(Default)]
struct Counter(AtomicUsize);

impl Service for Counter {
    fn message(&self, _: &Inbound<'_>, _: &mut Tray) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

const MESSAGE: Outgoing<'_> = Outgoing {
    subject: b"s",
    reply: b"",
    headers: b"",
    payload: b"",
    from: None,
    echo: true,
    chunk: None,
};

fn join(account: &Account, queue: Option<&str>) -> Arc<Counter> {
    let counter = Arc::new(Counter::default());
    let target = Target::Service(counter.clone());
    let subscription = Subscription::new(target, b"s", queue.map(str::as_bytes), b"");
    account.insert(Arc::new(subscription)).unwrap();
    counter
}

#[test]
fn each_group_and_each_plain_subscription_gets_one() {
    let account = Account::new("A");
    let plain = join(&account, None);
    // Members of a group do not come one after the other.
    let groups: Vec<Vec<Arc<Counter>>> = (0..3).map(|_| Vec::new()).collect();
    let groups = (0..12).fold(groups, |mut groups, n| {
        groups[n % 3].push(join(&account, Some(["b", "a", "c"][n % 3])));
        groups
    });
    let mut router = Router::default();
    for _ in 0..200 {
        assert_eq!(router.route(&account, b"s", &MESSAGE, &mut Tray::default()), 4);
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
    let account = Account::new("A");
    for n in 0..GROUPS {
        join(&account, Some(&format!("group-{n}")));
    }
    let mut router = Router::default();
    let begin = Instant::now();
    assert_eq!(router.route(&account, b"s", &MESSAGE, &mut Tray::default()), GROUPS);
    assert!(begin.elapsed() < Duration::from_secs(5));
}
