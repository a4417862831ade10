//! What servers say to each other: leaf nodes, and routes of a cluster. Bytes in, operations out, as for clients.
//!
//! ```
//! use weir_wire::link::{Dialect, Head, Op, Parser, Queue, Queues, Step, Sub, encode};
//!
//! // A leaf node wants `orders.>` in a queue group of three; then it sends a message to a member of `audit` as well.
//! let mut out = Vec::new();
//! let sub = Sub {
//!     queue: Some(Queue { name: b"workers", weight: 3 }),
//!     ..Sub::new(b"orders.>")
//! };
//! encode::sub(&mut out, Dialect::Leaf, &sub);
//! let head = Head {
//!     queues: Queues::of(&[b"audit"]),
//!     ..Head::new(b"orders.eu")
//! };
//! encode::msg(&mut out, Dialect::Leaf, &head, b"", b"hello");
//! assert_eq!(out, b"LS+ orders.> workers 3\r\nLMSG orders.eu | audit 5\r\nhello\r\n");
//!
//! let mut parser = Parser::new(Dialect::Leaf);
//! let Step::Op { op, consumed } = parser.next(&out)? else { panic!("it is all there") };
//! assert_eq!(op, Op::Sub(sub));
//! let Step::Op { op, .. } = parser.next(&out[consumed..])? else { panic!("it is all there") };
//! assert_eq!(op, Op::Msg { head, headers: b"", payload: b"hello" });
//! # Ok::<(), weir_wire::link::LinkError>(())
//! ```
//!
//! The verbs are nats-server 2.15.1's, as seen on the wire; which arguments they have depends on the [`Dialect`]:
//!
//! | what | leaf | route |
//! | --- | --- | --- |
//! | interest | `LS+ subject [queue weight]` | `RS+ [account] subject [queue weight]` |
//! | no more of it | `LS- subject [queue]` | `RS- [account] subject [queue]` |
//! | of a leaf node beyond | | `LS+ origin [account] …`, `LS- origin [account] …` |
//! | message | `LMSG subject … size` | `RMSG [account] subject … size` |
//! | with headers | `HMSG subject … headers size` | `HMSG [account] subject … headers size` |
//! | from a leaf node beyond | | `LMSG origin [account] subject … headers size`, 0 without headers |
//!
//! Behind a message's subject stands nothing, `reply`, `+ reply queue…` or `| queue…`. With queues, the receiver gives the message to one
//! member of each of them beside those who are in none; without, to nobody who is in one. `INFO`, `CONNECT`, `PING`, `PONG`, `+OK` and
//! `-ERR` stand on a link as they do for clients, their JSON unparsed. Routes may say `A+ account` and `A- account`, of which servers of
//! today make nothing.

pub mod encode;
mod error;
mod glance;
mod message;
mod parser;
mod place;
mod queues;
mod verb;

pub use error::LinkError;
pub use parser::{Parser, Step};
pub use queues::Queues;
pub use verb::Verb;

/// Largest control line on a link unless it is configured otherwise, in bytes, the verb not counted: sixteen times that of a client,
/// since a line may name accounts and queues. As nats-server.
pub const DEFAULT_MAX_CONTROL_LINE: usize = 16 * crate::DEFAULT_MAX_CONTROL_LINE;

/// The largest weight of a queue that a line can hold.
pub const MAX_WEIGHT: u32 = 999_999_999;

/// Which kind of link it is, and so which arguments verbs have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A leaf node: one account on each side, which no line names.
    Leaf,
    /// A route that several accounts share: lines name theirs.
    Route,
    /// A route of one account, which no line names.
    PinnedRoute,
}

impl Dialect {
    /// Whether lines name an account.
    fn names_account(self) -> bool {
        self == Self::Route
    }
}

/// One operation of the peer. All slices borrow from the buffer that was given to [`Parser::next`]; none of the words is empty, and none
/// holds blanks, CR or LF: whether they are subjects is for the caller to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op<'a> {
    /// It wants messages, or has as many members of a queue now.
    Sub(Sub<'a>),
    /// It wants no more of them.
    Unsub(Unsub<'a>),
    /// A message.
    Msg {
        /// Where it goes.
        head: Head<'a>,
        /// The header block as it was sent: not checked; empty if there is none.
        headers: &'a [u8],
        /// The body, which stands right behind the header block in the buffer.
        payload: &'a [u8],
    },
    /// `A+`
    AccountSub {
        /// The account.
        account: &'a [u8],
    },
    /// `A-`
    AccountUnsub {
        /// The account.
        account: &'a [u8],
    },
    /// What the peer says of itself, and later of what has changed.
    Info {
        /// The JSON text, unparsed; empty if there was none.
        json: &'a [u8],
    },
    /// Who the peer is, and how it proves that.
    Connect {
        /// The JSON text, unparsed; empty if there was none.
        json: &'a [u8],
    },
    /// Asks for a PONG.
    Ping,
    /// Answers a PING.
    Pong,
    /// `+OK`
    Ok,
    /// `-ERR`
    Err {
        /// The text, with its quotes.
        text: &'a [u8],
    },
}

/// Interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sub<'a> {
    /// On a route: the cluster of the leaf node that it is of, if it is of one.
    pub origin: Option<&'a [u8]>,
    /// The account, where lines name one.
    pub account: Option<&'a [u8]>,
    /// What to receive; may hold wildcards.
    pub subject: &'a [u8],
    /// The queue whose members it is of.
    pub queue: Option<Queue<'a>>,
}

impl<'a> Sub<'a> {
    /// Interest of whoever is in no queue.
    #[must_use]
    pub fn new(subject: &'a [u8]) -> Self {
        Self {
            origin: None,
            account: None,
            subject,
            queue: None,
        }
    }
}

/// A queue, and how much of it is behind the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its members there, in place of what was said before. 0, and what is no number: none that is ever chosen, as in nats-server.
    pub weight: u32,
}

/// The end of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsub<'a> {
    /// On a route: the cluster of the leaf node that it was of, if it was of one.
    pub origin: Option<&'a [u8]>,
    /// The account, where lines name one.
    pub account: Option<&'a [u8]>,
    /// What was to be received.
    pub subject: &'a [u8],
    /// The queue whose members it was of.
    pub queue: Option<&'a [u8]>,
}

impl<'a> Unsub<'a> {
    /// The end of interest of whoever is in no queue.
    #[must_use]
    pub fn new(subject: &'a [u8]) -> Self {
        Self {
            origin: None,
            account: None,
            subject,
            queue: None,
        }
    }
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// On a route: the cluster of the leaf node that it came from, if it came from one.
    pub origin: Option<&'a [u8]>,
    /// The account, where lines name one.
    pub account: Option<&'a [u8]>,
    /// Where to.
    pub subject: &'a [u8],
    /// Where an answer should go.
    pub reply: Option<&'a [u8]>,
    /// Of which queues the receiver gives it to a member.
    pub queues: Queues<'a>,
}

impl<'a> Head<'a> {
    /// To whoever is in no queue, and without a reply.
    #[must_use]
    pub fn new(subject: &'a [u8]) -> Self {
        Self {
            origin: None,
            account: None,
            subject,
            reply: None,
            queues: Queues::default(),
        }
    }
}
