//! The rules that a stream's configuration has to keep, and the defaults that fill its gaps.
//!
//! Codes, texts and their order are those of nats-server 2.15; what stands in `weir.*` metadata is ours.

use std::collections::BTreeMap;

use weir_subject::Sublist;

use crate::names::is_asset_name;
use crate::reject::{self, Rejection};
use crate::stream::config::{Discard, PersistMode, Placement, Retention, Storage, StreamConfig};
use crate::stream::settings::{Defaults, Settings};
use crate::stream::{mapping, sourcing_rules};
use crate::types::{MILLISECOND, Nanos, SECOND, SEQ_LIMIT};

/// The longest name of a stream or consumer, in bytes.
pub const NAME_MAX: usize = 255;
/// The most subjects of a stream, and filters of a consumer.
pub const SUBJECTS_MAX: usize = 32_768;
/// Tokens that comparing the subjects of a stream with one another may look at. Only thousands of subjects that begin with
/// wildcards beside thousands that end with them come near.
const COMPARISONS: u64 = 4_000_000;
/// The longest description, in bytes.
pub const DESCRIPTION_MAX: usize = 4096;
/// All metadata keys and values of a stream or consumer together, in bytes.
pub const METADATA_MAX: usize = 128 << 10;
/// Copies at most.
const REPLICAS_MAX: i64 = 5;
/// How long message ids are remembered where nothing is said.
const DUPLICATE_WINDOW: Nanos = 120 * SECOND;
/// The shortest `max_age` and duplicate window.
const AGE_MIN: Nanos = 100 * MILLISECOND;
/// The API level that a client needs to understand this stream or consumer.
const REQUIRED_LEVEL: &str = "_nats.req.level";
/// Metadata that a server adds to what it answers, and never stores.
const DYNAMIC_METADATA: [&str; 2] = ["_nats.ver", "_nats.level"];

/// What the server's configuration limits for all streams and consumers. 0 stands for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerLimits {
    /// The largest `max_ack_pending` of a consumer.
    pub max_ack_pending: i64,
    /// Consumers of a stream that says nothing of it.
    pub default_max_consumers: i64,
    /// The largest batch of a pull request.
    pub max_request_batch: i64,
    /// The longest duplicate window, in nanoseconds.
    pub duplicate_window: Nanos,
}

/// What a stream's configuration is checked against.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// What the server limits.
    pub limits: ServerLimits,
    /// What the configuration leaves open.
    pub defaults: &'a Defaults,
    /// Knows the streams of the account, which may be origins.
    pub find: &'a dyn Fn(&str) -> Option<StreamConfig>,
    /// Refuses what would be changed silently.
    pub pedantic: bool,
}

/// Checks the configuration of a new stream; answers it with its defaults filled in, and the storage it asks for.
///
/// # Errors
/// The first rule that is broken, in nats-server's order.
pub fn validate_new(config: StreamConfig, rules: &Rules<'_>) -> Result<(StreamConfig, Settings), Rejection> {
    if config.sealed {
        return Err(invalid("stream configuration for create can not be sealed"));
    }
    if config.mirror_direct && config.mirror.is_none() {
        return Err(invalid("stream has no mirror but does have mirror direct"));
    }
    validate_restored(config, rules)
}

/// Checks the configuration of a stream that comes back from a backup; answers as [`validate_new`]. What a stream may
/// become though it cannot be made so is fine: sealed, or a mirror that was made independent.
///
/// # Errors
/// As [`validate_new`].
pub fn validate_restored(config: StreamConfig, rules: &Rules<'_>) -> Result<(StreamConfig, Settings), Rejection> {
    let config = validate(config, rules)?;
    let settings = Settings::of(&config, rules.defaults).map_err(invalid)?;
    Ok((config, settings))
}

