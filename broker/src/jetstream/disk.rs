//! Reading what a disk has to be waited for: off the storage threads, which go on meanwhile, and off the async workers.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use weir_engine::stream::{Message, Moment, Unread};

/// Reads that are with the disk at once, of all clients together.
const AT_ONCE: usize = 16;
/// Into how many of these what is asked for together is divided.
const SHARED: usize = 8;

/// The reads that clients wait for.
pub struct Disk(Arc<Semaphore>);

impl Default for Disk {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Disk {
    /// Waits until messages are in memory.
    pub async fn fetch(&self, all: Vec<Unread>) {
        self.each(all, |unread| unread.fetch()).await;
    }

    /// Waits until what has to be looked at to find times is in memory.
    pub async fn seek(&self, all: Vec<Moment>) {
        self.each(all, Moment::fetch).await;
    }

    /// Reads messages, in their order; `None` for those that the stream has to be asked for once more.
    pub async fn read(&self, all: Vec<Unread>) -> Vec<Option<Message>> {
        self.each(all, |unread| unread.read())
            .await
            .into_iter()
            .map(Option::flatten)
            .collect()
    }

    /// Has something done with each; `None` where that panicked.
    async fn each<U, T>(&self, all: Vec<U>, work: fn(&U) -> T) -> Vec<Option<T>>
    where
        U: Clone + Send + 'static,
        T: Send + 'static,
    {
        let part = all.len().div_ceil(SHARED).max(1);
        let mut begun: Vec<(usize, JoinHandle<Vec<T>>)> = Vec::new();
        for part in all.chunks(part) {
            // The semaphore is never closed.
            let place = Arc::clone(&self.0).acquire_owned().await.ok();
            let part = part.to_vec();
            let count = part.len();
            let reading = tokio::task::spawn_blocking(move || {
                let _place = place;
                part.iter().map(work).collect()
            });
            begun.push((count, reading));
        }
        let mut done = Vec::with_capacity(all.len());
        for (count, reading) in begun {
            match reading.await {
                Ok(part) => done.extend(part.into_iter().map(Some)),
                Err(error) => {
                    tracing::error!("reading messages: {error}");
                    done.extend((0..count).map(|_| None));
                }
            }
        }
        done
    }
}
