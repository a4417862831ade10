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
        why: "ours says why a consumer sends nothing",
        whole: false,
        is: |_, difference| difference.path == "body.why" && difference.theirs.is_none(),
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
        why: "a stream that never held anything begins at 0 or at 1: ours goes from one to the other when its first_seq \
              is changed, and is as new after a restart",
        whole: false,
        is: |_, difference| {
            let sides = (difference.theirs.as_deref(), difference.ours.as_deref());
            difference.path.ends_with("state.first_seq")
                && matches!(sides, (Some("1"), Some("0")) | (Some("0"), Some("1")))
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
        why: "an unnamed consumer's configuration tells the name that it was given, as nats-server's does after a restart",
        whole: false,
        is: |_, difference| {
            matches!(difference.path.as_str(), "body.config.name" | "body.name") && says(&difference.ours, "\"")
        },
    },
    Known {
        why: "that the origin of a mirror or source is missing is told once it was looked for, sooner or later",
        whole: false,
        is: |_, difference| {
            let absent = |side: &Option<String>| side.as_ref().is_none_or(|said| said.contains("10059"));
            (difference.path.ends_with("mirror.error") || difference.path.ends_with("sources.error"))
                && absent(&difference.theirs)
                && absent(&difference.ours)
        },
    },
    Known {
        why: "an empty list is as good as none for ours; a configuration with one is another for nats-server",
        whole: true,
        is: |operation, difference| {
            operation.kind() == "STREAM.CREATE"
                && operation.to_string().contains("[]")
                && difference.path == "body.error"
                && says(&difference.theirs, "10058")
        },
    },
    Known {
        why: "nats-server's count of what is still to come runs away in some cases: below zero, or it says none and sends \
              another",
        whole: true,
        is: |operation, difference| {
            let pending = |side: &Option<String>| {
                let said = side.as_ref()?.trim_matches('"').rsplit(['.', ' ']).next()?;
                said.parse::<i64>().ok()
            };
            operation.kind() == "CONSUMER.MSG.NEXT"
                && match difference.path.as_str() {
                    "headers" => says(&difference.theirs, "Nats-Pending-Messages: -"),
                    "reply" => pending(&difference.theirs) < pending(&difference.ours),
                    _ => false,
                }
        },
    },
    Known {
        why: "nats-server removes the files of a deleted stream in the background, and on a busy machine cannot make one of \
              that name meanwhile",
        whole: true,
        is: |operation, difference| {
            operation.kind() == "STREAM.CREATE"
                && difference.path == "body.error"
                && says(&difference.theirs, "error creating store for stream")
        },
    },
    Known {
        why: "nats-server finds no last message of all subjects if the very last one was deleted",
        whole: true,
        is: |operation, difference| {
            operation.to_string().contains("\"last_by_subj\":\">\"")
                && (says(&difference.theirs, "10037") || says(&difference.theirs, "404 Message Not Found"))
        },
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
