//! Why a consumer sends nothing just now, in words.

use weir_engine::consumer::{Standing, Why};
use weir_engine::json::format_time;
use weir_engine::store::StreamEntry;

/// The reason; `None` if nothing holds it. `standing` is missing where the storage thread could not tell.
pub(super) fn why(entry: &StreamEntry, standing: Option<&Standing>) -> Option<String> {
    if let Some(reason) = &entry.offline {
        return Some(format!("offline: {reason}"));
    }
    let at = |time: &i64| format_time(Some(*time));
    Some(match standing?.why.as_ref()? {
        Why::Paused { until } => format!("paused until {}", at(until)),
        Why::Reading => "reading from disk".to_owned(),
        Why::NoSubscriber => "no interest: nobody is subscribed to its deliver subject".to_owned(),
        Why::NoRequest => "no interest: no pull request waits".to_owned(),
        Why::MaxAckPending { limit } => format!("max ack pending reached: {limit} messages wait for acknowledgement"),
        Why::FlowControl => "flow control: its subscriber has not said that it got what was sent".to_owned(),
        Why::RateLimit { until } => format!("rate limit reached until {}", at(until)),
        Why::Redelivery { until } => format!("waiting for redelivery until {}", at(until)),
        Why::NothingMatches => "nothing matches its filter".to_owned(),
        Why::AllSent => "all messages have been sent".to_owned(),
        Why::NotDue => "the next message is not due yet at the original pace".to_owned(),
    })
}
