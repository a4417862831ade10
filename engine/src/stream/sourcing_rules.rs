//! The rules that a configuration's mirror and sources have to keep. Codes, texts and order are those of nats-server 2.15.

use std::collections::{BTreeSet, VecDeque};

use crate::names::is_asset_name;
use crate::reject::{self, Rejection};
use crate::stream::mapping::check_mapping;
use crate::stream::{SourceConsumer, StreamConfig, StreamSource, SubjectTransform};

/// The subjects of the API, which another domain's must not overlap with.
const API: &str = "$JS.API";
/// The most transforms of a mirror or a source: each is compared with each.
const TRANSFORMS_MAX: usize = 1000;

/// Checks the mirror and the sources of a configuration, and gives a mirror its origin's `allow_direct`. `find` knows the
/// other streams of the account.
///
/// # Errors
/// The first rule that is broken.
pub(super) fn check(
    config: &mut StreamConfig,
    find: &dyn Fn(&str) -> Option<StreamConfig>,
    pedantic: bool,
) -> Result<(), Rejection> {
    let mut origins = Vec::new();
    if let Some(mirror) = config.mirror.clone() {
        check_mirror(config, &mirror)?;
        if mirror.external.is_none() {
            if !is_asset_name(&mirror.name) {
                return Err(reject::MIRROR_INVALID_STREAM_NAME);
            }
            if let Some(origin) = find(&mirror.name) {
                if too_small(config, &origin) {
                    return Err(reject::MIRROR_MAX_MESSAGE_SIZE_TOO_BIG);
                }
                if pedantic && config.mirror_direct != origin.allow_direct {
                    return Err(reject::PEDANTIC.with("origin stream has direct get set, mirror has it disabled"));
                }
                config.mirror_direct = origin.allow_direct;
                origins.push(origin);
            }
        }
    }
    if !config.sources.is_empty() && config.allow_msg_schedules {
        return Err(reject::SOURCE_WITH_MSG_SCHEDULES);
    }
    check_sources(config, find, &mut origins)?;
    check_external(config, &origins)?;
    check_cycle(config, find)
}

/// Whether what the mirror and sources of a new stream take can be subjects at all. Nats-server finds out last, when it
/// makes the stream; an update may name what is no subject, and gets nothing.
///
/// # Errors
/// In its words.
pub fn check_filters(config: &StreamConfig) -> Result<(), Rejection> {
    let bad = |source: &StreamSource| {
        !source.filter_subject.is_empty() && !weir_subject::is_valid_subject(source.filter_subject.as_bytes())
    };
    let refused = |source: &StreamSource, whose: &str| {
        reject::STREAM_CREATE.with(format!(
            "subject filter '{}' for the {whose} invalid subject",
            source.filter_subject
        ))
    };
    if let Some(mirror) = config.mirror.as_ref().filter(|mirror| bad(mirror)) {
        return Err(refused(mirror, "mirror"));
    }
    match config.sources.iter().find(|source| bad(source)) {
        Some(source) => Err(refused(source, "source:")),
        None => Ok(()),
    }
}

