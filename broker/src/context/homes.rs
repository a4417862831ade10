//! The threads that connections live on.
//!
//! Each has an event loop of its own and keeps its connections for life. A runtime that moves tasks between threads wakes a
//! second thread for almost every read, which costs more than the reading: measured, a fifth of the server's processor time.

use std::cell::Cell;
use std::net::TcpStream as StdTcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, watch};

use crate::error::{Error, Result};
use crate::limits::IO_THREADS_MAX;

thread_local! {
    /// The number of the home whose thread this is; 0 on others.
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// Homes of the process so far.
static HOMES: AtomicUsize = AtomicUsize::new(0);

/// One thread's event loop.
#[derive(Clone)]
pub(crate) struct Home {
    /// From 1 on, and no other of the process has it.
    number: usize,
    handle: Handle,
    connections: Arc<AtomicUsize>,
    mailbox: Arc<Mailbox>,
}

/// Something that a home's own thread is to do soon, and quickly.
pub(crate) trait Errand: Send + Sync {
    /// Does it, on that thread.
    fn run(self: Arc<Self>);
}

/// What others have left for a home's thread.
#[derive(Default)]
struct Mailbox {
    left: Mutex<Left>,
    woken: Notify,
}

#[derive(Default)]
struct Left {
    errands: Vec<Arc<dyn Errand>>,
    /// The thread has ended, and nobody does anything more.
    over: bool,
}

impl Mailbox {
    /// Does what is left, for ever.
    async fn empty(self: Arc<Self>) {
        let mut errands = Vec::new();
        loop {
            self.woken.notified().await;
            std::mem::swap(&mut self.left.lock().errands, &mut errands);
            for errand in errands.drain(..) {
                errand.run();
            }
        }
    }

    /// Forgets what is left, and what will be.
    fn close(&self) {
        let mut left = self.left.lock();
        left.over = true;
        let errands = std::mem::take(&mut left.errands);
        drop(left);
        drop(errands);
    }
}

/// All of them.
pub(crate) struct Homes {
    homes: Vec<Home>,
}

impl Homes {
    /// Starts one thread per core; they end when `stopped` becomes true or its sender is gone.
    pub fn start(stopped: &watch::Receiver<bool>) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let homes = (0..cores.min(IO_THREADS_MAX)).map(|number| start(number, stopped.clone()));
        Ok(Self {
            homes: homes.collect::<std::io::Result<_>>().map_err(|source| Error::System {
                doing: "start a thread for connections",
                source,
            })?,
        })
    }

    /// Connections on all threads, those that are being refused or closed too.
    pub fn connections(&self) -> usize {
        self.homes
            .iter()
            .map(|home| home.connections.load(Ordering::Relaxed))
            .sum()
    }

    /// The thread with the fewest connections. There is always one: `start` makes at least one.
    pub fn quietest(&self) -> Option<&Home> {
        self.homes
            .iter()
            .min_by_key(|home| home.connections.load(Ordering::Relaxed))
    }
}

fn start(number: usize, mut stopped: watch::Receiver<bool>) -> std::io::Result<Home> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let life = async move {
        // An error says that the server is gone: an end as good as any.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let home = HOMES.fetch_add(1, Ordering::Relaxed) + 1;
    let mailbox = Arc::<Mailbox>::default();
    handle.spawn(Arc::clone(&mailbox).empty());
    let own = Arc::clone(&mailbox);
    std::thread::Builder::new()
        .name(format!("weir-io-{number}"))
        .spawn(move || {
            HERE.set(home);
            runtime.block_on(life);
            own.close();
        })?;
    Ok(Home {
        number: home,
        handle,
        connections: Arc::default(),
        mailbox,
    })
}

impl Home {
    /// Whether this is its thread.
    pub fn is_here(&self) -> bool {
        HERE.get() == self.number
    }

    /// Runs a task on this thread.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    /// Leaves something to its thread, which does it once it was [woken](Self::wake). True if nobody else has left anything since it last
    /// looked: whoever leaves more wakes it once, when all is left.
    pub fn leave(&self, errand: Arc<dyn Errand>) -> bool {
        let mut left = self.mailbox.left.lock();
        if left.over {
            return false;
        }
        left.errands.push(errand);
        left.errands.len() == 1
    }

    /// Has its thread do what was left.
    pub fn wake(&self) {
        self.mailbox.woken.notify_one();
    }

    /// Takes a connection in: runs `serve` with it on this thread.
    pub fn adopt<F>(&self, stream: StdTcpStream, serve: impl FnOnce(tokio::net::TcpStream, Self) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send,
    {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let home = self.clone();
        self.handle.spawn(async move {
            match tokio::net::TcpStream::from_std(stream) {
                Ok(stream) => serve(stream, home.clone()).await,
                Err(error) => tracing::error!("cannot wait for a connection: {error}"),
            }
            home.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

#[cfg(test)]
mod tests;
