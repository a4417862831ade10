//! Progress on the standard error, where that is a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar that flashes up for a moment is only noise.
pub const BAR_AFTER: Duration = Duration::from_millis(500);

/// Progress in bytes.
pub struct ByteBar {
    what: &'static str,
    began: Instant,
    bar: Option<ProgressBar>,
}

impl ByteBar {
    /// Of something that is called so.
    pub fn new(what: &'static str) -> Self {
        Self {
            what,
            began: Instant::now(),
            bar: None,
        }
    }

    /// So many bytes of so many are done.
    pub fn show(&mut self, done: u64, of: u64) {
        if self.bar.is_none() && self.began.elapsed() < BAR_AFTER {
            return;
        }
        let what = self.what;
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(of).with_message(what);
            let template = "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta}";
            match ProgressStyle::with_template(template) {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        bar.set_length(of);
        bar.set_position(done);
    }

    /// Takes it away.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
