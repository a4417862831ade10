//! The rules that a consumer's configuration has to keep, and the defaults that fill its gaps.
//!
//! Codes, texts and their order are those of nats-server 2.15.

use crate::consumer::config::{AckPolicy, ConsumerConfig, DeliverPolicy, PriorityPolicy};
use weir_subject::Sublist;

use crate::names::is_asset_name;
use crate::reject::{self, Rejection};
use crate::stream::validate::{
    DESCRIPTION_MAX, METADATA_MAX, NAME_MAX, SUBJECTS_MAX, ServerLimits, SubjectSet, metadata_len, set_required_level,
};
use crate::stream::{Retention, StreamConfig};
use crate::types::{MILLISECOND, Nanos, SECOND, SEQ_LIMIT};

/// How long an acknowledgement may take where nothing is said.
const ACK_WAIT: Nanos = 30 * SECOND;
/// Unacknowledged messages at most where nothing is said.
const MAX_ACK_PENDING: i64 = 1000;
/// Pull requests waiting at most where nothing is said.
const MAX_WAITING: i64 = 512;
/// How long a consumer without a durable name may go unused where nothing is said.
const INACTIVE_THRESHOLD: Nanos = 5 * SECOND;
/// How long a client stays pinned that asks for nothing, where nothing is said.
const PRIORITY_TIMEOUT: Nanos = 120 * SECOND;
/// The heartbeat of consumers whose messages are acknowledged by flow control.
const FLOW_CONTROL_HEARTBEAT: Nanos = SECOND;
/// The shortest heartbeat.
const HEARTBEAT_MIN: Nanos = 100 * MILLISECOND;

/// What a request to make a consumer is meant to do about a consumer of that name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Make it, or change it.
    #[default]
    CreateOrUpdate,
    /// Make it; a consumer of that name must be the same.
    Create,
    /// Change it; it must exist.
    Update,
}

/// Checks the configuration of a new consumer; answers it with its defaults filled in. The caller has given it a name.
/// `others` are the stream's consumers.
///
/// # Errors
/// The first rule that is broken.
pub fn validate_new<'c>(
    config: ConsumerConfig,
    stream: &StreamConfig,
    others: impl Iterator<Item = (&'c str, &'c ConsumerConfig)> + Clone,
    action: Action,
    limits: &ServerLimits,
    pedantic: bool,
) -> Result<ConsumerConfig, Rejection> {
    let mut config = validate(config, stream, limits, pedantic)?;
    if action == Action::Update {
        return Err(reject::CONSUMER_DOES_NOT_EXIST);
    }
    // Those that only copy the stream do not count.
    let limitable = others
        .clone()
        .filter(|(_, other)| !other.direct && !other.sourcing)
        .count();
    let most = match stream.max_consumers {
        most @ 1.. => most,
        _ => limits.default_max_consumers,
    };
    if most > 0 && limitable as i64 >= most {
        return Err(reject::MAXIMUM_CONSUMERS_LIMIT);
    }
    // What only copies the stream takes no work from it.
    if stream.retention == Retention::WorkQueue && !config.direct && !config.sourcing {
        if !matches!(config.ack_policy, AckPolicy::Explicit | AckPolicy::FlowControl) {
            return Err(reject::CONSUMER_WQ_REQUIRES_EXPLICIT_ACK);
        }
        if config.deliver_policy != DeliverPolicy::All {
            return Err(reject::CONSUMER_WQ_CONSUMER_NOT_DELIVER_ALL);
        }
        if limitable > 0 && config.filters().is_empty() {
            return Err(reject::CONSUMER_WQ_MULTIPLE_UNFILTERED);
        }
        check_partition(&config, others)?;
    }
    if config.name.len() > NAME_MAX {
        return Err(reject::CONSUMER_NAME_TOO_LONG.with(NAME_MAX));
    }
    if !config.is_durable() && config.inactive_threshold <= 0 {
        config.inactive_threshold = INACTIVE_THRESHOLD;
    }
    Ok(config)
}

