use std::sync::mpsc::{Sender, channel};

use super::*;

/// Tells which one it is, and whether it was done at home.
struct Note {
    number: usize,
    home: Home,
    done: Sender<(usize, bool)>,
}

impl Errand for Note {
    fn run(self: Arc<Self>) {
        self.done.send((self.number, self.home.is_here())).unwrap();
    }
}

#[test]
fn what_is_left_is_done_at_home_in_order_for_one_wake_up() {
    let (_stop, stopped) = watch::channel(false);
    let home = start(0, stopped).unwrap();
    let (done, told) = channel();
    let leave = |number| {
        let (home, done) = (home.clone(), done.clone());
        home.clone().leave(Arc::new(Note { number, home, done }))
    };
    for round in 0..2 {
        assert_eq!(
            [0, 1, 2].map(leave),
            [true, false, false],
            "round {round}: only the first one wakes it"
        );
        home.wake();
        let all: Vec<_> = told.iter().take(3).collect();
        assert_eq!(all, [(0, true), (1, true), (2, true)]);
    }
    assert!(!home.is_here());
}

#[test]
fn nothing_is_kept_for_a_thread_that_has_ended() {
    let (stop, stopped) = watch::channel(false);
    let home = start(0, stopped).unwrap();
    let (done, told) = channel();
    let note = Arc::new(Note {
        number: 0,
        home: home.clone(),
        done,
    });
    let errand = || Arc::clone(&note) as Arc<dyn Errand>;
    assert!(home.leave(errand()));
    stop.send(true).unwrap();
    // Not woken, so that what is left is kept until the thread ends.
    while Arc::strong_count(&note) > 1 {
        std::thread::yield_now();
        home.leave(errand());
    }
    assert!(!home.leave(errand()));
    assert_eq!(Arc::strong_count(&note), 1);
    assert!(told.try_recv().is_err());
}
