use super::*;
use crate::finding::{Concerned, FindingKind};
use crate::store::{Capacity, Pools};
use crate::stream::Storage;
use crate::stream::settings::Defaults;

fn offline(pools: &Pools, n: u64) -> StreamEntry {
    let config = StreamConfig::default();
    let settings = Settings::of(&config, &Defaults::default()).unwrap();
    StreamEntry {
        id: StreamId(FIRST_STREAM_ID + n),
        shard: crate::ShardId(0),
        account: "$G".into(),
        name: format!("S{n}").into(),
        config,
        settings,
        created: 0,
        stats: pools.stats("$G", Storage::File),
        offline: Some("its log is missing".into()),
        lacks_room: false,
    }
}

fn loss(text: &str) -> Finding {
    Finding {
        kind: FindingKind::Journal,
        found: 1,
        shard: Some(crate::ShardId(0)),
        text: text.to_owned(),
        concerned: vec![Concerned {
            log: FIRST_STREAM_ID,
            account: "$G".to_owned(),
            stream: "LOSER".to_owned(),
            lost: vec![(3, 3), (5, 9)],
        }],
        settled: false,
    }
}

/// While a stream was offline nothing told of what was lost.
#[test]
fn health_names_streams_that_are_offline_and_what_is_lost() {
    let (catalogue, pools) = (Catalogue::default(), Pools::new(Capacity::default()));
    assert_eq!(catalogue.trouble(), None);
    catalogue.add_finding("one", loss("the journal has lost its record 17"));
    catalogue.put(offline(&pools, 0));
    assert_eq!(
        catalogue.trouble().unwrap(),
        "stream S0 of account $G is offline: its log is missing; \
         the journal has lost its record 17; stream LOSER of account $G lost 3, 5 to 9"
    );
    for n in 1..100 {
        catalogue.put(offline(&pools, n));
        catalogue.add_finding(&format!("more{n}"), loss(&"long ".repeat(1000)));
    }
    let text = catalogue.trouble().unwrap();
    assert!(
        text.contains("and 97 more offline streams") && text.ends_with("and 97 more findings"),
        "{text}"
    );
    assert!(text.len() < 2 * (TROUBLES_NAMED + 1) * TROUBLE_BYTES);
}

#[test]
fn what_streams_have_lost_is_counted() {
    let (catalogue, pools) = (Catalogue::default(), Pools::new(Capacity::default()));
    for n in 0..3 {
        let entry = offline(&pools, n);
        entry.stats.set_lost(n);
        catalogue.put(entry);
    }
    assert_eq!((catalogue.lost(), catalogue.offline()), (3, 3));
}

/// From 2^63 on ids are others' to give, and the store counts up its own.
#[test]
fn ids_that_others_give_are_none_of_the_stores() {
    let catalogue = Catalogue::default();
    for id in [StreamId::FIRST_GIVEN.0, u64::MAX] {
        catalogue.seen(StreamId(id));
    }
    catalogue.hide_ids(crate::ShardId::FIRST_ADDED, SKIPPED_IDS);
    catalogue.skip_hidden_ids();
    assert_eq!(catalogue.allocate(), StreamId(FIRST_STREAM_ID));
    catalogue.seen(StreamId(1000));
    assert_eq!(catalogue.allocate(), StreamId(1001));
}
