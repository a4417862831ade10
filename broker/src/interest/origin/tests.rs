use super::*;
use crate::interest::far::standing;

/// Every combination, beside the rules as they were seen at nats-server's.
#[test]
fn what_may_go_on_to_whom() {
    use Side::{Hub, Leaf};
    use What::{Interest, Loop, Message};
    let everything = |side: Side| {
        ["", "C", "D"]
            .into_iter()
            .flat_map(move |cluster| [false, true].into_iter().map(move |isolated| (side, cluster, isolated)))
    };
    let all: Vec<_> = [Leaf, Hub].into_iter().flat_map(everything).collect();
    let mut seen = 0;
    for &(side, cluster, isolated) in &all {
        let to = standing(1, side, cluster, isolated);
        for what in [Message, Interest, Loop] {
            assert!(may_cross(Origin::Here, &to, what), "what is of here is for all");
            assert!(!may_cross(Origin::Peer(&to), &to, what), "nothing goes back");
            for &(from_side, from_cluster, from_isolated) in &all {
                let from = standing(2, from_side, from_cluster, from_isolated);
                let same = !cluster.is_empty() && cluster == from_cluster;
                let may = match (what, side, from_side) {
                    _ if same => false,
                    (Message, _, _) => true,
                    _ if isolated => false,
                    (Loop, _, _) | (Interest, Leaf, _) | (Interest, Hub, Leaf) => true,
                    (Interest, Hub, Hub) => false,
                };
                let case = format!(
                    "{what:?} of a {from_side:?} in {from_cluster:?} to a {side:?} in {cluster:?}, isolated {isolated}"
                );
                assert_eq!(may_cross(Origin::Peer(&from), &to, what), may, "{case}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 12 * 12 * 3);
}
