//! The connections of the monitoring port: how many there are at once, and how long each may keep its place.
//!
//! A place is never waited for: where all are taken, the connection that has been quiet for longest gives its own up. So a
//! health probe gets in whatever others do, and with it one that asks too slowly, reads too slowly, or just stays.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use crate::context::Context as Ground;
use crate::limits::{MONITOR_CONNECTIONS, MONITOR_LIST_TIME, MONITOR_LISTS, MONITOR_QUIET};

/// All of them.
pub(super) struct Connections {
    ground: Arc<Ground>,
    open: Mutex<HashMap<u64, Open>>,
    last: AtomicU64,
    lists: Arc<Semaphore>,
}

struct Open {
    activity: Arc<Activity>,
    task: AbortHandle,
}

/// What one connection is doing. Times are milliseconds of the server's uptime.
pub(super) struct Activity {
    ground: Arc<Ground>,
    /// When bytes last went in or out.
    moved_ms: AtomicU64,
    /// The server is making a page for it: that it is quiet meanwhile is not its fault.
    served: AtomicBool,
    /// When it was given one of the places for lists; `NEVER` if it has none.
    list_ms: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Connections {
    pub fn new(ground: &Arc<Ground>) -> Arc<Self> {
        Arc::new(Self {
            ground: Arc::clone(ground),
            open: Mutex::default(),
            last: AtomicU64::new(0),
            lists: Arc::new(Semaphore::new(MONITOR_LISTS)),
        })
    }

    /// Serves a connection with a task of this runtime.
    pub fn admit<F>(self: &Arc<Self>, stream: TcpStream, serve: impl FnOnce(Watched, Arc<Activity>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        let activity = Arc::new(Activity {
            ground: Arc::clone(&self.ground),
            moved_ms: AtomicU64::new(self.ground.clock.uptime_ms()),
            served: AtomicBool::new(false),
            list_ms: AtomicU64::new(NEVER),
        });
        let watched = Watched {
            stream,
            activity: Arc::clone(&activity),
        };
        let serving = serve(watched, Arc::clone(&activity));
        let leave = Leave(Arc::clone(self), id);
        let mut open = self.open.lock();
        if open.len() >= MONITOR_CONNECTIONS {
            let quietest = open
                .iter()
                .min_by_key(|(_, open)| open.activity.rank())
                .map(|(id, _)| *id);
            if let Some(gone) = quietest.and_then(|id| open.remove(&id)) {
                gone.task.abort();
            }
        }
        // Its end waits for the lock, so that the entry is there when it comes.
        let task = tokio::spawn(async move {
            let _leave = leave;
            serving.await;
        });
        open.insert(
            id,
            Open {
                activity,
                task: task.abort_handle(),
            },
        );
    }

    /// Ends those that have been quiet, or have kept a place for lists, for too long.
    pub fn sweep(&self) {
        let now = self.ground.clock.uptime_ms();
        for open in self.open.lock().values() {
            if open.activity.is_overdue(now) {
                open.task.abort();
            }
        }
    }

    /// Waits for one of the places for pages that may be long. It is kept until the page has been sent.
    pub async fn list_place(&self, activity: &Arc<Activity>) -> ListPlace {
        let permit = Arc::clone(&self.lists).acquire_owned().await;
        activity.list_ms.store(self.ground.clock.uptime_ms(), Ordering::Relaxed);
        ListPlace {
            activity: Arc::clone(activity),
            // The semaphore is never closed.
            _permit: permit.ok(),
        }
    }
}

/// Takes a connection off the books when its task ends, however it does.
struct Leave(Arc<Connections>, u64);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.open.lock().remove(&self.1);
    }
}

/// Leave to make and to send one page that may be long.
pub(super) struct ListPlace {
    activity: Arc<Activity>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for ListPlace {
    fn drop(&mut self) {
        self.activity.list_ms.store(NEVER, Ordering::Relaxed);
    }
}

impl Activity {
    /// A page is being made, or has been.
    pub fn serve(&self, begins: bool) {
        self.served.store(begins, Ordering::Relaxed);
        self.moved();
    }

    fn moved(&self) {
        self.moved_ms.store(self.ground.clock.uptime_ms(), Ordering::Relaxed);
    }

    /// Who goes first where there is no place: of those that wait for nothing from us, the one that is quiet for longest.
    fn rank(&self) -> (bool, u64) {
        (
            self.served.load(Ordering::Relaxed),
            self.moved_ms.load(Ordering::Relaxed),
        )
    }

    fn is_overdue(&self, now_ms: u64) -> bool {
        let past = |since: u64, limit: Duration| u128::from(now_ms.saturating_sub(since)) > limit.as_millis();
        let quiet = !self.served.load(Ordering::Relaxed) && past(self.moved_ms.load(Ordering::Relaxed), MONITOR_QUIET);
        quiet || past(self.list_ms.load(Ordering::Relaxed), MONITOR_LIST_TIME)
    }
}

/// A socket that notes when bytes move.
pub(super) struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buf);
        if buf.filled().len() > before {
            self.activity.moved();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if matches!(polled, Poll::Ready(Ok(_))) {
            self.activity.moved();
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if matches!(polled, Poll::Ready(Ok(_))) {
            self.activity.moved();
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
