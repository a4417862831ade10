use super::*;

fn consumer(ack_policy: AckPolicy) -> Consumer {
    Consumer::new(ConsumerSnapshot {
        config: ConsumerConfig {
            ack_policy,
            ..ConsumerConfig::default()
        },
        ..ConsumerSnapshot::default()
    })
}

#[test]
fn the_floor_follows_the_oldest_that_is_not_acknowledged() {
    let mut consumer = consumer(AckPolicy::Explicit);
    consumer.delivered(1, &[3, 5, 9]);
    consumer.delivered(4, &[3]);
    assert_eq!(consumer.report().ack_pending, 3);
    assert_eq!(consumer.report().redelivered, 1);
    consumer.acked(&[3]);
    let report = consumer.report();
    assert_eq!((report.ack_pending, report.redelivered), (2, 0));
    assert_eq!(report.ack_floor.stream_seq, 4);
    assert_eq!(report.delivered.consumer_seq, 4);
    consumer.forget_all_but(&BTreeSet::new());
    assert_eq!(consumer.report().ack_floor, consumer.report().delivered);
}

#[test]
fn without_acknowledgements_all_is_done_when_sent() {
    let mut consumer = consumer(AckPolicy::None);
    consumer.delivered(1, &[1, 2]);
    let report = consumer.report();
    assert_eq!(report.ack_pending, 0);
    assert_eq!(report.ack_floor, report.delivered);
    assert_eq!(report.delivered.stream_seq, 2);
}
