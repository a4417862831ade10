use super::*;

/// Three messages published and acknowledged at 1 to 3, one more tried.
fn ledger() -> (Ledger, Vec<(u64, Vec<u8>)>) {
    let mut ledger = Ledger::default();
    let mut stored = Vec::new();
    for sequence in 1..=3 {
        let id = ledger.next(7);
        ledger.published(id, sequence);
        stored.push((sequence, id.payload()));
    }
    ledger.next(7);
    (ledger, stored)
}

fn deliver(ledger: &mut Ledger, sequence: u64) {
    let id = Id {
        publisher: 7,
        counter: sequence - 1,
    };
    ledger.delivered(sequence, &id.payload());
}

fn finds(result: Result<(), String>, what: &str) {
    let report = result.expect_err("the check saw nothing");
    assert!(report.contains(what), "{report}");
}

#[test]
fn a_kept_promise_passes() {
    let (ledger, mut stored) = ledger();
    assert_eq!(ledger.check_stream(1, &stored), Ok(()));
    assert_eq!(ledger.check_stream(2, &stored[1..]), Ok(()));
    stored.push((
        9,
        Id {
            publisher: 7,
            counter: 3,
        }
        .payload(),
    ));
    assert_eq!(
        ledger.check_stream(1, &stored),
        Ok(()),
        "an unacked message may be there"
    );
}

#[test]
fn a_ledger_of_before_excuses_what_was_tried_meanwhile_and_loses_what_was_promised_before() {
    let (mut now, mut stored) = ledger();
    let mut before = now.clone();
    let id = now.next(7);
    now.published(id, 4);
    stored.push((4, id.payload()));
    finds(before.check_stream(1, &stored), "never sent");
    before.excuse_tries_of(&now);
    assert_eq!(before.check_stream(1, &stored), Ok(()));
    assert_eq!(before.check_stream(1, &stored[..3]), Ok(()));
    finds(before.check_stream(1, &stored[..2]), "LOST");
    before.forget_below(3);
    assert_eq!((before.promised_from(1), before.tried_count()), (1, 5));
}

#[test]
fn a_lost_message_is_found() {
    let (ledger, mut stored) = ledger();
    stored.remove(1);
    finds(ledger.check_stream(1, &stored), "LOST: Id { publisher: 7, counter: 1 }");
}

#[test]
fn a_message_stored_twice_is_found() {
    let (ledger, mut stored) = ledger();
    stored.push((4, stored[2].1.clone()));
    finds(ledger.check_stream(1, &stored), "stored twice, at 3 and 4");
}

#[test]
fn a_changed_byte_is_found() {
    let (ledger, mut stored) = ledger();
    *stored[1].1.last_mut().expect("a payload") ^= 1;
    finds(ledger.check_stream(1, &stored), "sequence 2 has bytes nobody sent");
}

#[test]
fn a_message_under_another_sequence_is_found() {
    let (ledger, mut stored) = ledger();
    stored[2].0 = 4;
    finds(ledger.check_stream(1, &stored), "LOST");
    let (ledger, mut stored) = self::ledger();
    let (second, third) = (stored[1].1.clone(), stored[2].1.clone());
    (stored[1].1, stored[2].1) = (third, second);
    finds(ledger.check_stream(1, &stored), "was promised at 2, where");
}

#[test]
fn a_message_nobody_sent_is_found() {
    let (ledger, mut stored) = ledger();
    stored.push((
        4,
        Id {
            publisher: 7,
            counter: 4,
        }
        .payload(),
    ));
    finds(ledger.check_stream(1, &stored), "never sent");
}

#[test]
fn a_reused_sequence_is_found() {
    let (mut ledger, stored) = ledger();
    let id = ledger.next(8);
    ledger.published(id, 2);
    finds(
        ledger.check_stream(1, &stored),
        "sequence 2 was Id { publisher: 7, counter: 1 } and then",
    );
}

#[test]
fn a_message_that_was_read_and_is_gone_later_is_found() {
    let (mut ledger, mut stored) = ledger();
    stored.push((
        4,
        Id {
            publisher: 7,
            counter: 3,
        }
        .payload(),
    ));
    ledger.served(4, &stored[3].1);
    assert_eq!(ledger.check_stream(1, &stored), Ok(()));
    finds(ledger.check_stream(1, &stored[..3]), "LOST");
}

#[test]
fn an_ack_floor_that_forgot_or_skipped_is_found() {
    let (mut ledger, _) = ledger();
    for sequence in 1..=3 {
        deliver(&mut ledger, sequence);
        ledger.ack_sent(sequence);
    }
    ledger.ack_confirmed(1);
    ledger.ack_confirmed(2);
    assert_eq!(ledger.check_consumer(2), Ok(()));
    assert_eq!(ledger.check_consumer(3), Ok(()), "3 was sent, and may have arrived");
    finds(ledger.check_consumer(1), "all up to 2 was confirmed");
    finds(ledger.check_consumer(4), "nobody acked 4");
}

#[test]
fn a_delivery_after_a_confirmed_ack_is_found() {
    let (mut ledger, _) = ledger();
    deliver(&mut ledger, 1);
    ledger.ack_sent(1);
    ledger.ack_confirmed(1);
    deliver(&mut ledger, 1);
    finds(ledger.check_consumer(1), "sequence 1 delivered after");
}

#[test]
fn a_message_never_delivered_is_found() {
    let (mut ledger, _) = ledger();
    deliver(&mut ledger, 1);
    deliver(&mut ledger, 3);
    finds(ledger.check_all_delivered(3), "sequence 2 never delivered");
}