/// A consumer that is there already.
#[derive(Clone, Copy, Debug)]
pub struct Existing<'c> {
    /// Its configuration.
    pub config: &'c ConsumerConfig,
    /// Whether a client is subscribed to its delivery subject.
    pub bound: bool,
}

/// Checks a new configuration for an existing consumer; answers as [`validate_new`].
///
/// # Errors
/// The first rule that is broken.
pub fn validate_update<'c>(
    existing: Existing<'c>,
    new: ConsumerConfig,
    action: Action,
    stream: &StreamConfig,
    others: impl Iterator<Item = (&'c str, &'c ConsumerConfig)>,
    limits: &ServerLimits,
    pedantic: bool,
) -> Result<ConsumerConfig, Rejection> {
    let old = existing.config;
    let mut new = validate(new, stream, limits, pedantic)?;
    if action == Action::Create && new != *old {
        return Err(reject::CONSUMER_ALREADY_EXISTS);
    }
    if stream.retention == Retention::WorkQueue {
        check_partition(&new, others)?;
    }
    check_change(old, &new, existing.bound)?;
    // Nats-server looks at it only if it changes, and at what the consumer was before.
    let threshold = new.inactive_threshold;
    if !old.is_durable() && threshold <= 0 && threshold != old.inactive_threshold {
        new.inactive_threshold = INACTIVE_THRESHOLD;
    }
    Ok(new)
}

/// The configuration with another pause; `None` ends it.
pub fn paused(config: &ConsumerConfig, until: Option<crate::types::NanoTime>) -> ConsumerConfig {
    let mut config = ConsumerConfig {
        pause_until: until,
        ..config.clone()
    };
    let level = required_level(&config);
    set_required_level(&mut config.metadata, level);
    config
}

/// What may not change while a consumer lives.
fn check_change(old: &ConsumerConfig, new: &ConsumerConfig, bound: bool) -> Result<(), Rejection> {
    let moved = old.deliver_subject != new.deliver_subject;
    let forbidden = [
        (
            old.deliver_policy != new.deliver_policy,
            "deliver policy can not be updated",
        ),
        (old.mem_storage != new.mem_storage, "storage type can not be updated"),
        (old.direct != new.direct, "direct can not be updated"),
        (old.sourcing != new.sourcing, "sourcing can not be updated"),
        (
            old.opt_start_seq != new.opt_start_seq,
            "start sequence can not be updated",
        ),
        (
            old.opt_start_time != new.opt_start_time,
            "start time can not be updated",
        ),
        (old.ack_policy != new.ack_policy, "ack policy can not be updated"),
        (
            old.replay_policy != new.replay_policy,
            "replay policy can not be updated",
        ),
        (
            old.idle_heartbeat != new.idle_heartbeat,
            "heart beats can not be updated",
        ),
        (old.flow_control != new.flow_control, "flow control can not be updated"),
        (moved && !old.is_push(), "can not update pull consumer to push based"),
        (moved && !new.is_push(), "can not update push consumer to pull based"),
    ];
    if let Some((_, text)) = forbidden.iter().find(|(broken, _)| *broken) {
        return Err(reject::CONSUMER_CREATE.with(text));
    }
    if moved && bound {
        return Err(reject::CONSUMER_NAME_EXIST);
    }
    if old.max_waiting != new.max_waiting {
        return Err(reject::CONSUMER_CREATE.with("max waiting can not be updated"));
    }
    Ok(())
}

/// On a work queue no message may be wanted by two consumers.
fn check_partition<'c>(
    config: &ConsumerConfig,
    others: impl Iterator<Item = (&'c str, &'c ConsumerConfig)>,
) -> Result<(), Rejection> {
    let own = config.filters();
    let set = SubjectSet::of(&own);
    for (name, other) in others {
        if name == config.name || other.direct || other.sourcing {
            continue;
        }
        let theirs = other.filters();
        let collide = match theirs.is_empty() {
            true => !own.is_empty(),
            false => set.overlaps(&theirs),
        };
        if collide {
            return Err(reject::CONSUMER_WQ_CONSUMER_NOT_UNIQUE);
        }
    }
    Ok(())
}

