//! `idle` and `idle-js`: what a server needs that nobody uses.

use std::thread;
use std::time::Duration;

use super::Target;
use crate::error::{LoadError, Result};
use crate::measure::{Meter, Outcome};

/// From the moment it is ready until memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// Waits and reads memory and processor time.
///
/// # Errors
/// Without a process there is nothing to measure.
pub fn run(target: Target) -> Result<Outcome> {
    if target.pid.is_none() {
        return Err(LoadError::Usage("the idle scenarios need the server's --pid".into()));
    }
    let meter = Meter::start(target.pid)?;
    thread::sleep(SETTLE);
    meter.stop()?.finish(0, None)
}
