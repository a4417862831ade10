//! Listening sockets.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, lookup_host};

use crate::limits::LISTEN_BACKLOG;

/// Opens a listening socket on `host:port`; port 0 takes a free one. The address is the one to tell: that of the host as it
/// was given, with the port that was taken.
pub(crate) async fn listen(host: &str, port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let mut last = None;
    // Without brackets, as names in `getaddrinfo` are.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    for address in lookup_host((name, port)).await? {
        let opened = match address.ip() {
            // All of IPv4 means all there is, as with nats-server; a host without IPv6 refuses that.
            IpAddr::V4(ip) if ip.is_unspecified() => {
                let all = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
                listen_on(all).or_else(|_| listen_on(address))
            }
            _ => listen_on(address),
        };
        match opened.and_then(|listener| Ok((listener.local_addr()?.port(), listener))) {
            Ok((taken, listener)) => return Ok((listener, SocketAddr::new(address.ip(), taken))),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("the host name has no address")))
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // Whatever the host's own setting is.
        socket.set_only_v6(false)?;
    }
    // A server that is started again must not wait for the connections of the one before to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    TcpListener::from_std(socket.into())
}
