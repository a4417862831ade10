//! What authorities say of certificates now (OCSP, RFC 6960): of the [server's](staples), which go with it, and of [clients'](peers).

mod answer;
mod ask;
mod kept;
mod known;
mod peers;
mod staples;
mod subject;

use jiff::Timestamp;

pub(crate) use peers::Peers;
pub(crate) use staples::Staples;

/// Who tells the time.
pub(crate) type Now<'n> = &'n (dyn Fn() -> Timestamp + Send + Sync);

#[cfg(test)]
mod tests;
