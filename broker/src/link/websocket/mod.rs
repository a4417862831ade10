//! A link by WebSocket: the same bytes as by a plain socket, in frames.
//!
//! Frames are made on the link's own thread, or, if they are small, on another one for connections. Control frames stand between
//! them, so whoever writes looks at what is waiting of those; the [way in](incoming), which is where pings come, writes their answers
//! itself while nobody else writes.

mod incoming;
mod raw;
pub(super) mod upgrade;

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use weir_wire::websocket::{Deflater, Opcode, close_payload, frame, status};

use super::CloseReason;
use super::transport::Sent;
use crate::limits::{COMPRESS_MIN, FRAME_MAX};
pub(super) use incoming::Incoming;
use raw::{RawIn, RawOut};

thread_local! {
    /// No message needs another, so that all links of a thread share what compresses them.
    static DEFLATER: RefCell<Deflater> = RefCell::default();
}

/// The way out. Shared with the way in.
pub(crate) struct Outgoing {
    socket: RawOut,
    compression: bool,
    state: Mutex<State>,
}

/// What is on its way.
#[derive(Default)]
struct State {
    /// Frames that the socket has not taken whole.
    frames: Vec<u8>,
    /// Bytes of those that it took.
    sent: usize,
    /// Bytes of the link that they hold.
    hold: usize,
    /// A control frame that waits for the end of these; only the last counts (RFC 6455, 5.5.3).
    control: Vec<u8>,
    /// A Close frame was sent, or cannot be any more: nothing follows it.
    closed: bool,
}

impl Outgoing {
    fn new(socket: RawOut, compression: bool) -> Arc<Self> {
        Arc::new(Self {
            socket,
            compression,
            state: Mutex::default(),
        })
    }

    /// Sends as much as goes without waiting, if frames may be made `here`.
    pub fn send_now(&self, bytes: &[u8], here: bool) -> Sent {
        if !here {
            return Sent::Later;
        }
        match self.try_write(bytes) {
            Ok(sent) => Sent::Some(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Later,
            Err(_) => Sent::Failed,
        }
    }

    /// Waits until a part of a frame with the first of `bytes` is on its way. Returns how many of them are, once the frame is: 0
    /// before that, and it is to be called again with the same.
    pub async fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.socket.writable().await?,
                done => return done,
            }
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // Behind the answer to a ping may be room for a frame.
        if state.hold == 0 {
            let payload = &bytes[..bytes.len().min(FRAME_MAX)];
            state.add(payload, self.compression);
        }
        self.push(&mut state)
    }

    /// Writes what the socket takes. Returns how many bytes of the link are out with it.
    fn push(&self, state: &mut State) -> io::Result<usize> {
        loop {
            state.sent += self.socket.try_write(&state.frames[state.sent..])?;
            if state.sent < state.frames.len() {
                return Ok(0);
            }
            state.frames.clear();
            state.sent = 0;
            if state.control.is_empty() {
                break;
            }
            state.frames = std::mem::take(&mut state.control);
        }
        // Frames are large, and what comes next may be long in coming.
        state.frames = Vec::new();
        Ok(std::mem::take(&mut state.hold))
    }

    /// Answers a ping.
    fn pong(&self, payload: &[u8]) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        state.control.clear();
        frame(&mut state.control, Opcode::Pong, false, payload);
        if state.frames.is_empty() {
            state.frames = std::mem::take(&mut state.control);
            // What it does not take now waits for `poll_control` or the next frame; an error shows when reading.
            let _ = self.push(&mut state);
        }
    }

    /// Goes on with answers to pings, if nobody else writes, or has the task woken when that goes.
    fn poll_control(&self, context: &mut Context<'_>) {
        loop {
            {
                let state = self.state.lock();
                if state.hold != 0 || state.frames.is_empty() {
                    return;
                }
            }
            // An error shows when reading.
            let Poll::Ready(Ok(())) = self.socket.poll_write_ready(context) else {
                return;
            };
            match self.push(&mut self.state.lock()) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    }

    /// Says that nothing follows, unless that was said or the beginning of a frame is out.
    fn say_close(&self, payload: &[u8]) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.closed, true) || state.sent != 0 {
            return;
        }
        let mut close = Vec::new();
        frame(&mut close, Opcode::Close, false, payload);
        self.socket.say_last(&close);
    }

    /// Says why, and ends both ways at once; whoever waits for one of them is woken by it.
    pub fn hang_up(&self, reason: Option<CloseReason>) {
        let reason = reason.unwrap_or(CloseReason::ClientClosed);
        self.say_close(&close_payload(code(reason), reason.text()));
        self.socket.hang_up(!reason.is_abrupt());
    }
}

impl State {
    /// Adds a frame.
    fn add(&mut self, payload: &[u8], compression: bool) {
        self.hold = payload.len();
        if !compression || payload.len() <= COMPRESS_MIN {
            return frame(&mut self.frames, Opcode::Binary, false, payload);
        }
        let mut deflated = Vec::new();
        DEFLATER.with_borrow_mut(|deflater| deflater.deflate(payload, &mut deflated));
        frame(&mut self.frames, Opcode::Binary, true, &deflated);
    }
}

/// The status of a Close frame.
fn code(reason: CloseReason) -> u16 {
    match reason {
        CloseReason::ClientClosed => status::NORMAL,
        CloseReason::AuthenticationTimeout
        | CloseReason::AuthenticationFailure
        | CloseReason::SlowConsumerPendingBytes
        | CloseReason::SlowConsumerWriteDeadline
        | CloseReason::StaleConnection
        | CloseReason::MaxConnectionsExceeded
        | CloseReason::MaxControlLineExceeded => status::POLICY,
        CloseReason::ParseError | CloseReason::ProtocolViolation | CloseReason::BadClientProtocolVersion => {
            status::PROTOCOL_ERROR
        }
        CloseReason::MaxPayloadExceeded => status::TOO_BIG,
        CloseReason::ServerShutdown => status::GOING_AWAY,
        _ => status::INTERNAL,
    }
}
