use super::*;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn what_was_put_in_comes_out_in_order() {
    let (sender, inbox) = inbox();
    let mut taken = VecDeque::new();
    inbox.take(&mut taken, Duration::ZERO);
    assert!(taken.is_empty() && inbox.is_empty());
    for number in 0..3 {
        assert_eq!(sender.send(number), Ok(()));
    }
    assert!(!inbox.is_empty());
    inbox.take(&mut taken, LONG);
    assert_eq!(taken, [0, 1, 2]);
    assert_eq!(sender.clone().send(3), Ok(()));
    inbox.take(&mut taken, LONG);
    assert_eq!(taken, [0, 1, 2, 3], "behind what is there");
}

/// No wake-up is lost: each number is sent only after the one before it was taken, so that the taker mostly sleeps.
#[test]
fn a_sleeper_is_woken_by_every_sender() {
    const EACH: usize = 2_000;
    let (sender, inbox) = inbox();
    let (back, answers) = (0..3).map(|_| std::sync::mpsc::channel()).collect::<(Vec<_>, Vec<_>)>();
    let senders = answers.into_iter().enumerate().map(|(who, answers)| {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for number in 0..EACH {
                sender.send((who, number)).unwrap();
                assert_eq!(answers.recv(), Ok(number));
            }
        })
    });
    let senders = senders.collect::<Vec<_>>();
    let (mut taken, mut count) = (VecDeque::new(), 0);
    while count < 3 * EACH {
        inbox.take(&mut taken, LONG);
        assert!(!taken.is_empty(), "a minute without a wake-up");
        for (who, number) in taken.drain(..) {
            back[who].send(number).unwrap();
            count += 1;
        }
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
}

#[test]
fn what_nobody_takes_comes_back_or_is_dropped() {
    let (sender, inbox) = inbox();
    let held = Arc::new(());
    sender.send(held.clone()).unwrap();
    drop(inbox);
    assert_eq!(Arc::strong_count(&held), 1, "dropped with the inbox");
    assert!(sender.send(held).is_err());
}
