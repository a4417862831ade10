//! Weir's storage backends: mmap segments, RocksDB and memory.