/// Checks a new configuration for an existing stream, with the storage it has; answers as [`validate_new`].
///
/// Whether the stream's consumers keep the new limits is [`consumers_beyond`]'s to say.
///
/// # Errors
/// The first rule that is broken.
pub fn validate_update(
    old: &StreamConfig,
    old_settings: &Settings,
    new: StreamConfig,
    rules: &Rules<'_>,
) -> Result<(StreamConfig, Settings), Rejection> {
    // Twice, as nats-server does: what the first pass fills in, the second one refuses where it does not fit.
    let mut new = validate(validate(new, rules)?, rules)?;
    if new.mirror.is_some() && new.mirror != old.mirror {
        return Err(reject::STREAM_MIRROR_NOT_UPDATABLE);
    }
    let forbidden = [
        (new.name != old.name, "stream configuration name must match original"),
        (
            new.storage != old.storage,
            "stream configuration update can not change storage type",
        ),
        (
            new.retention != old.retention && [new.retention, old.retention].contains(&Retention::WorkQueue),
            "stream configuration update can not change retention policy to/from workqueue",
        ),
        (
            old.sealed && !new.sealed,
            "stream configuration update can not unseal a sealed stream",
        ),
        (
            old.deny_delete && !new.deny_delete,
            "stream configuration update can not cancel deny message deletes",
        ),
        (
            old.deny_purge && !new.deny_purge,
            "stream configuration update can not cancel deny purge",
        ),
        (
            old.allow_msg_ttl && !new.allow_msg_ttl,
            "message TTL status can not be disabled",
        ),
        (
            new.allow_msg_counter != old.allow_msg_counter,
            "stream configuration update can not change message counter setting",
        ),
        (
            old.allow_msg_schedules && !new.allow_msg_schedules,
            "message schedules can not be disabled",
        ),
        (
            new.persist_mode != old.persist_mode,
            "stream configuration update can not change persist mode",
        ),
    ];
    if let Some((_, text)) = forbidden.iter().find(|(broken, _)| *broken) {
        return Err(invalid(text));
    }
    for key in ["weir.backend", "weir.index"] {
        // Clients replace all metadata by what their user knows of; where a stream is stored is not among what changes.
        if let Some(value) = old.metadata.get(key) {
            new.metadata.entry(key.to_owned()).or_insert_with(|| value.clone());
        }
    }
    let settings = updated_settings(old_settings, &new, rules.defaults)?;
    mapping::settle_republish(&mut new)?;
    if new.sealed {
        new.max_age = 0;
        new.discard = Discard::New;
        new.deny_delete = true;
        new.deny_purge = true;
        new.allow_rollup_hdrs = false;
    }
    Ok((new, settings))
}

/// The storage of a stream with a new configuration. What that does not name stays as the stream has it, even if the
/// server's defaults are others by now.
fn updated_settings(old_settings: &Settings, new: &StreamConfig, defaults: &Defaults) -> Result<Settings, Rejection> {
    let base = Settings {
        durability: defaults.durability,
        compression: defaults.compression,
        ..*old_settings
    };
    let settings = base.wanted_by(new).map_err(invalid)?;
    if settings.backend != old_settings.backend {
        if !(settings.is_journaled() && old_settings.is_journaled()) {
            return Err(invalid(format!(
                "stream configuration update can not change weir.backend from {} to {}",
                old_settings.backend, settings.backend
            )));
        }
        // Its messages go over by and by; until then they are where they were.
        return Ok(Settings {
            backend: old_settings.backend,
            index: old_settings.index,
            ..settings
        });
    }
    if settings.index != old_settings.index {
        return Err(invalid("stream configuration update can not change weir.index"));
    }
    Ok(settings)
}

/// The rules for new and changed configurations alike.
fn validate(mut config: StreamConfig, rules: &Rules<'_>) -> Result<StreamConfig, Rejection> {
    let pedantic = rules.pedantic;
    check_texts(&config)?;
    if config.num_replicas == 0 {
        config.num_replicas = 1;
    }
    if config.num_replicas > REPLICAS_MAX {
        return Err(invalid(format!("maximum replicas is {REPLICAS_MAX}")));
    }
    if config.num_replicas < 0 {
        return Err(reject::REPLICAS_COUNT_CANNOT_BE_NEGATIVE);
    }
    for (limit, name) in [
        (&mut config.max_msgs, "max_msgs"),
        (&mut config.max_msgs_per_subject, "max_msgs_per_subject"),
        (&mut config.max_bytes, "max_bytes"),
        (&mut config.max_msg_size, "max_msg_size"),
        (&mut config.max_consumers, "max_consumers"),
    ] {
        if pedantic && *limit < -1 {
            return Err(reject::PEDANTIC.with(format!("{name} must be set to -1")));
        }
        if *limit <= 0 {
            *limit = -1;
        }
    }
    check_times(&mut config, &rules.limits, pedantic)?;
    check_policies(&mut config, pedantic)?;
    sourcing_rules::check(&mut config, rules.find, pedantic)?;
    fill_subjects(&mut config)?;
    mapping::check_transform(&config)?;
    mapping::check_republish(&mut config, pedantic)?;
    if config.placement == Some(Placement::default()) {
        config.placement = None;
    }
    if config
        .placement
        .as_ref()
        .is_some_and(|placement| !placement.preferred.is_empty())
    {
        return Err(invalid("preferred server not permitted in placement"));
    }
    if config.num_replicas > 1 {
        return Err(reject::STREAM_REPLICAS_NOT_SUPPORTED);
    }
    let level = required_level(&config);
    set_required_level(&mut config.metadata, level);
    Ok(config)
}

