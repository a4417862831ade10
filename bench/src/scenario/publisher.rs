//! `pub`: core NATS, one publisher as fast as it can, and nobody who subscribes: what a server does with a message alone.
//!
//! As the bodies are looked at by nobody they may be smaller than elsewhere. That the server has read them all is seen by its
//! answer to a PING behind them.

use std::time::Instant;

use super::Target;
use crate::cli::LoadArgs;
use crate::conn::unique;
use crate::encode;
use crate::error::Result;
use crate::measure::{Meter, Outcome};

/// The publisher hands the kernel about this much at a time, bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// Publishes `messages`.
///
/// # Errors
/// See [`super::Scenario::run`].
pub fn run(target: Target, load: &LoadArgs, messages: u64) -> Result<Outcome> {
    let mut conn = target.connect()?;
    let subject = format!("load.{}", unique());
    let body: Vec<u8> = (0..load.size).map(|i| b'a' + (i % 26) as u8).collect();
    let until = Instant::now() + load.time_limit();
    let meter = Meter::start(target.pid)?;
    let mut sent = 0;
    while sent < messages && Instant::now() < until {
        while sent < messages && conn.out.len() < CHUNK_BYTES {
            encode::publish(&mut conn.out, subject.as_bytes(), b"", &body);
            sent += 1;
        }
        conn.flush()?;
        conn.poll_control()?;
    }
    conn.round_trip()?;
    meter.stop()?.finish(sent, None)
}
