//! Verbs of links.

use super::{Dialect, LinkError};

/// The operation that a control line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `LS+`
    LeafSub,
    /// `LS-`
    LeafUnsub,
    /// `LMSG`
    LeafMsg,
    /// `RS+`
    RouteSub,
    /// `RS-`
    RouteUnsub,
    /// `RMSG`
    RouteMsg,
    /// `HMSG`
    HeaderMsg,
    /// `A+`
    AccountSub,
    /// `A-`
    AccountUnsub,
    /// `INFO {json}`
    Info,
    /// `CONNECT {json}`
    Connect,
    /// `PING`
    Ping,
    /// `PONG`
    Pong,
    /// `+OK`
    Ok,
    /// `-ERR 'text'`
    Err,
}

impl Verb {
    /// Those of leaf nodes, and behind them those that only routes have.
    const ALL: [(Self, &'static [u8]); 15] = [
        (Self::LeafMsg, b"LMSG"),
        (Self::HeaderMsg, b"HMSG"),
        (Self::LeafSub, b"LS+"),
        (Self::LeafUnsub, b"LS-"),
        (Self::Ping, b"PING"),
        (Self::Pong, b"PONG"),
        (Self::Info, b"INFO"),
        (Self::Connect, b"CONNECT"),
        (Self::Ok, b"+OK"),
        (Self::Err, b"-ERR"),
        (Self::RouteMsg, b"RMSG"),
        (Self::RouteSub, b"RS+"),
        (Self::RouteUnsub, b"RS-"),
        (Self::AccountSub, b"A+"),
        (Self::AccountUnsub, b"A-"),
    ];
    /// How many of them leaf nodes have.
    const OF_LEAFS: usize = 10;

    /// The verb at the start of `buf`, in whatever case, and its length. `None`: what is there so far may become one.
    pub(super) fn read(buf: &[u8], dialect: Dialect) -> Result<Option<(Self, usize)>, LinkError> {
        let known = match dialect {
            Dialect::Leaf => &Self::ALL[..Self::OF_LEAFS],
            Dialect::Route | Dialect::PinnedRoute => &Self::ALL[..],
        };
        let mut may_become = false;
        for &(verb, name) in known {
            let seen = buf.len().min(name.len());
            if buf[..seen].eq_ignore_ascii_case(&name[..seen]) {
                if seen == name.len() {
                    return Ok(Some((verb, seen)));
                }
                may_become = true;
            }
        }
        match may_become {
            true => Ok(None),
            false => Err(LinkError::UnknownOperation),
        }
    }

    /// Whether there must be a blank behind it: `CONNECT{}` and `PINGs` are fine, `LS+a` is not. As nats-server.
    pub(super) fn needs_blank(self) -> bool {
        !matches!(self, Self::Info | Self::Connect | Self::Ping | Self::Pong | Self::Ok)
    }

    /// Whether something stands behind it that is looked at.
    pub(super) fn has_arguments(self) -> bool {
        !matches!(self, Self::Ping | Self::Pong | Self::Ok)
    }

    /// Whether its first argument is the cluster of a leaf node beyond.
    pub(super) fn names_origin(self, dialect: Dialect) -> bool {
        dialect != Dialect::Leaf && matches!(self, Self::LeafSub | Self::LeafUnsub | Self::LeafMsg)
    }
}
