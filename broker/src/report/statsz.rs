//! What the server tells the system account of itself from time to time: `STATSZ`.

use serde_json::{Map, Value, json};

use super::Reports;
use super::accounts::AccStatzOptions;

/// What it has of `/varz`, under the same names.
const OF_VARZ: &[&str] = &[
    "start",
    "mem",
    "cores",
    "cpu",
    "connections",
    "total_connections",
    "subscriptions",
    "slow_consumers",
    "gomaxprocs",
];

impl Reports {
    /// The server in short.
    #[must_use]
    pub fn statsz(&self) -> Value {
        // Plain fields under names: that has no failure.
        let varz = serde_json::to_value(self.varz()).unwrap_or_default();
        let mut stats: Map<String, Value> = OF_VARZ
            .iter()
            .map(|name| ((*name).to_owned(), varz[*name].clone()))
            .collect();
        let flow = |msgs: &str, bytes: &str| json!({"msgs": varz[msgs], "bytes": varz[bytes]});
        let (sent, received) = (flow("out_msgs", "out_bytes"), flow("in_msgs", "in_bytes"));
        stats.insert("sent_to_clients".to_owned(), sent.clone());
        stats.insert("sent".to_owned(), sent);
        stats.insert("received_from_clients".to_owned(), received.clone());
        stats.insert("received".to_owned(), received);
        stats.insert("active_servers".to_owned(), json!(1));
        let active = self.accstatz(&AccStatzOptions::default()).account_statz.len();
        stats.insert("active_accounts".to_owned(), json!(active));
        if self.context.status.has_jetstream() {
            let mut jetstream = varz["jetstream"].clone();
            if let Some(config) = jetstream["config"].as_object_mut() {
                config.remove("store_dir");
            }
            stats.insert("jetstream".to_owned(), jetstream);
        }
        Value::Object(stats)
    }
}
