use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[derive(Default)]
struct Letters(Vec<char>, Arc<AtomicUsize>);

#[derive(Default)]
struct Numbers(Vec<u64>);

impl Tray for Letters {
    fn submit(&mut self) {
        self.1.fetch_add(self.0.drain(..).count(), Ordering::Relaxed);
    }
}

impl Tray for Numbers {
    fn submit(&mut self) {
        self.0.clear();
    }
}

#[test]
fn each_part_of_the_server_has_one_tray_of_its_own() {
    let mut work = Work::default();
    let submitted = Arc::clone(&work.of::<Letters>().1);
    work.of::<Letters>().0.push('a');
    work.of::<Numbers>().0.push(7);
    work.of::<Letters>().0.push('b');
    assert_eq!(work.of::<Letters>().0, ['a', 'b']);
    assert_eq!(work.of::<Numbers>().0, [7]);
    work.submit();
    assert_eq!(submitted.load(Ordering::Relaxed), 2);
    assert!(work.of::<Letters>().0.is_empty() && work.of::<Numbers>().0.is_empty());
}
