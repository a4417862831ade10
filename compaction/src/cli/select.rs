//! Which messages of a stream.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use weir_compaction::dump::Options;
use weir_engine::json::parse_time;
use weir_engine::{NanoTime, Seq};

#[derive(Args)]
pub struct Select {
    /// Only messages of subjects that match; may be given several times
    #[arg(long, value_name = "FILTER", value_parser = parse_filter)]
    subject: Vec<String>,
    /// Only these sequences: 17, 17..40, 17.. or ..40
    #[arg(long, value_name = "A..B", value_parser = parse_range)]
    seq: Option<(Seq, Seq)>,
    /// Only messages stored at that time or later: 2026-11-27T21:00:00Z, or so long ago: 90m, 24h
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    since: Option<NanoTime>,
    /// Only messages stored before that time
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    until: Option<NanoTime>,
}

impl Select {
    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        self.subject.is_empty() && self.seq.is_none() && self.since.is_none() && self.until.is_none()
    }

    /// The one sequence that is asked for, if nothing else says which messages.
    pub fn lone(&self) -> Option<Seq> {
        let others = !self.subject.is_empty() || self.since.is_some() || self.until.is_some();
        self.seq.filter(|(from, to)| from == to && !others).map(|(seq, _)| seq)
    }

    /// The messages of that stream.
    pub fn of(self, stream: &str, account: Option<String>) -> Options {
        let (from, to) = self.seq.unwrap_or((1, Seq::MAX));
        Options {
            account,
            subjects: self.subject,
            from,
            to,
            since: self.since,
            until: self.until,
            ..Options::of(stream)
        }
    }
}

fn parse_filter(text: &str) -> Result<String, String> {
    match weir_compaction::dump::check_filter(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(why) => Err(format!("{why}; filters are orders.eu, orders.* or orders.>")),
    }
}

fn parse_range(text: &str) -> Result<(Seq, Seq), String> {
    let number = |text: &str, default: Seq| match text {
        "" => Ok(default),
        text => text.parse().map_err(|_| format!("{text:?} is no sequence")),
    };
    let (from, to) = match text.split_once("..") {
        Some((from, to)) => (number(from, 1)?, number(to.trim_start_matches('='), Seq::MAX)?),
        None => (number(text, 0)?, number(text, 0)?),
    };
    match from >= 1 && from <= to {
        true => Ok((from, to)),
        false => Err("sequences are 17, 17..40, 17.. or ..40".to_owned()),
    }
}

fn parse_moment(text: &str) -> Result<NanoTime, String> {
    if let Ok(ago) = weir_duration::parse(text) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = NanoTime::try_from(since.as_nanos()).unwrap_or(NanoTime::MAX);
        return Ok(now.saturating_sub(ago));
    }
    match parse_time(text) {
        Ok(Some(time)) => Ok(time),
        _ => Err("a time is 2026-11-27T21:00:00Z, or how long ago: 90m, 24h".to_owned()),
    }
}
