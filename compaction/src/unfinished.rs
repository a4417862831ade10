//! What is said of a log or a journal that ends in the middle of a write. A crash leaves that, and a last write that was damaged later
//! looks the same: so it is said what it may have cost, which depends on when the streams' messages were answered.

use weir_engine::SECOND;
use weir_engine::stream::settings::Durability;
use weir_engine::{MILLISECOND, ShardId};

/// Streams that one line names, at most.
const NAMED_MAX: usize = 3;

/// A durability, as a stream's metadata says it.
pub fn durability(durability: Durability) -> String {
    match durability {
        Durability::Sync => "sync".to_owned(),
        Durability::Os => "os".to_owned(),
        Durability::Interval(nanos) if nanos % SECOND == 0 => {
            format!("interval:{}s", nanos / SECOND)
        }
        Durability::Interval(nanos) if nanos % MILLISECOND == 0 => {
            format!("interval:{}ms", nanos / MILLISECOND)
        }
        Durability::Interval(nanos) => format!("interval:{nanos}ns"),
    }
}

/// What is said of a stream's log that ends in so many bytes of a write, of a stream with that [`durability`].
pub fn of_log(bytes: &str, durability: &str) -> String {
    let answered = match durability.split_once(':') {
        None if durability == "sync" => String::new(),
        None => format!(", unless the power failed: `{durability}` promises nothing for that"),
        Some((_, within)) => {
            format!(", unless the power failed within {within} of the answer: `{durability}` promises no more")
        }
    };
    format!(
        "its log ends in {bytes} of a write that never finished, or of a last write that is damaged: a server cuts it off; what was \
         answered of it is in the journal, but for bodies of 8 KiB and more{answered}"
    )
}

/// What is said of the journal of a shard. `others` are the streams of the shard the messages of which are answered before they are on disk.
pub fn of_journal(shard: ShardId, bytes: &str, others: &[String]) -> String {
    let answered = match others {
        [] => "nobody was answered for it".to_owned(),
        others => {
            let more = match others.len() > NAMED_MAX {
                true => " and others",
                false => "",
            };
            format!(
                "nobody was answered for it, unless the power failed: of streams that are answered before a sync it may have messages ({}{more})",
                others[..others.len().min(NAMED_MAX)].join(", ")
            )
        }
    };
    format!(
        "the journal of shard {shard} ends in {bytes} of a write that never finished, or of a last write that is damaged: a server cuts it \
         off, and if it never finished {answered}"
    )
}

#[cfg(test)]
mod tests;
