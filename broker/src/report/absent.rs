//! `/routez`, `/gatewayz`, `/leafz`: what only servers that know others have. One alone answers as nats-server does there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::Reports;

/// What a list that is always empty has.
type Nothing = ();

/// Routes to other servers of the cluster: there are none.
#[derive(Clone, Debug, Serialize)]
pub struct Routez {
    server_id: String,
    server_name: String,
    now: String,
    num_routes: usize,
    routes: Vec<Nothing>,
}

/// Gateways to other clusters: there are none.
#[derive(Clone, Debug, Serialize)]
pub struct Gatewayz {
    server_id: String,
    now: String,
    outbound_gateways: BTreeMap<String, Nothing>,
    inbound_gateways: BTreeMap<String, Nothing>,
}

/// Leaf nodes: there are none.
#[derive(Clone, Debug, Serialize)]
pub struct Leafz {
    server_id: String,
    now: String,
    leafnodes: usize,
    leafs: Vec<Nothing>,
}

impl Reports {
    /// Routes to other servers of the cluster.
    #[must_use]
    pub fn routez(&self) -> Routez {
        Routez {
            server_id: self.context.identity.id.clone(),
            server_name: self.context.identity.name.clone(),
            now: Timestamp::now().to_string(),
            num_routes: 0,
            routes: Vec::new(),
        }
    }

    /// Gateways to other clusters.
    #[must_use]
    pub fn gatewayz(&self) -> Gatewayz {
        Gatewayz {
            server_id: self.context.identity.id.clone(),
            now: Timestamp::now().to_string(),
            outbound_gateways: BTreeMap::new(),
            inbound_gateways: BTreeMap::new(),
        }
    }

    /// Leaf nodes.
    #[must_use]
    pub fn leafz(&self) -> Leafz {
        Leafz {
            server_id: self.context.identity.id.clone(),
            now: Timestamp::now().to_string(),
            leafnodes: 0,
            leafs: Vec::new(),
        }
    }
}