fn check_mirror(config: &StreamConfig, mirror: &StreamSource) -> Result<(), Rejection> {
    for (broken, rejection) in [
        (config.first_seq > 0, reject::MIRROR_WITH_FIRST_SEQ),
        (!config.subjects.is_empty(), reject::MIRROR_WITH_SUBJECTS),
        (!config.sources.is_empty(), reject::MIRROR_WITH_SOURCES),
        (config.allow_msg_counter, reject::MIRROR_WITH_COUNTERS),
        (config.allow_atomic, reject::MIRROR_WITH_ATOMIC_PUBLISH),
        (config.allow_batched, reject::MIRROR_WITH_BATCH_PUBLISH),
        (config.allow_msg_schedules, reject::MIRROR_WITH_MSG_SCHEDULES),
        (!is_consumer_fine(mirror), reject::MIRROR_DURABLE_CONSUMER_CFG_INVALID),
        (
            !mirror.filter_subject.is_empty() && !mirror.subject_transforms.is_empty(),
            reject::MIRROR_MULTIPLE_FILTERS_NOT_ALLOWED,
        ),
        (
            config.subject_delete_marker_ttl > 0,
            reject::STREAM_INVALID_CONFIG.with("subject delete markers forbidden on mirrors"),
        ),
    ] {
        if broken {
            return Err(rejection);
        }
    }
    let rules = &mirror.subject_transforms;
    check_count(rules, &reject::MIRROR_INVALID_SUBJECT_FILTER)?;
    for rule in rules {
        check_rule(
            rule,
            &reject::MIRROR_INVALID_SUBJECT_FILTER,
            &reject::MIRROR_INVALID_TRANSFORM_DESTINATION,
        )?;
        let overlap = |other: &SubjectTransform| weir_subject::overlaps(rule.src.as_bytes(), other.src.as_bytes());
        if rules.iter().any(|other| !std::ptr::eq(rule, other) && overlap(other)) {
            return Err(reject::MIRROR_OVERLAPPING_SUBJECT_FILTERS);
        }
    }
    Ok(())
}

fn check_sources(
    config: &StreamConfig,
    find: &dyn Fn(&str) -> Option<StreamConfig>,
    origins: &mut Vec<StreamConfig>,
) -> Result<(), Rejection> {
    let mut keys = BTreeSet::new();
    let mut consumers = BTreeSet::new();
    for source in &config.sources {
        if !is_asset_name(&source.name) {
            return Err(reject::SOURCE_INVALID_STREAM_NAME);
        }
        let consumer = source.consumer.as_ref();
        let consumer = consumer.map(|consumer: &SourceConsumer| consumer.name.as_str());
        if !keys.insert((source.key(), consumer)) {
            return Err(reject::SOURCE_DUPLICATE_DETECTED);
        }
        let rules = &source.subject_transforms;
        if !source.filter_subject.is_empty() && !rules.is_empty() {
            return Err(reject::SOURCE_MULTIPLE_FILTERS_NOT_ALLOWED);
        }
        check_count(rules, &reject::SOURCE_INVALID_SUBJECT_FILTER)?;
        for rule in rules {
            check_rule(
                rule,
                &reject::SOURCE_INVALID_SUBJECT_FILTER,
                &reject::SOURCE_INVALID_TRANSFORM_DESTINATION,
            )?;
        }
        for rule in rules {
            let within = |other: &SubjectTransform| weir_subject::is_subset(rule.src.as_bytes(), other.src.as_bytes());
            if rules.iter().any(|other| !std::ptr::eq(rule, other) && within(other)) {
                return Err(reject::SOURCE_OVERLAPPING_SUBJECT_FILTERS);
            }
        }
        if !is_consumer_fine(source) {
            return Err(reject::SOURCE_DURABLE_CONSUMER_CFG_INVALID);
        }
        if let Some(consumer) = consumer
            && !consumers.insert((&source.name, consumer))
        {
            return Err(reject::SOURCE_DURABLE_CONSUMER_DUPLICATE_DETECTED);
        }
        if source.external.is_none()
            && let Some(origin) = find(&source.name)
        {
            if too_small(config, &origin) {
                return Err(reject::SOURCE_MAX_MESSAGE_SIZE_TOO_BIG);
            }
            origins.push(origin);
        }
    }
    Ok(())
}

/// One `{src, dest}` of a mirror or source.
fn check_count(rules: &[SubjectTransform], rejection: &Rejection) -> Result<(), Rejection> {
    match rules.len() > TRANSFORMS_MAX {
        true => Err(rejection.with(format!("more than {TRANSFORMS_MAX} subject transforms"))),
        false => Ok(()),
    }
}

