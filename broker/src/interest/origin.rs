//! What may go on to another server, by where it came from. The rules of nats-server 2.15, in one place: a message and an interest never go
//! back to where they came from, nor to another server of that one's cluster, and a leaf node does not pass on to one hub what it
//! has of another.

/// How another server stands to this one.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// No two links have the same.
    pub number: u64,
    /// What it is to this server.
    pub side: Side,
    /// The cluster that it is of; empty if it says none.
    pub cluster: Box<str>,
    /// Whether it asked to be told of no interest but that of this server's own clients.
    pub isolated: bool,
}

/// What another server is to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A leaf node of this server's.
    Leaf,
    /// A server that this one is a leaf node of.
    Hub,
}

/// Where something came from.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// A client of this server, or the server itself.
    Here,
    /// Another server.
    Peer(&'a Standing),
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A message.
    Message,
    /// That somebody wants messages.
    Interest,
    /// The subject by which a ring of servers is found out, as an interest: it goes all the way round.
    Loop,
}

/// Whether it may go on to that server.
pub(crate) fn may_cross(origin: Origin<'_>, to: &Standing, what: What) -> bool {
    let Origin::Peer(from) = origin else { return true };
    let one_cluster = !from.cluster.is_empty() && from.cluster == to.cluster;
    if from.number == to.number || one_cluster {
        return false;
    }
    match what {
        What::Message => true,
        What::Interest | What::Loop if to.isolated => false,
        What::Interest => to.side != Side::Hub || from.side == Side::Leaf,
        What::Loop => true,
    }
}

#[cfg(test)]
mod tests;
