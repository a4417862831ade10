//! Progress on the standard error: a bar where that is a terminal, and else a line every few seconds.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use weir_engine::store::OpeningProgress;

/// A progress bar that flashes up for a moment is only noise.
const AFTER: Duration = Duration::from_millis(500);

/// Where there is no terminal, somebody may wait all the same: so often a line comes.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Whether lines are not wanted: the standard error has JSON alone.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// For a command that says in JSON what goes wrong: no lines between that.
pub fn be_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// A bar for one thing after the other, each of which has a name and is counted in the same unit.
#[derive(Clone)]
pub struct Bar {
    began: Instant,
    bar: ProgressBar,
    template: Arc<str>,
    unit: Unit,
    /// Where the standard error is no terminal: the milliseconds from the beginning to the next line.
    next_line: Option<Arc<AtomicU64>>,
}

/// What is counted.
#[derive(Clone)]
enum Unit {
    /// Things that are called so, if there are several.
    Things(Arc<str>),
    Bytes,
}

impl Bar {
    /// One that does not show yet; `unit` is the plural of what is counted.
    pub fn counting(unit: &str) -> Self {
        let template = format!("{{msg}} {{wide_bar}} {{human_pos}}/{{human_len}} {unit}, {{eta}}");
        Self::with(template, Unit::Things(unit.into()))
    }

    /// One for bytes.
    pub fn bytes() -> Self {
        let template = "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta}".to_owned();
        Self::with(template, Unit::Bytes)
    }

    fn with(template: String, unit: Unit) -> Self {
        let first = LINE_EVERY.as_millis() as u64;
        Self {
            began: Instant::now(),
            bar: ProgressBar::hidden(),
            template: template.into(),
            unit,
            next_line: (!io::stderr().is_terminal()).then(|| Arc::new(AtomicU64::new(first))),
        }
    }

    /// How far the thing of that name is.
    pub fn show(&self, name: &str, done: u64, of: u64) {
        if self.began.elapsed() < AFTER {
            return;
        }
        if let Some(next) = &self.next_line {
            if !IS_QUIET.load(Ordering::Relaxed) && is_due(next, self.began.elapsed()) {
                // If the standard error is closed nobody is there to be told.
                let _ = writeln!(io::stderr(), "weir: {}", self.unit.line(name, done, of));
            }
            return;
        }
        if self.bar.message() != name {
            if let Ok(style) = ProgressStyle::with_template(&self.template) {
                self.bar.set_style(style);
            }
            self.bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            self.bar.set_message(name.to_owned());
            self.bar.reset_eta();
        }
        self.bar.set_length(of);
        self.bar.set_position(done);
    }

    /// Shows what it is told.
    pub fn teller(&self) -> OpeningProgress {
        let bar = self.clone();
        Arc::new(move |name, done, of| bar.show(name, done, of))
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Whether the next line is due so long after the beginning; the one behind it is [`LINE_EVERY`] later. Of several threads that ask, one is
/// told so.
fn is_due(next: &AtomicU64, elapsed: Duration) -> bool {
    let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let due = next.load(Ordering::Relaxed);
    let behind = now.saturating_add(LINE_EVERY.as_millis() as u64);
    now >= due
        && next
            .compare_exchange(due, behind, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
}

impl Unit {
    /// How far the thing of that name is, in words. Of some things it is not known how much they are: these are done up to the end always.
    fn line(&self, name: &str, done: u64, of: u64) -> String {
        match (self, done < of) {
            (Self::Things(unit), true) => format!("{name}: {} of {} {unit}", HumanCount(done), HumanCount(of)),
            (Self::Things(unit), false) => format!("{name}: {} {unit}", HumanCount(done)),
            (Self::Bytes, true) => format!("{name}: {} of {}", HumanBytes(done), HumanBytes(of)),
            (Self::Bytes, false) => format!("{name}: {}", HumanBytes(done)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_a_line_comes_every_five_seconds() {
        let next = AtomicU64::new(LINE_EVERY.as_millis() as u64);
        let lines = (0..200).filter(|n| is_due(&next, Duration::from_millis(n * 100)));
        assert_eq!(lines.collect::<Vec<_>>(), [50, 100, 150]);
        // One that tells nothing for long has no lines owed.
        assert!(is_due(&next, Duration::from_secs(60)));
        assert!(!is_due(&next, Duration::from_secs(61)));
    }

    #[test]
    fn a_line_says_how_far_it_is() {
        let things = Unit::Things("messages".into());
        assert_eq!(
            things.line("ORDERS", 1200, 5_000_000),
            "ORDERS: 1,200 of 5,000,000 messages"
        );
        assert_eq!(things.line("ORDERS", 1200, 0), "ORDERS: 1,200 messages");
        assert_eq!(
            Unit::Bytes.line("copying", 1 << 20, 3 << 30),
            "copying: 1.00 MiB of 3.00 GiB"
        );
        assert_eq!(Unit::Bytes.line("a.tar", 5, 5), "a.tar: 5 B");
    }
}
