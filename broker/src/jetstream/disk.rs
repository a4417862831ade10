//! Reading what a disk has to be waited for: off the storage threads, which go on meanwhile, and off the async workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use weir_engine::stream::{Message, Moment, Unread};

/// Reads that are with the disk at once, of all clients together.
const AT_ONCE: usize = 16;
/// Into how many of these what is asked for together is divided.
const SHARED: usize = 8;

/// The reads that clients wait for.
pub struct Disk {
    places: Arc<Semaphore>,
    /// How often a place had to be waited for.
    pub waits: Waits,
}

/// Waits for a place. Times are nanoseconds.
#[derive(Default)]
pub struct Waits {
    /// Those who wait now.
    pub waiters: AtomicU64,
    /// How often somebody waited.
    pub waits: AtomicU64,
    /// How long they waited, all together.
    pub time: AtomicU64,
    /// How long the one that waited longest did.
    pub longest: AtomicU64,
}

impl Waits {
    /// Waits, and counts it.
    async fn count<T>(&self, wait: impl Future<Output = T>) -> T {
        let began = Instant::now();
        self.waiters.fetch_add(1, Ordering::Relaxed);
        let _waits = Waiter(&self.waiters);
        let done = wait.await;
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.time.fetch_add(nanos, Ordering::Relaxed);
        self.longest.fetch_max(nanos, Ordering::Relaxed);
        done
    }
}

/// Somebody who waits, until it is dropped: also where nobody wants what it waits for any more.
struct Waiter<'w>(&'w AtomicU64);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            waits: Waits::default(),
        }
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
            let place = match Arc::clone(&self.places).try_acquire_owned() {
                Ok(place) => Some(place),
                // The semaphore is never closed.
                Err(_) => self.waits.count(Arc::clone(&self.places).acquire_owned()).await.ok(),
            };
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