/// The rules for new and changed configurations alike.
fn validate(
    mut config: ConsumerConfig,
    stream: &StreamConfig,
    limits: &ServerLimits,
    pedantic: bool,
) -> Result<ConsumerConfig, Rejection> {
    // What was asked for counts, not what becomes of it.
    let level = required_level(&config);
    fill_defaults(&mut config, stream, limits, pedantic)?;
    check_names(&config)?;
    if config.num_replicas < 0 {
        return Err(reject::REPLICAS_COUNT_CANNOT_BE_NEGATIVE);
    }
    if config.num_replicas > stream.num_replicas {
        return Err(reject::CONSUMER_REPLICAS_EXCEEDS_STREAM);
    }
    check_acks(&config)?;
    if config.description.len() > DESCRIPTION_MAX {
        return Err(reject::CONSUMER_DESCRIPTION_TOO_LONG.with(DESCRIPTION_MAX));
    }
    match config.is_push() {
        true => check_push(&config, stream)?,
        false => check_pull(&config, stream, limits)?,
    }
    for limit in [limits.max_ack_pending, stream.consumer_limits.max_ack_pending] {
        if limit > 0 && config.max_ack_pending > limit {
            return Err(reject::CONSUMER_MAX_PENDING_ACK_EXCESS.with(limit));
        }
    }
    let threshold = stream.consumer_limits.inactive_threshold;
    if threshold > 0 && config.inactive_threshold > threshold {
        return Err(reject::CONSUMER_INACTIVE_THRESHOLD_EXCESS.with(weir_duration::format(threshold)));
    }
    if config.direct {
        if !config.is_push() {
            return Err(reject::CONSUMER_DIRECT_REQUIRES_PUSH);
        }
        if config.is_durable() {
            return Err(reject::CONSUMER_DIRECT_REQUIRES_EPHEMERAL);
        }
    }
    check_filters(&config)?;
    check_start(&config)?;
    check_sampling(&config.sample_freq)?;
    if config.flow_control && config.idle_heartbeat == 0 {
        return Err(reject::CONSUMER_WITH_FLOW_CONTROL_NEEDS_HEARTBEATS);
    }
    if config.is_durable() && config.name != config.durable_name {
        return Err(reject::CONSUMER_CREATE_DURABLE_AND_NAME_MISMATCH);
    }
    if metadata_len(&config.metadata) > METADATA_MAX {
        return Err(reject::CONSUMER_METADATA_LENGTH.with(format!("{}KB", METADATA_MAX / 1024)));
    }
    check_priority(&config)?;
    set_required_level(&mut config.metadata, level);
    Ok(config)
}

