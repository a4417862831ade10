//! What whoever imports a stream wants different from what its source says.

use weir_engine::stream::settings::BackendKind;
use weir_engine::stream::{Storage, StreamConfig};

use crate::error::{Error, Result};

const BACKEND: &str = "weir.backend";
const INDEX: &str = "weir.index";

/// What is to be different.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Another name.
    pub name: Option<String>,
    /// A backend: `segment` or `rocksdb`.
    pub backend: Option<BackendKind>,
}

impl Wanted {
    /// The configuration that the stream gets.
    ///
    /// # Errors
    /// If it would be kept in memory, where it ends with the tool.
    pub fn applied(&self, mut config: StreamConfig) -> Result<StreamConfig> {
        if let Some(name) = &self.name {
            name.clone_into(&mut config.name);
        }
        if let Some(backend) = self.backend.filter(|backend| *backend != BackendKind::Memory) {
            config.storage = Storage::File;
            config.metadata.insert(BACKEND.to_owned(), backend.to_string());
            // A choice that was made for another backend.
            if backend == BackendKind::Segment {
                config.metadata.remove(INDEX);
            }
        }
        let memory = BackendKind::Memory.to_string();
        match config.storage == Storage::Memory || config.metadata.get(BACKEND) == Some(&memory) {
            true => Err(Error::InMemory { name: config.name }),
            false => Ok(config),
        }
    }
}

#[cfg(test)]
mod tests;
