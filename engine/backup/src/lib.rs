//! The formats of a stream's backup. Two are S2 streams: today's archive, as nats-server writes it since 2.15, is written
//! and read; the tar of its files that it wrote before is read. The third is [lines] of JSON, for people and their tools.
//!
//! Nothing here waits for anything: a [`Writer`] is asked for what it has so far, a [`Decoder`] is given what came, in pieces
//! of any size.

#![forbid(unsafe_code)]

mod archive;
mod consumers;
mod decoder;
pub mod lines;
mod pack;
mod reading;
mod tar;
mod unpack;

pub use archive::{BackupConsumer, BackupState, ConsumerState, MessageLimits, Pending, Writer, check_message};
pub use consumers::Consumers;
pub use decoder::{Contents, Decoder, Plan, Step};
pub use reading::{Begun, Reading};
pub use unpack::IDENTIFIED as S2_IDENTIFIED;