fn fill_defaults(
    config: &mut ConsumerConfig,
    stream: &StreamConfig,
    limits: &ServerLimits,
    pedantic: bool,
) -> Result<(), Rejection> {
    let pedantically = |text: &str| match pedantic {
        true => Err(reject::PEDANTIC.with(text)),
        false => Ok(()),
    };
    if config.name.is_empty() {
        config.name = config.durable_name.clone();
    }
    if config.max_deliver < -1 {
        pedantically("max_deliver must be set to -1")?;
    }
    if config.max_deliver <= 0 {
        config.max_deliver = -1;
    }
    if config.max_ack_pending < -1 {
        pedantically("max_ack_pending must be set to -1")?;
        config.max_ack_pending = -1;
    }
    for (field, name) in [
        (&mut config.max_waiting, "max_waiting"),
        (&mut config.max_batch, "max_batch"),
        (&mut config.max_expires, "max_expires"),
        (&mut config.max_bytes, "max_bytes"),
        (&mut config.idle_heartbeat, "idle_heartbeat"),
        (&mut config.inactive_threshold, "inactive_threshold"),
        (&mut config.priority_timeout, "priority_timeout"),
    ] {
        if *field < 0 {
            pedantically(&format!("{name} must not be negative"))?;
            *field = 0;
        }
    }
    if !config.is_push() && config.max_waiting == 0 {
        config.max_waiting = MAX_WAITING;
    }
    if config.ack_wait == 0 && matches!(config.ack_policy, AckPolicy::Explicit | AckPolicy::All) {
        config.ack_wait = ACK_WAIT;
    }
    if let Some(&first) = config.backoff.first() {
        if config.ack_wait != first {
            pedantically("first backoff value has to equal batch AckWait")?;
        }
        config.ack_wait = first;
    }
    if config.ack_policy == AckPolicy::FlowControl && !pedantic {
        config.flow_control = true;
        config.idle_heartbeat = FLOW_CONTROL_HEARTBEAT;
    }
    if config.priority_policy == PriorityPolicy::PinnedClient && config.priority_timeout == 0 {
        config.priority_timeout = PRIORITY_TIMEOUT;
    }
    let stream_limits = &stream.consumer_limits;
    if config.max_ack_pending == 0 {
        if stream_limits.max_ack_pending > 0 {
            pedantically("max_ack_pending must be set if it's configured in stream limits")?;
        }
        config.max_ack_pending = stream_limits.max_ack_pending;
    }
    if config.inactive_threshold == 0 {
        if stream_limits.inactive_threshold > 0 {
            pedantically("inactive_threshold must be set if it's configured in stream limits")?;
        }
        config.inactive_threshold = stream_limits.inactive_threshold;
    }
    if config.max_ack_pending == 0 && config.ack_policy != AckPolicy::None {
        config.max_ack_pending = match limits.max_ack_pending {
            limit @ 1..MAX_ACK_PENDING => limit,
            _ => MAX_ACK_PENDING,
        };
    }
    if !config.is_push() && config.max_batch == 0 && limits.max_request_batch > 0 {
        pedantically("max_request_batch must be set if it's JetStream limits are set")?;
        config.max_batch = limits.max_request_batch;
    }
    Ok(())
}

fn check_names(config: &ConsumerConfig) -> Result<(), Rejection> {
    let bad = |name: &str| !name.is_empty() && !is_asset_name(name);
    if bad(&config.name) {
        return Err(reject::STREAM_INVALID_CONFIG.with("consumer name can not contain '.', '*', '>', '\\', '/'"));
    }
    if bad(&config.durable_name) {
        return Err(
            reject::STREAM_INVALID_CONFIG.with("consumer durable name can not contain '.', '*', '>', '\\', '/'")
        );
    }
    Ok(())
}

fn check_acks(config: &ConsumerConfig) -> Result<(), Rejection> {
    if config.backoff.iter().any(|wait| *wait < 0) {
        return Err(reject::CONSUMER_BACK_OFF_NEGATIVE);
    }
    if config.ack_wait < 0 {
        return Err(reject::CONSUMER_ACK_WAIT_NEGATIVE);
    }
    if config.ack_policy == AckPolicy::FlowControl {
        check_flow_control(config)?;
    }
    if config.max_deliver != -1 && config.backoff.len() as i64 > config.max_deliver {
        return Err(reject::CONSUMER_MAX_DELIVER_BACKOFF);
    }
    Ok(())
}

/// What acknowledging by flow control needs, in nats-server's order.
fn check_flow_control(config: &ConsumerConfig) -> Result<(), Rejection> {
    if !config.is_push() {
        return Err(reject::CONSUMER_ACK_FC_REQUIRES_PUSH);
    }
    if !config.flow_control {
        return Err(reject::CONSUMER_ACK_FC_REQUIRES_FC);
    }
    if config.idle_heartbeat != FLOW_CONTROL_HEARTBEAT {
        return Err(reject::STREAM_INVALID_CONFIG.with("flow control ack policy heartbeat needs to be 1s"));
    }
    if config.max_ack_pending <= 0 {
        return Err(reject::CONSUMER_ACK_FC_REQUIRES_MAX_ACK_PENDING);
    }
    if config.ack_wait != 0 || !config.backoff.is_empty() {
        return Err(reject::CONSUMER_ACK_FC_REQUIRES_NO_ACK_WAIT);
    }
    if config.max_deliver > 0 {
        return Err(reject::CONSUMER_ACK_FC_REQUIRES_NO_MAX_DELIVER);
    }
    Ok(())
}