fn check_texts(config: &StreamConfig) -> Result<(), Rejection> {
    if !is_asset_name(&config.name) {
        return Err(invalid(
            "stream name is required and can not contain '.', '*', '>', '\\', '/'",
        ));
    }
    if config.name.len() > NAME_MAX {
        return Err(invalid(format!(
            "stream name is too long, maximum allowed is {NAME_MAX}"
        )));
    }
    if config.description.len() > DESCRIPTION_MAX {
        return Err(invalid(format!(
            "stream description is too long, maximum allowed is {DESCRIPTION_MAX}"
        )));
    }
    if metadata_len(&config.metadata) > METADATA_MAX {
        return Err(invalid(format!(
            "stream metadata exceeds maximum size of {METADATA_MAX} bytes"
        )));
    }
    Ok(())
}

fn check_times(config: &mut StreamConfig, limits: &ServerLimits, pedantic: bool) -> Result<(), Rejection> {
    if config.max_age < 0 {
        return Err(invalid("max age can not be negative"));
    }
    if (1..AGE_MIN).contains(&config.max_age) {
        return Err(invalid("max age needs to be >= 100ms"));
    }
    if config.duplicate_window == 0 && config.mirror.is_none() && config.sources.is_empty() {
        config.duplicate_window = default_window(config.max_age, limits, pedantic)?;
    }
    let window = config.duplicate_window;
    if window < 0 {
        return Err(invalid("duplicates window can not be negative"));
    }
    if config.max_age != 0 && window > config.max_age {
        return Err(invalid("duplicates window can not be larger then max age"));
    }
    if limits.duplicate_window > 0 && window > limits.duplicate_window {
        return Err(invalid(format!(
            "duplicates window can not be larger then server limit of {}",
            weir_duration::format(limits.duplicate_window)
        )));
    }
    if (1..AGE_MIN).contains(&window) {
        return Err(invalid("duplicates window needs to be >= 100ms"));
    }
    Ok(())
}

fn default_window(max_age: Nanos, limits: &ServerLimits, pedantic: bool) -> Result<Nanos, Rejection> {
    let mut window = DUPLICATE_WINDOW;
    if (1..window).contains(&limits.duplicate_window) {
        if pedantic {
            return Err(reject::PEDANTIC.with("duplicate window limits are higher than current limits"));
        }
        window = limits.duplicate_window;
    }
    if (1..window).contains(&max_age) {
        if pedantic {
            return Err(reject::PEDANTIC.with("duplicate window cannot be bigger than max age"));
        }
        window = max_age;
    }
    Ok(window)
}

fn check_policies(config: &mut StreamConfig, pedantic: bool) -> Result<(), Rejection> {
    if config.deny_purge && config.allow_rollup_hdrs {
        return Err(invalid("roll-ups require the purge permission"));
    }
    check_counter(config)?;
    if config.discard_new_per_subject {
        if config.discard != Discard::New {
            return Err(invalid("discard new per subject requires discard new policy to be set"));
        }
        if config.max_msgs_per_subject <= 0 {
            return Err(invalid("discard new per subject requires max msgs per subject > 0"));
        }
    }
    fill_markers(config, pedantic)?;
    fill_schedules(config, pedantic)?;
    if config.persist_mode == PersistMode::Async {
        if config.storage != Storage::File {
            return Err(invalid("async persist mode is only supported on file storage"));
        }
        if config.num_replicas > 1 {
            return Err(invalid("async persist mode is not supported on replicated streams"));
        }
        if config.allow_atomic {
            return Err(invalid("async persist mode is not supported with atomic batch publish"));
        }
    }
    Ok(())
}

