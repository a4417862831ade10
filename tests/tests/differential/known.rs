//! The differences that are known, each with its reason, and matching nothing else.

use super::compare::Difference;
use super::operation::Operation;

/// A difference that does not fail the test.
struct Known {
    why: &'static str,
    /// Whether it explains the whole reply, and not only the place it is found in.
    whole: bool,
    is: fn(&Operation, &Difference) -> bool,
}

/// Whether `text` is in what nats-server, or ours, says there.
fn says(side: &Option<String>, text: &str) -> bool {
    side.as_ref().is_some_and(|said| said.contains(text))
}

const KNOWN: &[Known] = &[
    Known {
        why: "nats-server's file store finds nothing for multi_last when up_to_seq is beyond its last sequence; its \
              memory store, and ours, find what there is",
        whole: true,
        is: |operation, difference| {
            operation.kind() == "DIRECT.GET"
                && operation.to_string().contains("up_to_seq")
                && says(&difference.theirs, "404 No Results")
        },
    },
    Known {
        why: "nats-server counts sequence 0 as deleted in a stream that never held anything",
        whole: false,
        is: |operation, difference| {
            operation.kind() == "STREAM.INFO"
                && difference.ours.is_none()
                && match difference.path.as_str() {
                    "body.state.deleted" => difference.theirs.as_deref() == Some("[0]"),
                    "body.state.num_deleted" => difference.theirs.as_deref() == Some("1"),
                    _ => false,
                }
        },
    },
    Known {
        why: "a stream that never held anything begins at 0 or at 1: nats-server goes from one to the other when it is \
              purged, ours when its first_seq is changed",
        whole: false,
        is: |_, difference| {
            let sides = (difference.theirs.as_deref(), difference.ours.as_deref());
            difference.path.ends_with("state.first_seq")
                && matches!(sides, (Some("1"), Some("0")) | (Some("0"), Some("1")))
        },
    },
    Known {
        why: "a start time of the year 1, Go's zero time, counts as none with ours",
        whole: true,
        is: |operation, _| {
            operation
                .to_string()
                .contains("\"opt_start_time\":\"0001-01-01T00:00:00Z\"")
        },
    },
    Known {
        why: "nats-server names the consumers that a limit is too small for in any order",
        whole: true,
        is: |_, difference| {
            says(&difference.theirs, "violates consumers") && says(&difference.ours, "violates consumers")
        },
    },
    Known {
        why: "not yet: an unnamed consumer's configuration is told without the name that it was given",
        whole: false,
        is: |_, difference| {
            matches!(difference.path.as_str(), "body.config.name" | "body.name") && says(&difference.ours, "\"")
        },
    },
    Known {
        why: "not yet: priority_timeout alone raises the API level that a consumer needs",
        whole: false,
        is: |operation, difference| {
            operation.to_string().contains("priority_timeout") && difference.path.ends_with("_nats.req.level")
        },
    },
    Known {
        why: "not yet: nobody listens to acks of a consumer that wants none",
        whole: true,
        is: |operation, difference| {
            operation.kind().starts_with("ACK")
                && says(&difference.theirs, "NATS/1.0 503")
                && ["headers", "messages"].contains(&difference.path.as_str())
        },
    },
    Known {
        why: "not yet: the words for a pull request that cannot be read",
        whole: true,
        is: |operation, difference| {
            operation.kind() == "CONSUMER.MSG.NEXT"
                && (says(&difference.theirs, "400 Bad Request - json")
                    || says(&difference.ours, "400 Bad Request - invalid JSON"))
        },
    },
    Known {
        why: "not yet: an ack with words that mean nothing is answered",
        whole: true,
        is: |operation, difference| operation.kind() == "ACK +WHAT" && difference.path == "messages",
    },
    Known {
        why: "not yet: a reset of no consumer is looked at before its JSON is",
        whole: true,
        is: |operation, difference| {
            operation.kind() == "CONSUMER.RESET"
                && difference.path == "messages"
                && says(&difference.theirs, "0 messages")
        },
    },
    Known {
        why: "not yet: the filters of sources and mirrors are checked",
        whole: true,
        is: |_, difference| says(&difference.theirs, "subject filter 'x..y'"),
    },
    Known {
        why: "not yet: a consumer's place moves with the first message when those before it go",
        whole: false,
        is: |operation, difference| {
            let place = ["ack_floor.stream_seq", "delivered.stream_seq", "reset_seq"];
            operation.kind().starts_with("CONSUMER.") && place.iter().any(|path| difference.path.ends_with(path))
        },
    },
    Known {
        why: "not yet: the words for a reset or unpin that cannot be read do not say where",
        whole: false,
        is: |operation, difference| {
            ["CONSUMER.RESET", "CONSUMER.UNPIN"].contains(&operation.kind().as_str())
                && difference.path == "body.error.description"
                && says(&difference.ours, " at offset ")
        },
    },
    Known {
        why: "not yet: how many consumers an account has while some of them are going",
        whole: false,
        is: |operation, difference| operation.kind() == "INFO" && difference.path == "body.consumers",
    },
    Known {
        why: "not yet: the size of some messages that were published to a stream without acks",
        whole: false,
        is: |_, difference| difference.path == "body.state.bytes",
    },
    Known {
        why: "not yet: an ack floor that was raised by a deletion has a time",
        whole: false,
        is: |_, difference| difference.path.ends_with("ack_floor.last_active") && difference.ours.is_none(),
    },
];

/// The differences of a reply that the list does not explain.
pub fn unexplained(operation: &Operation, differences: &[Difference]) -> Vec<Difference> {
    let whole = |known: &&Known| known.whole && differences.iter().any(|difference| (known.is)(operation, difference));
    if let Some(known) = KNOWN.iter().find(whole) {
        // Shown with `--nocapture`.
        eprintln!("{operation}: {}", known.why);
        return Vec::new();
    }
    let explained = |difference: &Difference| KNOWN.iter().any(|known| (known.is)(operation, difference));
    differences
        .iter()
        .filter(|difference| !explained(difference))
        .cloned()
        .collect()
}
