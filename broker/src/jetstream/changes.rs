//! Changes of streams, one of which may have to wait for another: what each has taken is the engine's to know
//! ([`weir_engine::meta`]).

use std::sync::Arc;

use tokio::sync::oneshot;
use weir_engine::store::{Catalogue, Intent, StreamEntry, UnderWay};

use super::JetStream;

impl JetStream {
    /// Asks until the answer does not depend on changes that are under way.
    pub(super) async fn intend(&self, ask: impl Fn(&Arc<Catalogue>) -> Intent) -> Intent {
        loop {
            match ask(self.catalogue()) {
                Intent::Wait(change) => over(change).await,
                intent => return intent,
            }
        }
    }

    /// The stream of that name, if there is one, as it is while nobody makes, changes or deletes it.
    pub(super) async fn settled(&self, account: &str, name: &str) -> Option<Arc<StreamEntry>> {
        loop {
            match self.catalogue().settled(account, name) {
                Ok(stream) => return stream,
                Err(change) => over(change).await,
            }
        }
    }
}

/// Waits for a change that somebody else has under way.
async fn over(change: UnderWay) {
    let (sender, receiver) = oneshot::channel::<()>();
    change.when_over(move || drop(sender));
    // It ends with the sender.
    let _ = receiver.await;
}
