//! `/subsz`: the interest graph.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Reports;
use crate::interest::Subscription;
use crate::limits::{MONITOR_LIST_DEFAULT, MONITOR_LIST_MAX};

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct SubszOptions {
    /// List subscriptions.
    pub details: bool,
    /// Only those of this account.
    pub account: Option<String>,
    /// Only those that match this subject.
    pub test: Option<String>,
    /// Subscriptions before the first one listed.
    pub offset: usize,
    /// Subscriptions listed at most; 0: as many as is usual.
    pub limit: usize,
}

impl Reports {
    /// The interest graph.
    ///
    /// # Errors
    /// The subject to test with is none: the text to answer with.
    pub fn subsz(&self, options: &SubszOptions) -> Result<Value, String> {
        let limit = match options.limit {
            0 => MONITOR_LIST_DEFAULT,
            limit => limit.min(MONITOR_LIST_MAX),
        };
        let (details, offset, test) = (options.details, options.offset, options.test.as_deref());
        if let Some(subject) = test.filter(|subject| !weir_subject::is_literal(subject.as_bytes())) {
            return Err(format!(
                "invalid test subject, must be valid publish subject: {subject}"
            ));
        }
        let wanted = options.account.as_deref();
        let mut accounts = self.accounts.all();
        accounts.retain(|account| wanted.is_none_or(|name| *account.name == *name));
        let (mut count, mut removed) = (0, 0);
        for account in &accounts {
            let (now, gone) = account.subscription_counts();
            count += now;
            removed += gone;
        }
        let mut page = json!({
            "server_id": self.context.identity.id,
            "now": Timestamp::now().to_string(),
            "num_subscriptions": count,
            "num_cache": 0,
            "num_inserts": count as u64 + removed,
            "num_removes": removed,
            "num_matches": 0,
            "cache_hit_rate": 0.0,
            "max_fanout": 0,
            "avg_fanout": 0.0,
            "total": 0,
            "offset": offset,
            "limit": limit,
        });
        if details {
            let test = test.map(str::as_bytes);
            let (mut total, mut list) = (0, Vec::new());
            for account in &accounts {
                // The page goes on in the next account where this one's subscriptions end.
                let skip = offset.saturating_sub(total);
                let (found, listed) = account.page(test, skip, limit - list.len());
                total += found;
                list.extend(listed.iter().map(|found| detail(&account.name, found)));
            }
            page["total"] = total.into();
            if !list.is_empty() {
                page["subscriptions_list"] = list.into();
            }
        }
        Ok(page)
    }
}

/// One subscription as `/subsz` and `/connz?subs=detail` list it.
pub(super) fn detail(account: &str, subscription: &Subscription) -> Value {
    let mut detail = Map::new();
    let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes));
    if !account.is_empty() {
        detail.insert("account".to_owned(), account.into());
    }
    detail.insert("subject".to_owned(), text(&subscription.subject));
    if let Some(queue) = &subscription.queue {
        detail.insert("qgroup".to_owned(), text(queue));
    }
    detail.insert("sid".to_owned(), text(subscription.sid()));
    detail.insert("msgs".to_owned(), subscription.claim.delivered().into());
    if subscription.claim.max() != 0 {
        detail.insert("max".to_owned(), subscription.claim.max().into());
    }
    detail.insert("cid".to_owned(), subscription.link().map_or(0, |link| link.id).into());
    Value::Object(detail)
}