fn check_push(config: &ConsumerConfig, stream: &StreamConfig) -> Result<(), Rejection> {
    let subject = config.deliver_subject.as_bytes();
    if weir_subject::has_wildcard(subject) {
        return Err(reject::CONSUMER_DELIVER_TO_WILDCARDS);
    }
    if !weir_subject::is_literal(subject) {
        return Err(reject::CONSUMER_INVALID_DELIVER_SUBJECT);
    }
    if stream
        .subjects
        .iter()
        .any(|filter| weir_subject::matches(filter.as_bytes(), subject))
    {
        return Err(reject::CONSUMER_DELIVER_CYCLE);
    }
    if config.max_waiting != 0 {
        return Err(reject::CONSUMER_PUSH_MAX_WAITING);
    }
    if config.max_ack_pending > 0 && config.ack_policy == AckPolicy::None {
        return Err(reject::CONSUMER_MAX_PENDING_ACK_POLICY_REQUIRED);
    }
    if (1..HEARTBEAT_MIN).contains(&config.idle_heartbeat) {
        return Err(reject::CONSUMER_SMALL_HEARTBEAT);
    }
    Ok(())
}

fn check_pull(config: &ConsumerConfig, stream: &StreamConfig, limits: &ServerLimits) -> Result<(), Rejection> {
    if config.ack_policy == AckPolicy::None && stream.retention == Retention::WorkQueue {
        return Err(reject::CONSUMER_PULL_REQUIRES_ACK);
    }
    if config.rate_limit_bps > 0 {
        return Err(reject::CONSUMER_PULL_WITH_RATE_LIMIT);
    }
    if config.idle_heartbeat > 0 {
        return Err(reject::CONSUMER_HB_REQUIRES_PUSH);
    }
    if config.flow_control {
        return Err(reject::CONSUMER_FC_REQUIRES_PUSH);
    }
    if (1..MILLISECOND).contains(&config.max_expires) {
        return Err(reject::CONSUMER_MAX_REQUEST_EXPIRES_TOO_SMALL);
    }
    if limits.max_request_batch > 0 && config.max_batch > limits.max_request_batch {
        return Err(reject::CONSUMER_MAX_REQUEST_BATCH_EXCEEDED.with(limits.max_request_batch));
    }
    Ok(())
}

/// A filter need not be among the stream's subjects: they may come later, and what an earlier configuration stored stays.
fn check_filters(config: &ConsumerConfig) -> Result<(), Rejection> {
    if !config.filter_subject.is_empty() && !config.filter_subjects.is_empty() {
        return Err(reject::CONSUMER_DUPLICATE_FILTER_SUBJECTS);
    }
    if config.filter_subjects.iter().any(String::is_empty) {
        return Err(reject::CONSUMER_EMPTY_FILTER);
    }
    let filters = config.filters();
    if filters.len() > SUBJECTS_MAX {
        let text = format!("a consumer has at most {SUBJECTS_MAX} filter subjects");
        return Err(reject::CONSUMER_CREATE.with(text));
    }
    let mut all = Sublist::new();
    for (at, filter) in filters.iter().enumerate() {
        // What is malformed is told below.
        let _ = all.insert(filter.as_bytes(), at);
    }
    for (at, filter) in filters.iter().enumerate() {
        if !weir_subject::is_valid_subject(filter.as_bytes()) {
            return Err(reject::STREAM_INVALID_CONFIG.with("invalid subject"));
        }
        let mut contained = false;
        all.covering(filter.as_bytes(), &mut |&other| contained |= other != at);
        if contained {
            return Err(reject::CONSUMER_OVERLAPPING_SUBJECT_FILTERS);
        }
    }
    Ok(())
}

