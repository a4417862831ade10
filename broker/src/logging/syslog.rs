//! The system's log: this machine's, or another's.

use std::io::{self, Write as _};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use jiff::Zoned;

/// Where this machine's log listens; the first that is there is used, as Go does.
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// The facility of daemons.
const DAEMON: u8 = 3 << 3;

/// The facility of programs, which nats-server tells other machines.
const USER: u8 = 0;

/// How long a line to another machine may take; it is lost then.
const PATIENCE: Duration = Duration::from_secs(1);

/// How bad it is, as the system's log counts.
#[derive(Clone, Copy)]
pub(super) enum Severity {
    Critical = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Debug = 7,
}

/// A way to a system's log.
pub(super) struct Syslog {
    way: Way,
    facility: u8,
    tag: String,
    /// The name of this machine, told to others.
    host: Option<String>,
}

enum Way {
    Unix(UnixDatagram),
    Udp(UdpSocket),
    Tcp { address: String, stream: Option<TcpStream> },
}

impl Syslog {
    /// This machine's.
    pub(super) fn local() -> io::Result<Self> {
        let mut last = None;
        for path in LOCAL {
            match unix(path) {
                Ok(way) => return Ok(Self::new(way, DAEMON, None)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }

    /// Another machine's: `udp://host:port`, `tcp://host:port` or `unix:///path`.
    pub(super) fn remote(url: &str) -> io::Result<Self> {
        let wrong = || {
            io::Error::other(format!(
                "{url:?} is not udp://host:port, tcp://host:port or unix:///path"
            ))
        };
        let (scheme, address) = url.split_once("://").ok_or_else(wrong)?;
        let way = match scheme {
            "udp" => {
                let to = resolve(address)?;
                let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(from)?;
                socket.connect(to)?;
                Way::Udp(socket)
            }
            "tcp" => Way::Tcp {
                address: address.to_owned(),
                stream: Some(connect(address)?),
            },
            "unix" => unix(address)?,
            _ => return Err(wrong()),
        };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(Self::new(way, USER, Some(host)))
    }

    fn new(way: Way, facility: u8, host: Option<String>) -> Self {
        let started_as = std::env::args().next().unwrap_or_default();
        let name = started_as.rsplit('/').next().filter(|name| !name.is_empty());
        Self {
            way,
            facility,
            tag: name.unwrap_or("weir-server").to_owned(),
            host,
        }
    }

    /// Sends one line, in the form that Go's `log/syslog` gives it.
    pub(super) fn put(&mut self, severity: Severity, now: &Zoned, text: &str) -> io::Result<()> {
        let priority = self.facility | severity as u8;
        let head = match &self.host {
            Some(host) => format!("{} {host}", now.strftime("%Y-%m-%dT%H:%M:%S%:z")),
            None => now.strftime("%b %e %H:%M:%S").to_string(),
        };
        let line = format!("<{priority}>{head} {}[{}]: {text}\n", self.tag, std::process::id());
        match &mut self.way {
            Way::Unix(socket) => socket.send(line.as_bytes()).map(drop),
            Way::Udp(socket) => socket.send(line.as_bytes()).map(drop),
            Way::Tcp { address, stream } => {
                let there = match stream.take() {
                    Some(there) => there,
                    None => connect(address)?,
                };
                (&there).write_all(line.as_bytes())?;
                *stream = Some(there);
                Ok(())
            }
        }
    }
}

fn unix(path: &str) -> io::Result<Way> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    // A log that is behind loses lines rather than holding the server up.
    socket.set_nonblocking(true)?;
    Ok(Way::Unix(socket))
}

fn resolve(address: &str) -> io::Result<std::net::SocketAddr> {
    let none = || io::Error::other(format!("{address} has no address"));
    address.to_socket_addrs()?.next().ok_or_else(none)
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&resolve(address)?, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
