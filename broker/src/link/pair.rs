//! A link for tests, and the socket at its other end.

use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};

use super::{Arrival, Link};
use crate::conf::Options;
use crate::context::Context;

/// A new one of that number, in account A; within a runtime.
pub(crate) fn pair(number: u64) -> (Arc<Link>, TcpStream) {
    static CONTEXT: OnceLock<Arc<Context>> = OnceLock::new();
    let context = CONTEXT.get_or_init(|| Context::new(Options::default()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, address) = listener.accept().unwrap();
    for socket in [&near, &far] {
        socket.set_nonblocking(true).unwrap();
    }
    let near = tokio::net::TcpStream::from_std(near).unwrap();
    let home = context.homes.quietest().unwrap().clone();
    let (link, _) = Link::new(context, home, number, Arrival::Plain(near), address, "A");
    (link, far)
}
