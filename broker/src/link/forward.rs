//! What goes out to another server.

use std::sync::Arc;

use weir_wire::link::{Dialect, Head, encode};

use super::{Link, Message, Sink};

impl Link {
    /// Appends a message for another server, which gives it to the queue groups in its head. False if the connection is closing.
    pub(crate) fn forward(self: &Arc<Self>, head: &Head<'_>, message: &Message<'_>, sink: &mut Sink) -> bool {
        let headers = self.headers_for(message);
        let size = headers.len() + message.payload.len();
        self.append_message(size, sink, |buf| {
            buf.reserve(size + head.subject.len() + 64);
            encode::msg(buf, Dialect::Leaf, head, headers, message.payload);
        })
    }
}