fn check_rule(rule: &SubjectTransform, filter: &Rejection, destination: &Rejection) -> Result<(), Rejection> {
    if !rule.src.is_empty() && !weir_subject::is_valid_subject(rule.src.as_bytes()) {
        return Err(filter.with(format!("invalid subject {}", rule.src)));
    }
    check_mapping(&rule.src, &rule.dest).map_err(|why| destination.with(why))
}

/// A consumer of the user's own has a name, a plain subject, and decides itself where to begin and what to take.
fn is_consumer_fine(source: &StreamSource) -> bool {
    let Some(consumer) = &source.consumer else { return true };
    let subject = consumer.deliver_subject.as_bytes();
    is_asset_name(&consumer.name)
        && weir_subject::is_valid_subject(subject)
        && weir_subject::is_literal(subject)
        && source.opt_start_seq == 0
        && source.opt_start_time.is_none()
        && source.filter_subject.is_empty()
}

/// Whether a stream cannot hold the largest messages of its origin.
fn too_small(config: &StreamConfig, origin: &StreamConfig) -> bool {
    config.max_msg_size > 0 && origin.max_msg_size > 0 && config.max_msg_size < origin.max_msg_size
}

/// The prefixes under which other domains and accounts are reached.
fn check_external(config: &StreamConfig, origins: &[StreamConfig]) -> Result<(), Rejection> {
    let all = config.mirror.iter().chain(&config.sources);
    let external: Vec<_> = all.filter_map(|source| source.external.as_ref()).collect();
    let is_plain =
        |prefix: &str| weir_subject::is_valid_subject(prefix.as_bytes()) && weir_subject::is_literal(prefix.as_bytes());
    for prefix in external.iter().map(|external| &external.deliver) {
        if prefix.is_empty() {
            continue;
        }
        if !is_plain(prefix) {
            return Err(reject::STREAM_INVALID_EXTERNAL_DELIVERY_SUBJ.with(prefix));
        }
        for subject in origins.iter().flat_map(|origin| &origin.subjects) {
            if weir_subject::overlaps(subject.as_bytes(), format!("{prefix}.{subject}").as_bytes()) {
                return Err(reject::STREAM_EXTERNAL_DEL_PREFIX_OVERLAPS.with(prefix).with(subject));
            }
        }
    }
    for prefix in external.iter().map(|external| &external.api) {
        if prefix.is_empty() {
            continue;
        }
        if !is_plain(prefix) {
            let text = format!("stream external api prefix {prefix:?} must be a valid subject without wildcards");
            return Err(reject::STREAM_INVALID_CONFIG.with(text));
        }
        if weir_subject::overlaps(prefix.as_bytes(), API.as_bytes()) {
            return Err(reject::STREAM_EXTERNAL_API_OVERLAP.with(prefix).with(API));
        }
    }
    Ok(())
}

/// A stream must not be its own origin, however far away.
fn check_cycle(config: &StreamConfig, find: &dyn Fn(&str) -> Option<StreamConfig>) -> Result<(), Rejection> {
    let cycle = || Err(reject::STREAM_INVALID_CONFIG.with("detected cycle"));
    let mut visited = BTreeSet::new();
    let mut left = VecDeque::from([config.clone()]);
    while let Some(stream) = left.pop_front() {
        visited.insert(stream.name.clone());
        for source in stream.sources.iter().filter(|source| source.external.is_none()) {
            let filter = &source.filter_subject;
            let takes = |subject: &String| weir_subject::overlaps(subject.as_bytes(), filter.as_bytes());
            if visited.contains(&source.name) {
                if filter.is_empty() || stream.subjects.iter().any(takes) {
                    return cycle();
                }
            } else {
                left.extend(find(&source.name));
            }
        }
        if let Some(mirror) = stream.mirror.as_ref().filter(|mirror| mirror.external.is_none()) {
            if visited.contains(&mirror.name) {
                return cycle();
            }
            left.extend(find(&mirror.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
