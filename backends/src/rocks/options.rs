//! How RocksDB is set up: bounded memory, no log of its own, many deletes.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, Env, LogLevel, Options,
    WriteBufferManager,
};

use super::keys;
use super::unlinking::Pace;

/// What a store on RocksDB may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocksOptions {
    /// Bytes of blocks, indexes and filters that are kept in memory. Default 32 MiB.
    pub block_cache_bytes: usize,
    /// Bytes of new writes that are kept in memory before they go to files, over all column families; twice this for
    /// moments while files are being written. Default 32 MiB.
    pub write_buffer_bytes: usize,
    /// Files that are kept open. Default 256.
    pub max_open_files: u16,
    /// Whether files that nobody needs are unlinked with pauses, 64 MiB a second or all in half a minute, for the sake of who syncs others
    /// meanwhile, rather than at once. Default true.
    pub unlinks_with_pauses: bool,
    /// Whether compactions take only the time of processors that nobody else wants (on Linux the lowest niceness). Of the whole process:
    /// databases share the threads that compact. Default true.
    pub compacts_aside: bool,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 32 << 20,
            write_buffer_bytes: 32 << 20,
            max_open_files: 256,
            unlinks_with_pauses: true,
            compacts_aside: true,
        }
    }
}

impl RocksOptions {
    /// For a program that goes through a store from the beginning to the end, whose memory is for other things.
    pub fn of_a_tool() -> Self {
        Self {
            block_cache_bytes: 8 << 20,
            write_buffer_bytes: 4 << 20,
            // Whoever asks a table that is closed reads half a megabyte of it first. Two stores fit a limit of 1,024 files.
            max_open_files: 400,
            unlinks_with_pauses: false,
            compacts_aside: false,
        }
    }
}

/// Bytes of a new file that are on their way to the disk at once.
const SYNC_BYTES: u64 = 512 << 10;

/// The options of the database itself, and who unlinks its files with pauses, if that is wanted.
pub(super) fn database(options: &RocksOptions) -> (Options, Option<Pace>) {
    // Before it writes on, a file waits until what it was told to write out is out: 32 MiB on their way to the disk at once would
    // be waited for by each sync of a journal. The crate has no function for it.
    let paced = Options::default().get_options_from_string("strict_bytes_per_sync=true");
    let mut db = paced.unwrap_or_else(|error| {
        tracing::warn!("rocksdb writes without pauses: {error}");
        Options::default()
    });
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    // Weir's journal is the write-ahead log. Without one, only flushing all families together keeps them at the same
    // batch across a crash.
    db.set_atomic_flush(true);
    db.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager(
        options.write_buffer_bytes,
        false,
    ));
    db.set_max_open_files(i32::from(options.max_open_files));
    db.set_max_background_jobs(2);
    db.set_bytes_per_sync(SYNC_BYTES);
    db.set_log_level(LogLevel::Warn);
    db.set_keep_log_file_num(2);
    db.set_max_log_file_size(4 << 20);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    let wants_pauses = options.unlinks_with_pauses;
    let pace = wants_pauses.then(|| Pace::of(&mut db)).flatten();
    if options.compacts_aside
        && let Ok(mut env) = Env::new()
    {
        // A storage thread that has been waiting for a sync would wait for a processor as well. Flushes are waited for, and stay as they are.
        env.lower_thread_pool_cpu_priority();
    }
    // Opening a store must not read every file.
    db.set_skip_stats_update_on_db_open(true);
    (db, pace)
}

/// Every column family, with its options, and whether RocksDB compacts it by itself.
pub(super) fn families(options: &RocksOptions, compacts: bool) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(options.block_cache_bytes);
    let family = |name: &str, compression: &[DBCompressionType], bloom: bool, block: usize| {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&cache);
        table.set_block_size(block);
        // Indexes and filters count against the cache's bound, and are read in parts.
        table.set_cache_index_and_filter_blocks(true);
        table.set_cache_index_and_filter_blocks_with_high_priority(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_metadata_block_size(4_096);
        if bloom {
            table.set_bloom_filter(10.0, false);
            table.set_partition_filters(true);
            table.set_optimize_filters_for_memory(true);
        }
        let mut family = Options::default();
        family.set_disable_auto_compactions(!compacts);
        family.set_block_based_table_factory(&table);
        // The write buffer manager decides when to flush; this bounds what one family may take of it.
        family.set_write_buffer_size(options.write_buffer_bytes);
        family.set_arena_block_size(256 << 10);
        family.set_target_file_size_base(32 << 20);
        family.set_compression_per_level(compression);
        // Queues delete what they deliver: files that are mostly tombstones are compacted early.
        family.add_compact_on_deletion_collector_factory(8_192, 4_096, 0.5);
        ColumnFamilyDescriptor::new(name, family)
    };
    // Fresh files of small things stay as they are, for quick reads; older ones are compressed.
    let old = [DBCompressionType::None, DBCompressionType::Lz4];
    let [plain, lz4, zstd] = keys::BODIES;
    vec![
        family(
            rocksdb::DEFAULT_COLUMN_FAMILY_NAME,
            &[DBCompressionType::None],
            false,
            4_096,
        ),
        family(keys::NAMES, &[DBCompressionType::None], false, 4_096),
        family(keys::HEADS, &old, false, 4_096),
        family(keys::KV, &old, true, 4_096),
        family(plain, &[DBCompressionType::None], false, 8_192),
        family(lz4, &[DBCompressionType::Lz4], false, 16_384),
        family(zstd, &[DBCompressionType::Zstd], false, 16_384),
    ]
}
