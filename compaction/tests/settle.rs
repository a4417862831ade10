//! What a server found lost in a store's own bookkeeping is shown until it is settled.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod support;

use support::Fixture;
use weir_backends::root::StoreDir;
use weir_compaction::Error;
use weir_compaction::inspect::{Options, inspect};
use weir_compaction::settle::{Which, settle};
use weir_engine::finding::{Concerned, Finding, FindingKind};
use weir_engine::stream::settings::BackendKind;

#[test]
fn findings_are_shown_until_they_are_settled() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), "segment");
    fixture.work();
    fixture.close();
    let finding = Finding {
        kind: FindingKind::Journal,
        found: 1_700_000_000_000_000_000,
        shard: Some(0),
        text: "the journal of shard 0 has lost its record 17".to_owned(),
        concerned: vec![Concerned {
            log: 256,
            account: "$G".to_owned(),
            stream: "ORDERS".to_owned(),
            lost: vec![(3, 3), (5, 9)],
        }],
    };
    {
        let root = StoreDir::new(folder.path()).open(BackendKind::Segment).unwrap();
        let json = serde_json::to_vec(&finding).unwrap();
        let write = |key: &'static str| (key.into(), Some(json.clone().into()));
        root.kv()
            .put_all(&[write("finding/one"), write("finding/two")])
            .unwrap();
        root.sync().unwrap();
    }
    let look = || inspect(folder.path(), &Options::default()).unwrap();
    let report = look();
    assert_eq!(report.findings.len(), 2);
    assert!(report.is_damaged());
    let text = report.to_text();
    let told = "the journal of shard 0 has lost its record 17; stream ORDERS of account $G lost 3, 5 to 9";
    assert!(text.contains(told), "{text}");
    let unknown = settle(folder.path(), &Which::Keys(vec!["one".to_owned(), "three".to_owned()]));
    assert!(matches!(unknown, Err(Error::NoSuchFinding { .. })), "{unknown:?}");
    assert_eq!(look().findings.len(), 2);
    let settled = settle(folder.path(), &Which::Keys(vec!["two".to_owned()])).unwrap();
    assert_eq!(settled, [told]);
    assert_eq!(look().findings[0].key, "one");
    assert_eq!(settle(folder.path(), &Which::All).unwrap().len(), 1);
    let report = look();
    assert!(!report.is_damaged(), "{:?}", report.problems);
}
