//! WebSocket (RFC 6455) as a server speaks it, without sockets: the request that asks for it, and frames.
//!
//! To the client protocol a WebSocket is a stream of bytes: where a frame or a message of WebSocket begins or ends means nothing
//! to it. So nothing is gathered here. What a frame holds is handed on as it arrives, however long the frame says that it
//! will be, and what is compressed comes out in pieces as large as the reader wants them.

mod deflate;
mod frame;
mod origin;
mod upgrade;

pub use deflate::{Deflater, Inflated, Inflater};
pub use frame::{Close, Decoder, FrameError, Item, Opcode, Step, close_payload, frame};
pub use origin::{BadOrigin, Origin};
pub use upgrade::{HEAD_MAX, Head, Refusal, Upgrade, read_head};

/// Status codes of a Close frame that this server sends (RFC 6455, 7.4.1, and IANA's list).
pub mod status {
    /// The connection has done what it was for.
    pub const NORMAL: u16 = 1000;
    /// The server goes down.
    pub const GOING_AWAY: u16 = 1001;
    /// What came is not the protocol.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// What came means nothing: compressed data that is none, say.
    pub const INVALID_PAYLOAD: u16 = 1007;
    /// A rule of the server's forbids the client to go on.
    pub const POLICY: u16 = 1008;
    /// A message is too large.
    pub const TOO_BIG: u16 = 1009;
    /// The server met something that it did not expect.
    pub const INTERNAL: u16 = 1011;
}
