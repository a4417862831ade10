//! What accounts share, as `/accountz` tells it.

use serde_json::{Map, Value, json};

use crate::conf::tenancy::{Access, Latency, Sampling};
use crate::interest::{Account, Bonds};

/// What one account shares: each is `None` if there is nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    pub mappings: Option<Value>,
    pub exports: Option<Value>,
    pub imports: Option<Value>,
    pub responses: Option<Value>,
}

impl Shared {
    pub fn of(account: &Account) -> Self {
        let list = |all: Vec<Value>| (!all.is_empty()).then_some(Value::Array(all));
        let map = |all: Map<String, Value>| (!all.is_empty()).then_some(Value::Object(all));
        account.bonds(|bonds| Self {
            mappings: map(mappings(bonds)),
            exports: list(exports(bonds)),
            imports: list(imports(bonds)),
            responses: map(account.responses()),
        })
    }
}

fn mappings(bonds: &Bonds) -> Map<String, Value> {
    let told = |(source, destinations): (String, Vec<(String, u8)>)| {
        let all = destinations.iter();
        let all = all.map(|(subject, weight)| json!({"subject": subject, "weight": weight}));
        (source, Value::Array(all.collect()))
    };
    bonds.mappings.told().into_iter().map(told).collect()
}

fn latency(of: &Latency) -> Value {
    match of.sampling {
        Sampling::Percent(percent) => json!({"sampling": percent, "results": of.subject}),
        Sampling::Headers => json!({"sampling": "headers", "results": of.subject}),
    }
}

fn exports(bonds: &Bonds) -> Vec<Value> {
    let approved = |export: &mut Value, access: &Access| match access {
        Access::Accounts(names) => export["approved_accounts"] = json!(names),
        Access::Activation => export["token_req"] = json!(true),
        Access::Public | Access::Token(_) => {}
    };
    let services = bonds.plan.service_exports.iter().map(|of| {
        let mut export = json!({"subject": of.subject, "type": "service", "response_type": of.response.text()});
        if let Some(of) = &of.latency {
            export["service_latency"] = latency(of);
        }
        approved(&mut export, &of.access);
        export
    });
    let streams = bonds.plan.stream_exports.iter().map(|of| {
        let mut export = json!({"subject": of.subject, "type": "stream"});
        approved(&mut export, &of.access);
        export
    });
    services.chain(streams).collect()
}

fn imports(bonds: &Bonds) -> Vec<Value> {
    let streams = bonds.streams.iter().map(|bond| {
        json!({
            "subject": bond.of.from, "account": bond.of.account, "local_subject": bond.of.to, "type": "stream",
            "invalid": false, "share": false, "tracking": false,
        })
    });
    let services = bonds.services.iter().map(|bond| {
        let mut import = json!({
            "subject": bond.of.to, "account": bond.of.account, "to": bond.of.from, "local_subject": bond.of.from,
            "type": "service", "invalid": false, "share": bond.of.share, "tracking": false,
        });
        if let Some(of) = &bond.export.latency {
            import["latency"] = latency(of);
        }
        import
    });
    streams.chain(services).collect()
}
