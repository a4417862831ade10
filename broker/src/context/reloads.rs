//! Wishes that the configuration be read again, from those who cannot do it themselves.

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

/// A wish, and where it is said what came of it.
pub type Wish = oneshot::Sender<Result<(), String>>;

/// The way to whoever reads the configuration: the one that obeys signals.
pub struct Reloads {
    sender: mpsc::Sender<Wish>,
    receiver: Mutex<Option<mpsc::Receiver<Wish>>>,
}

impl Default for Reloads {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(1);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
        }
    }
}

impl Reloads {
    /// What is wished for; only the first who asks gets it.
    pub fn take(&self) -> Option<mpsc::Receiver<Wish>> {
        self.receiver.lock().take()
    }

    /// Has the configuration read again, and waits until that is done. Not for an async worker.
    ///
    /// # Errors
    /// Why all stays as it was.
    pub fn wish(&self) -> Result<(), String> {
        let nobody = || "this server does not read its configuration again".to_owned();
        if self.receiver.lock().is_some() {
            return Err(nobody());
        }
        let (wish, outcome) = oneshot::channel();
        self.sender.blocking_send(wish).map_err(|_| nobody())?;
        outcome.blocking_recv().map_err(|_| nobody())?
    }
}