/// Delete markers have a TTL and replace what they mark: what they need is allowed along with them.
fn fill_markers(config: &mut StreamConfig, pedantic: bool) -> Result<(), Rejection> {
    match config.subject_delete_marker_ttl {
        0 => return Ok(()),
        ..0 => return Err(invalid("subject delete marker TTL must not be negative")),
        1..SECOND => return Err(invalid("subject delete marker TTL must be at least 1 second")),
        _ => {}
    }
    if pedantic && !config.allow_msg_ttl {
        return Err(invalid(
            "subject delete marker cannot be set if message TTLs are disabled",
        ));
    }
    config.allow_msg_ttl = true;
    if pedantic && !config.allow_rollup_hdrs {
        return Err(invalid("subject delete marker cannot be set if roll-ups are disabled"));
    }
    allow_rollups(config);
    Ok(())
}

/// A schedule replaces the one before it on its subject, so roll-ups are allowed along with schedules.
fn fill_schedules(config: &mut StreamConfig, pedantic: bool) -> Result<(), Rejection> {
    if !config.allow_msg_schedules {
        return Ok(());
    }
    if config.discard == Discard::New {
        return Err(invalid("message scheduling cannot use discard new"));
    }
    if pedantic && !config.allow_rollup_hdrs {
        return Err(invalid("message scheduling cannot be set if roll-ups are disabled"));
    }
    allow_rollups(config);
    Ok(())
}

fn allow_rollups(config: &mut StreamConfig) {
    if !config.allow_rollup_hdrs {
        config.allow_rollup_hdrs = true;
        config.deny_purge = false;
    }
}

/// A counter's total is the sum of everything ever published, so nothing of it may expire, wait or be refused for room.
fn check_counter(config: &StreamConfig) -> Result<(), Rejection> {
    let conflicts = [
        (config.discard == Discard::New, "counter stream cannot use discard new"),
        (config.allow_msg_ttl, "counter stream cannot use message TTLs"),
        (
            config.allow_msg_schedules,
            "counter stream cannot use message schedules",
        ),
        (
            config.retention != Retention::Limits,
            "counter stream can only use limits retention",
        ),
    ];
    match conflicts.iter().find(|(broken, _)| *broken) {
        Some((_, text)) if config.allow_msg_counter => Err(invalid(text)),
        _ => Ok(()),
    }
}

/// Names the stream's one subject after it if it has none, and checks each against the rules and the others.
fn fill_subjects(config: &mut StreamConfig) -> Result<(), Rejection> {
    if config.first_seq > SEQ_LIMIT {
        return Err(invalid(format!("first sequence must be at most {SEQ_LIMIT}")));
    }
    if config.subjects.is_empty() {
        if config.mirror.is_none() && config.sources.is_empty() {
            config.subjects.push(config.name.clone());
        }
        return Ok(());
    }
    if config.mirror.is_some() {
        return Err(match config.first_seq {
            0 => reject::MIRROR_WITH_SUBJECTS,
            _ => reject::MIRROR_WITH_FIRST_SEQ,
        });
    }
    if config.subjects.len() > SUBJECTS_MAX {
        return Err(invalid(format!("a stream has at most {SUBJECTS_MAX} subjects")));
    }
    let mut all = Sublist::new();
    for (at, subject) in config.subjects.iter().enumerate() {
        // What is malformed is told below.
        let _ = all.insert(subject.as_bytes(), at);
    }
    let mut steps = COMPARISONS;
    for (at, subject) in config.subjects.iter().enumerate() {
        let filter = subject.as_bytes();
        if !weir_subject::is_valid_subject(filter) {
            return Err(invalid("invalid subject"));
        }
        if !config.no_ack {
            check_reserved(filter)?;
        }
        if subject == ">" && config.num_replicas != 1 {
            return Err(invalid("capturing all subjects requires replicas of 1"));
        }
        let mut other = None::<usize>;
        let compared = all.overlapping_within(filter, &mut steps, &mut |&found| {
            if found > at {
                other = Some(other.map_or(found, |other| other.min(found)));
            }
        });
        if !compared {
            return Err(invalid(
                "too many subjects with wildcards to be compared with one another",
            ));
        }
        if let Some(other) = other {
            let other = &config.subjects[other];
            return Err(invalid(format!("subject {subject:?} overlaps with {other:?}")));
        }
    }
    Ok(())
}

