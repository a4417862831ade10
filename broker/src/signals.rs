//! What the operating system's signals mean to a server.

use std::io::Write as _;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;

use crate::conf::Options;
use crate::context::Wish;
use crate::error::{Error, Result};
use crate::logging::Log;
use crate::notify;
use crate::server::Server;

/// Handlers for the signals that nats-server knows. Installed before the server starts, so that none is lost.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
    quit: Signal,
}

/// How the process ends on QUIT, as Go's do.
const DUMPED: i32 = 2;

impl Signals {
    /// Takes the signals over from the process's defaults.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn install() -> Result<Self> {
        let open = |kind| {
            signal(kind).map_err(|source| Error::System {
                doing: "install a signal handler",
                source,
            })
        };
        Ok(Self {
            interrupt: open(SignalKind::interrupt())?,
            terminate: open(SignalKind::terminate())?,
            hangup: open(SignalKind::hangup())?,
            user1: open(SignalKind::user_defined1())?,
            user2: open(SignalKind::user_defined2())?,
            quit: open(SignalKind::quit())?,
        })
    }

    /// Obeys signals until the server has shut down: INT and TERM stop it, USR2 sends it into lame duck mode, USR1 opens
    /// the log file again, HUP has the server go on with the options that `load` finds. QUIT ends the process at once, as a crash
    /// would, and has it say on standard error what its threads are doing.
    pub async fn obey(mut self, server: &Arc<Server>, log: &Log, load: &Load<'_>) {
        // Set up once per server, so that there is one to take.
        let mut wishes = server.context.reloads.take();
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => {
                    trapped("interrupt");
                    tokio::spawn(stop(Arc::clone(server)));
                }
                _ = self.terminate.recv() => {
                    trapped("terminated");
                    // Lame duck mode ends by itself, as in nats-server; INT cuts it short.
                    if !server.is_leaving() {
                        tokio::spawn(stop(Arc::clone(server)));
                    }
                }
                _ = self.user2.recv() => {
                    trapped("user defined signal 2");
                    let server = Arc::clone(server);
                    tokio::spawn(async move {
                        notify::tell(notify::State::Stopping);
                        server.lame_duck().await;
                    });
                }
                _ = self.user1.recv() => {
                    trapped("user defined signal 1");
                    match log.reopen() {
                        Ok(true) => tracing::info!("File log re-opened"),
                        Ok(false) => tracing::info!("File log re-open ignored, not a file logger"),
                        Err(error) => tracing::error!("{error}"),
                    }
                }
                _ = self.hangup.recv() => {
                    trapped("hangup");
                    // What went wrong is in the log.
                    let _ = reload(server, log, load).await;
                }
                _ = self.quit.recv() => dump(server),
                Some(wish) = wished(&mut wishes) => {
                    // Whoever wished may be gone.
                    let _ = wish.send(reload(server, log, load).await);
                }
                () = server.wait() => return,
            }
        }
    }
}

/// What Go's runtime does on QUIT: whoever sends it wants to know why a server stands still, and has no use for it any more.
fn dump(server: &Server) -> ! {
    // There is nobody to tell if this fails.
    let _ = write!(
        std::io::stderr().lock(),
        "SIGQUIT: quit\n\n{}",
        server.reports.stacksz()
    );
    std::process::exit(DUMPED);
}

fn trapped(name: &str) {
    tracing::info!("Trapped \"{name}\" signal");
}

/// Reads the options that the server was started with once more; an error says why there are none.
pub type Load<'l> = dyn Fn() -> std::result::Result<Options, String> + 'l;

/// A wish of the system account's; never comes where there is nobody to wish.
async fn wished(wishes: &mut Option<Receiver<Wish>>) -> Option<Wish> {
    match wishes {
        Some(wishes) => wishes.recv().await,
        None => std::future::pending().await,
    }
}

async fn reload(server: &Arc<Server>, log: &Log, load: &Load<'_>) -> std::result::Result<(), String> {
    notify::tell(notify::State::Reloading);
    let outcome = match (server.options().config_file.is_some(), load()) {
        (false, _) => Err("can only reload config when a file is provided using -c or --config".to_owned()),
        (true, Err(error)) => Err(error),
        (true, Ok(options)) => {
            let reloaded = server.reload(options, |options| log.change(options)).await;
            reloaded.map_err(|error| error.to_string())
        }
    };
    if let Err(error) = &outcome {
        tracing::error!("Failed to reload server configuration: {error}");
    }
    notify::tell(notify::State::Ready);
    outcome
}

async fn stop(server: Arc<Server>) {
    notify::tell(notify::State::Stopping);
    server.shutdown().await;
}
