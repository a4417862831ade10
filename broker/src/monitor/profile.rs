//! The profiling port (`prof_port`): what of Go's `net/http/pprof` has a meaning for this process. It tells which threads work, not what
//! they do.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;

use super::{Answer, Query};
use crate::limits::PROFILE_MAX;
use crate::report::Reports;

/// How long the threads are watched if it is not said. As Go.
const TIME: f64 = 30.0;

const INDEX: &str = "/debug/pprof/\n\n\
    profile?seconds=N: which threads the processor worked for in that time\n\
    threads: the threads, what they do now, and how long they have worked\n\n\
    Weir has none of Go's profiles.\n";

/// Makes a page.
pub(super) async fn make(reports: &Arc<Reports>, path: String, query: Query) -> Answer {
    let reports = Arc::clone(reports);
    let made = tokio::task::spawn_blocking(move || page(&reports, &path, &query)).await;
    made.unwrap_or_else(|error| Answer::Text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")))
}

fn page(reports: &Reports, path: &str, query: &Query) -> Answer {
    let text = match path.trim_end_matches('/') {
        "/debug/pprof" => INDEX.to_owned(),
        "/debug/pprof/threads" => reports.stacksz(),
        "/debug/pprof/profile" => match time(query) {
            Some(time) => reports.cpu_profile(time),
            None => return Answer::bad_request("seconds must be a number from 0 to 60\n"),
        },
        _ => return Answer::Text(StatusCode::NOT_FOUND, "Unknown profile\n".to_owned()),
    };
    Answer::Text(StatusCode::OK, text)
}

/// How long to watch.
fn time(query: &Query) -> Option<Duration> {
    let seconds = match query.text("seconds") {
        None => TIME,
        Some(text) => text.parse().ok()?,
    };
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| *time <= PROFILE_MAX)
}