/// A stream that acknowledges must not capture the server's own requests: each of its answers would be captured, and
/// acknowledged, in turn.
fn check_reserved(filter: &[u8]) -> Result<(), Rejection> {
    if filter == b">" {
        return Err(invalid("capturing all subjects requires no-ack to be true"));
    }
    let reserved = [&b"$JS.>"[..], b"$JSC.>", b"$NRG.>"];
    if reserved.iter().any(|reserved| weir_subject::overlaps(filter, reserved))
        && !weir_subject::is_subset(filter, b"$JS.EVENT.>")
    {
        return Err(invalid(
            "subjects that overlap with jetstream api require no-ack to be true",
        ));
    }
    if weir_subject::overlaps(filter, b"$SYS.>") && !weir_subject::is_subset(filter, b"$SYS.ACCOUNT.>") {
        return Err(invalid(
            "subjects that overlap with system api require no-ack to be true",
        ));
    }
    Ok(())
}

/// A set of subjects, to be compared with many others.
pub struct SubjectSet(Sublist<()>);

impl SubjectSet {
    /// These subjects; malformed ones are not among them.
    pub fn of<S: AsRef<str>>(subjects: &[S]) -> Self {
        let mut set = Sublist::new();
        for subject in subjects {
            let _ = set.insert(subject.as_ref().as_bytes(), ());
        }
        Self(set)
    }

    /// Whether it has a subject in common with others. Two streams of an account must not: the refusal is
    /// [`STREAM_SUBJECT_OVERLAP`](reject::STREAM_SUBJECT_OVERLAP).
    pub fn overlaps<S: AsRef<str>>(&self, others: &[S]) -> bool {
        others.iter().any(|other| self.0.has_overlap(other.as_ref().as_bytes()))
    }
}

/// Checks that the stream's consumers keep consumer limits that a new configuration changes.
///
/// # Errors
/// The names of those that do not.
pub fn consumers_beyond<'c>(
    old: &StreamConfig,
    new: &StreamConfig,
    consumers: impl Iterator<Item = (&'c str, &'c crate::consumer::ConsumerConfig)>,
) -> Result<(), Rejection> {
    let (threshold, pending) = (
        new.consumer_limits.inactive_threshold,
        new.consumer_limits.max_ack_pending,
    );
    if new.consumer_limits == old.consumer_limits {
        return Ok(());
    }
    let mut beyond: Vec<&str> = consumers
        .filter(|(_, consumer)| {
            (threshold > 0 && consumer.inactive_threshold > threshold)
                || (pending > 0 && consumer.max_ack_pending > pending)
        })
        .map(|(name, _)| name)
        .collect();
    if beyond.is_empty() {
        return Ok(());
    }
    beyond.sort_unstable();
    Err(reject::STREAM_UPDATE.with(format!("change to limits violates consumers: {}", beyond.join(", "))))
}

fn required_level(config: &StreamConfig) -> u8 {
    if config.allow_batched {
        4
    } else if config.allow_msg_counter
        || config.allow_atomic
        || config.allow_msg_schedules
        || config.persist_mode == PersistMode::Async
    {
        2
    } else {
        u8::from(config.allow_msg_ttl || config.subject_delete_marker_ttl > 0)
    }
}

/// Notes in the metadata which API level the asset needs, and drops what only answers carry.
pub(crate) fn set_required_level(metadata: &mut BTreeMap<String, String>, level: u8) {
    for key in DYNAMIC_METADATA {
        metadata.remove(key);
    }
    metadata.insert(REQUIRED_LEVEL.to_owned(), level.to_string());
}

pub(crate) fn metadata_len(metadata: &BTreeMap<String, String>) -> usize {
    metadata.iter().map(|(key, value)| key.len() + value.len()).sum()
}

fn invalid(text: impl std::fmt::Display) -> Rejection {
    reject::STREAM_INVALID_CONFIG.with(text)
}

#[cfg(test)]
mod tests;
