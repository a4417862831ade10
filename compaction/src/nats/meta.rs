//! `meta.inf`, the description of a stream or a consumer as JSON, and `meta.sum`, its checksum in hexadecimal.

use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use weir_engine::NanoTime;
use weir_engine::json::parse_time;

use super::block::read_bounded;
use super::finding::{Finding, Findings, What};
use super::hash::{HashKey, hex};

/// The longest description, in bytes: some 10,000 sources with transforms.
const META_MAX: u64 = 16 << 20;

/// A description.
pub(super) struct Meta<C> {
    /// The configuration as JSON.
    pub json: String,
    pub config: C,
    /// When it was made.
    pub created: NanoTime,
}

impl<C: DeserializeOwned> Meta<C> {
    /// Reads the description in a folder. `None` if it makes no sense, or is not there: the findings say so.
    pub fn read(folder: &Path, key: &HashKey, findings: &mut Findings) -> Option<Self> {
        let path = folder.join("meta.inf");
        let text = match read_bounded(&path, META_MAX) {
            Ok(text) => text,
            Err(error) => {
                findings.push(Finding::of(&path, What::Io(error.to_string())));
                return None;
            }
        };
        match read_bounded(&folder.join("meta.sum"), META_MAX) {
            Ok(sum) if sum == hex(key.hash(&[&text])).as_bytes() => {}
            Ok(_) => findings.push(Finding::of(&path, What::MetaChecksum)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                findings.push(Finding::of(&path, What::NoMetaChecksum));
            }
            Err(error) => findings.push(Finding::of(folder.join("meta.sum"), What::Io(error.to_string()))),
        }
        Self::parse(&text)
            .map_err(|why| findings.push(Finding::of(&path, What::Unreadable(why))))
            .ok()
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let mut fields: Map<String, Value> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let created = match fields.remove("Created") {
            Some(Value::String(time)) => parse_time(&time)?.unwrap_or(0),
            _ => 0,
        };
        // A consumer's name stands there twice.
        if let Some(name) = fields.remove("Name") {
            fields.entry("name").or_insert(name);
        }
        let value = Value::Object(fields);
        let json = value.to_string();
        let config = serde_json::from_value(value).map_err(|error| error.to_string())?;
        Ok(Self { json, config, created })
    }
}
