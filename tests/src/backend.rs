//! The three storage backends, as a client asks for them.

use std::collections::HashMap;

use async_nats::jetstream::stream::{Config, StorageType};

/// A storage backend, chosen for one stream by its `weir.backend` metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Mapped segment files.
    Segment,
    /// RocksDB.
    Rocksdb,
    /// Memory: nothing outlives the server.
    Memory,
}

impl Backend {
    /// The value of the `weir.backend` key.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Segment => "segment",
            Backend::Rocksdb => "rocksdb",
            Backend::Memory => "memory",
        }
    }

    /// The JetStream storage type the backend belongs to.
    pub fn storage(self) -> StorageType {
        match self {
            Backend::Segment | Backend::Rocksdb => StorageType::File,
            Backend::Memory => StorageType::Memory,
        }
    }

    /// A stream configuration on this backend, with nothing else set.
    pub fn stream(self, name: &str, subjects: &[&str]) -> Config {
        Config {
            name: name.to_owned(),
            subjects: subjects.iter().map(|s| (*s).to_owned()).collect(),
            storage: self.storage(),
            num_replicas: 1,
            metadata: HashMap::from([("weir.backend".to_owned(), self.name().to_owned())]),
            ..Config::default()
        }
    }
}

/// Makes three tests of each named `async fn(&Server, Backend) -> anyhow::Result<()>`,
/// one per backend, as `on_segment::name`, `on_rocksdb::name` and `on_memory::name`.
#[macro_export]
macro_rules! on_each_backend {
    ($($name:ident),+ $(,)?) => {
        $crate::on_each_backend!(@ on_segment, Segment, $($name),+);
        $crate::on_each_backend!(@ on_rocksdb, Rocksdb, $($name),+);
        $crate::on_each_backend!(@ on_memory, Memory, $($name),+);
    };
    (@ $module:ident, $backend:ident, $($name:ident),+) => {
        mod $module {
            $(
                #[test]
                fn $name() {
                    $crate::with_server(async |server| {
                        super::$name(server, $crate::Backend::$backend).await
                    });
                }
            )+
        }
    };
}
