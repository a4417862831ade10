//! Progress on the standard error, where that is a terminal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use weir_engine::store::OpeningProgress;

/// A progress bar that flashes up for a moment is only noise.
const AFTER: Duration = Duration::from_millis(500);

/// A bar for one thing after the other, each of which has a name and is counted in the same unit.
#[derive(Clone)]
pub struct Bar {
    began: Instant,
    bar: ProgressBar,
    template: Arc<str>,
}

impl Bar {
    /// One that does not show yet; `unit` is the plural of what is counted.
    pub fn counting(unit: &str) -> Self {
        Self::with(format!(
            "{{msg}} {{wide_bar}} {{human_pos}}/{{human_len}} {unit}, {{eta}}"
        ))
    }

    /// One for bytes.
    pub fn bytes() -> Self {
        Self::with("{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta}".to_owned())
    }

    fn with(template: String) -> Self {
        Self {
            began: Instant::now(),
            bar: ProgressBar::hidden(),
            template: template.into(),
        }
    }

    /// How far the thing of that name is.
    pub fn show(&self, name: &str, done: u64, of: u64) {
        if self.began.elapsed() < AFTER {
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
