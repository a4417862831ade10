//! The rules for what a stream makes of subjects: its transform, and what it publishes again.
//!
//! Codes and texts are those of nats-server 2.15.

pub(crate) use weir_subject::check_mapping;
use weir_subject::{Transform, is_valid_subject, overlaps};

use crate::reject::{self, Rejection};
use crate::stream::config::{StreamConfig, SubjectTransform};

/// Checks a stream's `subject_transform`, if it has one.
///
/// # Errors
/// What is wrong with its source, or with its destination.
pub(super) fn check_transform(config: &StreamConfig) -> Result<(), Rejection> {
    let Some(SubjectTransform { src, dest }) = &config.subject_transform else {
        return Ok(());
    };
    if !src.is_empty() && !is_valid_subject(src.as_bytes()) {
        return Err(reject::STREAM_TRANSFORM_INVALID_SOURCE.with(format!("invalid subject {src}")));
    }
    check_mapping(src, dest).map_err(|why| reject::STREAM_TRANSFORM_INVALID_DESTINATION.with(why))
}

/// Checks a stream's `republish`, if it has one, and fills in its source.
///
/// # Errors
/// A destination that the stream would capture again, or that cannot be made of the source; `pedantic` refuses a source
/// that is left out or implied.
pub(super) fn check_republish(config: &mut StreamConfig, pedantic: bool) -> Result<(), Rejection> {
    let Some(republish) = &mut config.republish else {
        return Ok(());
    };
    if republish.src.is_empty() {
        if pedantic {
            return Err(reject::PEDANTIC.with("republish source can not be empty"));
        }
        republish.src = ">".to_owned();
    }
    // From all to all would be a cycle, were it not that the transform takes every message elsewhere.
    if republish.src == ">"
        && republish.dest == ">"
        && let Some(transform) = &config.subject_transform
        && config.subjects == [transform.src.as_str()]
    {
        if pedantic {
            return Err(reject::PEDANTIC.with("implicit republish based on subject transform"));
        }
        republish.src.clone_from(&transform.dest);
        republish.dest.clone_from(&transform.dest);
    }
    let (src, dest) = (&republish.src, &republish.dest);
    if config
        .subjects
        .iter()
        .any(|subject| overlaps(dest.as_bytes(), subject.as_bytes()))
    {
        return Err(reject::STREAM_INVALID_CONFIG.with("stream configuration for republish destination forms a cycle"));
    }
    if !dest.is_empty() && Transform::new(src.as_bytes(), dest.as_bytes()).is_err() {
        return Err(reject::STREAM_INVALID_CONFIG.with(format!(
            "stream configuration for republish with transform from '{src}' to '{dest}' not valid"
        )));
    }
    Ok(())
}

/// Fills in what an update leaves out of `republish`, as nats-server does for updates only.
///
/// # Errors
/// A destination that cannot be made of the source.
pub(super) fn settle_republish(config: &mut StreamConfig) -> Result<(), Rejection> {
    let Some(republish) = &mut config.republish else {
        return Ok(());
    };
    if republish.dest.is_empty() {
        republish.dest = ">".to_owned();
    }
    let (src, dest) = (&republish.src, &republish.dest);
    match Transform::new(src.as_bytes(), dest.as_bytes()) {
        Ok(_) => Ok(()),
        Err(error) => Err(reject::STREAM_UPDATE.with(format!(
            "stream configuration for republish from '{src}' to '{dest}': {error}"
        ))),
    }
}

#[cfg(test)]
mod tests;