fn check_start(config: &ConsumerConfig) -> Result<(), Rejection> {
    if config.opt_start_seq > SEQ_LIMIT {
        let text = format!("consumer start sequence must be at most {SEQ_LIMIT}");
        return Err(reject::CONSUMER_INVALID_POLICY.with(text));
    }
    let has_seq = config.opt_start_seq > 0;
    let has_time = config.opt_start_time.is_some();
    let filtered = !config.filters().is_empty();
    let (policy, seq_allowed, time_allowed, missing) = match config.deliver_policy {
        DeliverPolicy::All => ("all", false, false, None),
        DeliverPolicy::Last => ("last", false, false, None),
        DeliverPolicy::New => ("new", false, false, None),
        DeliverPolicy::LastPerSubject => (
            "last per subject",
            false,
            false,
            (!filtered).then_some("filter subject"),
        ),
        DeliverPolicy::ByStartSequence => ("by start sequence", true, false, (!has_seq).then_some("start sequence")),
        DeliverPolicy::ByStartTime => ("by start time", false, true, (!has_time).then_some("start time")),
    };
    // Nats-server calls the sequence "start sequence" in this one case, and so says "start" twice.
    let sequence = match config.deliver_policy {
        DeliverPolicy::ByStartTime => "start sequence",
        _ => "sequence",
    };
    let unwanted =
        |what: &str| format!("consumer delivery policy is deliver {policy}, but optional start {what} is also set");
    let needed = |what: &str| format!("consumer delivery policy is deliver {policy}, but optional {what} is not set");
    let starts_where_said = seq_allowed || time_allowed;
    let text = match missing {
        Some(what) if starts_where_said => Some(needed(what)),
        _ if has_seq && !seq_allowed => Some(unwanted(sequence)),
        _ if has_time && !time_allowed => Some(unwanted("time")),
        missing => missing.map(needed),
    };
    match text {
        Some(text) => Err(reject::CONSUMER_INVALID_POLICY.with(text)),
        None => Ok(()),
    }
}

/// `30` or `30%`: the share of acknowledgements that is reported.
fn check_sampling(text: &str) -> Result<(), Rejection> {
    if text.is_empty() {
        return Ok(());
    }
    let number = text.strip_suffix('%').unwrap_or(text);
    match number.parse::<i64>() {
        Ok(0..) => Ok(()),
        Ok(_) => Err(reject::CONSUMER_INVALID_SAMPLING.with("<nil>")),
        Err(_) => {
            Err(reject::CONSUMER_INVALID_SAMPLING.with(format!("strconv.Atoi: parsing {number:?}: invalid syntax")))
        }
    }
}

fn check_priority(config: &ConsumerConfig) -> Result<(), Rejection> {
    if config.priority_policy == PriorityPolicy::None {
        if !config.priority_groups.is_empty() {
            return Err(reject::CONSUMER_PRIORITY_GROUP_WITH_POLICY_NONE);
        }
        if config.priority_timeout > 0 {
            return Err(reject::CONSUMER_PINNED_TTL_WITHOUT_PRIORITY_POLICY_NONE);
        }
        return Ok(());
    }
    if config.is_push() {
        return Err(reject::CONSUMER_PUSH_WITH_PRIORITY_GROUP);
    }
    if config.priority_groups.is_empty() {
        return Err(reject::CONSUMER_PRIORITY_POLICY_WITHOUT_GROUP);
    }
    for group in &config.priority_groups {
        if group.is_empty() {
            return Err(reject::CONSUMER_EMPTY_GROUP_NAME);
        }
        if !is_group_name(group) {
            return Err(reject::CONSUMER_INVALID_GROUP_NAME);
        }
    }
    Ok(())
}

/// Whether a priority group may have that name: 1 to 16 letters, digits and `/_=-`.
pub fn is_group_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_=-".contains(&byte);
    (1..=16).contains(&name.len()) && name.bytes().all(allowed)
}

fn required_level(config: &ConsumerConfig) -> u8 {
    if config.ack_policy == AckPolicy::FlowControl {
        4
    } else {
        u8::from(
            config.pause_until.is_some()
                || config.priority_policy != PriorityPolicy::None
                || config.priority_timeout != 0
                || !config.priority_groups.is_empty(),
        )
    }
}

#[cfg(test)]
mod tests;
