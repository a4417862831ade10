//! `/ipqueuesz`: what waits inside of the server.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Reports;

/// What is asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct IpqueueszOptions {
    /// Those in which nothing waits as well.
    pub all: bool,
    /// Only those whose name holds this.
    #[serde(alias = "queues")]
    pub filter: String,
}

/// One queue.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Queue {
    /// What waits.
    pub pending: u64,
    /// What was taken out and is being worked on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_progress: Option<u64>,
}

impl Reports {
    /// Queues by their names. The first two are named as nats-server names them; the others are Weir's own, for it has no others.
    #[must_use]
    pub fn ipqueuesz(&self, options: &IpqueueszOptions) -> BTreeMap<String, Queue> {
        let mut queues = BTreeMap::new();
        if let Some(js) = self.jetstream.get() {
            let [changing, asking, direct] = js.api_load.under_way();
            let mut add = |name: String, pending| {
                let in_progress = None;
                queues.insert(name, Queue { pending, in_progress })
            };
            add("JetStream API queue".to_owned(), changing);
            add("JetStream API info queue".to_owned(), asking);
            add("direct gets".to_owned(), direct);
            for number in js.shards() {
                add(format!("storage thread {number}"), js.shard(number).waiting().0 as u64);
            }
        }
        queues.retain(|name, queue| (options.all || queue.pending > 0) && name.contains(&options.filter));
        queues
    }
}
