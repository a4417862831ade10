use std::sync::mpsc::channel;

use super::*;

#[test]
fn others_look_in_only_while_something_is_waited_for() {
    let window = Window::new();
    let look = |by: u32| {
        window.look(|number: &mut u32| {
            *number += by;
            Some(*number)
        })
    };
    assert_eq!(look(1), None, "nothing is there");
    let mut held = window.hold(1);
    assert_eq!(look(1), None, "its thread has it");
    assert_eq!(held.let_in(|| look(1)), Some(2));
    assert_eq!(look(1), None, "its thread has it again");
    *held += 5;
    assert_eq!(held.let_in(|| look(1)), Some(8));
    assert_eq!(held.let_in(|| window.look(|_| None::<u32>)), None, "nothing was found");
    drop(held);
    assert_eq!(look(1), None, "it is gone");
}

#[test]
fn what_is_gone_is_gone_while_windows_remain() {
    let shard = Arc::new(());
    let gone = Arc::downgrade(&shard);
    let window = Window::new();
    let held = window.hold(shard);
    assert_eq!(gone.strong_count(), 1);
    drop(held);
    assert_eq!(gone.strong_count(), 0);
    drop(window);
}

#[test]
fn nobody_waits_long_for_another_who_looks_in_and_its_thread_waits_for_all() {
    let window = Window::new();
    let mut held = window.hold(0_u32);
    let (looks, is_looking) = channel();
    let (go_on, goes_on) = channel::<()>();
    let other = window.clone();
    let slow = held.let_in(|| {
        let slow = std::thread::spawn(move || {
            other.look(|number| {
                looks.send(()).unwrap();
                goes_on.recv().unwrap();
                *number += 1;
                Some(())
            })
        });
        is_looking.recv().unwrap();
        assert_eq!(window.look(|_| Some(())), None);
        go_on.send(()).unwrap();
        slow
    });
    assert_eq!(*held, 1, "the look that had begun is over");
    assert_eq!(slow.join().unwrap(), Some(()));
}

#[test]
fn a_panic_of_somebody_who_looks_in_leaves_it_to_its_thread() {
    let window = Window::new();
    let mut held = window.hold(1_u32);
    held.let_in(|| {
        let look = || window.look(|_| -> Option<()> { panic!("on purpose") });
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(look)).is_err());
    });
    *held += 1;
    assert_eq!(held.let_in(|| window.look(|number| Some(*number))), Some(2));
}
