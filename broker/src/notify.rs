//! What systemd is told of a service of `Type=notify` or `notify-reload`: that it is ready, reads its configuration, or stops.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::time::{ClockId, clock_gettime};

/// Where the service's state is awaited.
const SOCKET: &str = "NOTIFY_SOCKET";

/// A state of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Clients can connect, or the configuration was read.
    Ready,
    /// The configuration is read.
    Reloading,
    /// The server goes down.
    Stopping,
}

/// Tells whoever started the server, if it wants to know.
pub fn tell(state: State) {
    let Some(socket) = std::env::var_os(SOCKET).filter(|socket| !socket.is_empty()) else {
        return;
    };
    if let Err(error) = send(&socket.to_string_lossy(), &message(state)) {
        tracing::warn!("cannot tell {SOCKET} {state:?}: {error}");
    }
}

fn message(state: State) -> String {
    match state {
        State::Ready => format!("READY=1\nMAINPID={}", std::process::id()),
        State::Reloading => {
            let now = clock_gettime(ClockId::Monotonic);
            let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000);
            format!("RELOADING=1\nMONOTONIC_USEC={micros}")
        }
        State::Stopping => "STOPPING=1".to_owned(),
    }
}

/// A path, or with an `@` in front a name without a file.
fn send(socket: &str, text: &str) -> io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests;
