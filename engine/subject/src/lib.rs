//! Subjects, filters and what matches what: the leaf that all of Weir stands on.
//!
//! ```
//! use std::ops::ControlFlow;
//! use weir_subject::{Sublist, SubjectTree, Transform, matches};
//!
//! // Does a filter match a subject?
//! assert!(matches(b"orders.*.created", b"orders.eu.created"));
//!
//! // Who wants a message? Filters to values, for routing.
//! let mut interest = Sublist::new();
//! let all = interest.insert(b"orders.>", "audit").unwrap();
//! interest.insert(b"orders.eu.*", "warehouse").unwrap();
//! let mut receivers = Vec::new();
//! interest.matches(b"orders.eu.created", &mut |name| receivers.push(*name));
//! receivers.sort_unstable();
//! assert_eq!(receivers, ["audit", "warehouse"]);
//! interest.remove(all);
//! assert!(!interest.has_interest(b"orders.us.created"));
//!
//! // What is known about each subject? Subjects to values, in order, searched by filter.
//! let mut counts = SubjectTree::new();
//! *counts.get_or_insert_with(b"orders.us", || 0) += 1;
//! *counts.get_or_insert_with(b"orders.eu", || 0) += 2;
//! let mut seen = Vec::new();
//! let _: ControlFlow<()> = counts.for_each_match(b"orders.*", |subject, count| {
//!     seen.push((subject.to_vec(), *count));
//!     ControlFlow::Continue(())
//! });
//! assert_eq!(seen, [(b"orders.eu".to_vec(), 2), (b"orders.us".to_vec(), 1)]);
//!
//! // How is a subject renamed?
//! let shard = Transform::new(b"orders.*", b"shard.{{partition(3,1)}}.$1").unwrap();
//! assert_eq!(shard.apply(b"orders.eu", 0).as_deref(), Some(&b"shard.2.eu"[..]));
//! ```
//!
//! Subjects are bytes (`&[u8]`) as they come off the wire, with no demand that they be UTF-8. There is no I/O, no
//! clock, no thread and no shared state in this crate; nothing here is `unsafe`.

#![forbid(unsafe_code)]

mod filter;
mod name;
mod sublist;
mod transform;
mod tree;

#[cfg(test)]
mod naive;

pub use filter::{is_subset, matches, overlaps};
pub use name::{
    REST, SEPARATOR, STAR, has_wildcard, is_literal, is_literal_as_sent, is_valid_subject, token_count, tokens,
};
pub use sublist::{SubKey, Sublist, SublistError};
pub use transform::{Transform, TransformError, check_mapping, number_wildcards, placeholders};
pub use tree::SubjectTree;
