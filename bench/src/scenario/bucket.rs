//! A key-value bucket as clients make one: a stream that keeps the newest message of each subject.

use serde_json::json;

use super::stream::Stream;
use crate::cli::LoadArgs;
use crate::conn::{Conn, unique};
use crate::error::Result;

/// Makes a bucket that nobody else uses.
///
/// # Errors
/// What the API says.
pub fn create(conn: &mut Conn, load: &LoadArgs) -> Result<Stream> {
    let id = unique();
    let stream = Stream {
        name: format!("KV_{id}"),
        prefix: format!("$KV.{id}"),
    };
    let shape = json!({
        "max_msgs_per_subject": 1, "discard": "new", "deny_delete": true, "allow_rollup_hdrs": true,
        "duplicate_window": 120_000_000_000u64,
    });
    stream.create_as(conn, load, load.backend, &[], shape)?;
    Ok(stream)
}
