//! How large and how old the messages of a stream are.

use std::fmt::Write;
use std::ops::ControlFlow;

use serde::Serialize;
use weir_engine::stream::Stream;
use weir_engine::{Direction, NanoTime, Nanos, Result, SECOND, Seq, Want};

/// The longest bar of a plot, in characters.
const WIDTH: u64 = 40;
const HOUR: Nanos = 3_600 * SECOND;
const DAY: Nanos = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

const SIZES: [(u64, &str); 10] = [
    (16, "16 B"),
    (64, "64 B"),
    (256, "256 B"),
    (KIB, "1 KiB"),
    (4 * KIB, "4 KiB"),
    (16 * KIB, "16 KiB"),
    (64 * KIB, "64 KiB"),
    (256 * KIB, "256 KiB"),
    (MIB, "1 MiB"),
    (u64::MAX, "more"),
];
const AGES: [(Nanos, &str); 10] = [
    (60 * SECOND, "1 min"),
    (600 * SECOND, "10 min"),
    (HOUR, "1 h"),
    (6 * HOUR, "6 h"),
    (DAY, "1 d"),
    (7 * DAY, "7 d"),
    (30 * DAY, "30 d"),
    (90 * DAY, "90 d"),
    (365 * DAY, "1 y"),
    (Nanos::MAX, "more"),
];

/// The messages up to a size or an age, and above that of the bucket before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// The largest that is in it: `256 B`, `1 KiB`; `10 min`, `7 d`; `more` in the last.
    pub up_to: &'static str,
    /// Messages.
    pub messages: u64,
    /// The bytes of their headers and payloads.
    pub bytes: u64,
}

/// How large and how old messages are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Histogram {
    /// By the bytes of headers and payload.
    pub sizes: Vec<Bucket>,
    /// By how long ago they were stored.
    pub ages: Vec<Bucket>,
}

impl Histogram {
    fn empty() -> Self {
        let of = |up_to| Bucket {
            up_to,
            messages: 0,
            bytes: 0,
        };
        Self {
            sizes: SIZES.iter().map(|(_, name)| of(*name)).collect(),
            ages: AGES.iter().map(|(_, name)| of(*name)).collect(),
        }
    }

    fn add(&mut self, bytes: u64, age: Nanos) {
        let size = SIZES
            .iter()
            .position(|(max, _)| bytes <= *max)
            .unwrap_or(SIZES.len() - 1);
        let old = AGES.iter().position(|(max, _)| age <= *max).unwrap_or(AGES.len() - 1);
        for bucket in [&mut self.sizes[size], &mut self.ages[old]] {
            bucket.messages += 1;
            bucket.bytes += bytes;
        }
    }

    /// Two plots.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        for (title, buckets) in [("size", &self.sizes), ("age", &self.ages)] {
            let most = buckets.iter().map(|bucket| bucket.messages).max().unwrap_or(0).max(1);
            let last = buckets
                .iter()
                .rposition(|bucket| bucket.messages > 0)
                .map_or(0, |last| last + 1);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {title}");
            for bucket in &buckets[..last] {
                let width = (bucket.messages * WIDTH).div_ceil(most) as usize;
                let bar = "█".repeat(width);
                let size = humansize::format_size(bucket.bytes, humansize::BINARY);
                let _ = writeln!(text, "  {:>8} {bar:<40} {} ({size})", bucket.up_to, bucket.messages);
            }
        }
        text
    }
}

/// Looks at the heads of all messages of a stream.
pub(super) fn histogram(stream: &Stream, now: NanoTime) -> Result<Histogram> {
    let mut histogram = Histogram::empty();
    let mut failed = None;
    let reader = stream.log_reader();
    reader.scan(0..=Seq::MAX, Want::Heads, Direction::Forward, &mut |entry| {
        match stream.is_live(entry.seq) {
            Ok(true) => histogram.add(u64::from(entry.body_len), now.saturating_sub(entry.time)),
            Ok(false) => {}
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    // Those that only the journal has.
    for seq in stream.live(reader.extent().last + 1, Seq::MAX)? {
        if let Some(message) = stream.message(seq)? {
            let bytes = message.headers.len() + message.payload.len();
            histogram.add(bytes as u64, now.saturating_sub(message.time));
        }
    }
    Ok(histogram)
}
