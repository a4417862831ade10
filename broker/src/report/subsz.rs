//! `/subsz`: the interest graph.

use jiff::Timestamp;
use serde::Serialize;

use super::Reports;
use crate::interest::{Account, Subscription};
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

/// The interest graph.
#[derive(Clone, Debug, Serialize)]
pub struct Subsz {
    /// The server's id.
    pub server_id: String,
    /// When this was.
    pub now: String,
    /// How many there are and were.
    #[serde(flatten)]
    pub stats: SublistStats,
    /// How many there are of those that were asked for, if any were.
    pub total: usize,
    /// Subscriptions before the first one listed.
    pub offset: usize,
    /// Subscriptions listed at most.
    pub limit: usize,
    /// Those.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list: Vec<SubscriptionDetail>,
}

/// Subscriptions in numbers.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct SublistStats {
    /// How many subscriptions there are.
    pub num_subscriptions: usize,
    /// Of a cache that all senders share: there is none.
    pub num_cache: u64,
    /// How many there ever were.
    pub num_inserts: u64,
    /// How many have ended.
    pub num_removes: u64,
    /// Not counted.
    pub num_matches: u64,
    /// Not counted.
    pub cache_hit_rate: f64,
    /// Not counted.
    pub max_fanout: u64,
    /// Not counted.
    pub avg_fanout: f64,
}

impl SublistStats {
    /// So many there are, and so many have ended.
    pub(super) fn of(there: usize, removed: u64) -> Self {
        Self {
            num_subscriptions: there,
            num_inserts: there as u64 + removed,
            num_removes: removed,
            ..Self::default()
        }
    }
}

/// One subscription.
#[derive(Clone, Debug, Serialize)]
pub struct SubscriptionDetail {
    /// Its account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What people call it; its name, if that is nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_tag: Option<String>,
    /// What is subscribed to.
    pub subject: String,
    /// The queue group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qgroup: Option<String>,
    /// The client's name for it.
    pub sid: String,
    /// Messages delivered.
    pub msgs: u64,
    /// Messages after which it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// The number of the connection; 0 for a part of the server.
    pub cid: u64,
}

impl Reports {
    /// The interest graph.
    ///
    /// # Errors
    /// The subject to test with is none: the text to answer with.
    pub fn subsz(&self, options: &SubszOptions) -> Result<Subsz, String> {
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
        let mut page = Subsz {
            server_id: self.context.identity.id.clone(),
            now: Timestamp::now().to_string(),
            stats: SublistStats::of(count, removed),
            total: 0,
            offset,
            limit,
            subscriptions_list: Vec::new(),
        };
        if details {
            let test = test.map(str::as_bytes);
            let list = &mut page.subscriptions_list;
            for account in &accounts {
                // The page goes on in the next account where this one's subscriptions end.
                let skip = offset.saturating_sub(page.total);
                let (found, listed) = account.page(test, skip, limit - list.len());
                page.total += found;
                list.extend(listed.iter().map(|found| SubscriptionDetail::of(Some(account), found)));
            }
        }
        Ok(page)
    }
}

impl SubscriptionDetail {
    /// With the account, where that does not follow from what it is listed for.
    pub(super) fn of(account: Option<&Account>, subscription: &Subscription) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            account: account.map(|account| account.name.to_string()),
            account_tag: account.map(|account| match account.tag() {
                Some(tag) => tag.to_string(),
                None => account.name.to_string(),
            }),
            subject: text(&subscription.subject),
            qgroup: subscription.queue.as_deref().map(text),
            sid: text(subscription.sid()),
            msgs: subscription.claim.delivered(),
            max: Some(subscription.claim.max()).filter(|max| *max != 0),
            cid: subscription.link().map_or(0, |link| link.id),
        }
    }
}
