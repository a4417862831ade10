//! The checksums of nats-server's files: HighwayHash-64 under a key that is the SHA-256 of a name.

use highway::{HighwayHash, HighwayHasher, Key};
use sha2::{Digest, Sha256};

/// The key of one file's checksums.
#[derive(Clone, Copy)]
pub(super) struct HashKey([u64; 4]);

impl HashKey {
    fn of(name: &str) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        let mut key = [0; 4];
        for (word, bytes) in key.iter_mut().zip(digest.chunks_exact(8)) {
            let mut eight = [0; 8];
            eight.copy_from_slice(bytes);
            *word = u64::from_le_bytes(eight);
        }
        Self(key)
    }

    /// Of a stream's `meta.inf` and `index.db`.
    pub fn of_stream(stream: &str) -> Self {
        Self::of(stream)
    }

    /// Of a consumer's `meta.inf`. Its `o.dat` has no checksum.
    pub fn of_consumer(stream: &str, consumer: &str) -> Self {
        Self::of(&format!("{stream}/{consumer}"))
    }

    /// Of the records in one block of a stream: a block is checked under its number.
    pub fn of_block(stream: &str, block: u32) -> Self {
        Self::of(&format!("{stream}-{block}"))
    }

    /// The checksum of parts that are hashed as one.
    pub fn hash(&self, parts: &[&[u8]]) -> [u8; 8] {
        let mut hasher = HighwayHasher::new(Key(self.0));
        for part in parts {
            hasher.append(part);
        }
        hasher.finalize64().to_le_bytes()
    }
}

/// A checksum as `meta.sum` has it.
pub(super) fn hex(sum: [u8; 8]) -> String {
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}
